from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.detections import FaceDetections
from img2pose.devices import choose_device
from img2pose.errors import InputError
from img2pose.geometry import (
    boxes_from_points,
    distort_points,
    image_intrinsics,
    pose_image_to_box,
    project_points,
    undistort_picture,
)
from img2pose.inference.detector import Detector
from img2pose.inference.given_pictures import poses_for_camera
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences
from tests.hostile_pictures import write_hostile_pictures

RNG = np.random.default_rng(3)
PICTURE = RNG.integers(0, 256, (80, 100, 3), dtype=np.uint8)
OTHER = RNG.integers(0, 256, (96, 64, 3), dtype=np.uint8)


@pytest.fixture
def detector(small_model: Img2Pose) -> Detector:
    return Detector(small_model, score_threshold=0.1)


def assert_same(first: FaceDetections, second: FaceDetections) -> None:
    assert len(first) > 0
    assert first.size_hw == second.size_hw
    for name in ("poses", "boxes", "scores", "intrinsics"):
        np.testing.assert_allclose(
            getattr(first, name), getattr(second, name), atol=2e-3, err_msg=name
        )


def test_what_the_model_says_comes_back_above_the_threshold(
    detector: Detector, small_model: Img2Pose
) -> None:
    small_model.eval()
    tensor = torch.tensor(PICTURE).permute(2, 0, 1) / 255
    with torch.inference_mode():
        (raw,) = small_model([tensor])
    threshold = float(raw["scores"].median())
    detector.score_threshold = threshold
    found = detector.predict(PICTURE)
    keep = raw["scores"].double() > threshold
    assert 0 < keep.sum() < len(keep)
    np.testing.assert_allclose(found.poses, raw["dofs"][keep].double().numpy(), atol=1e-5)
    np.testing.assert_allclose(found.boxes, raw["boxes"][keep].double().numpy(), atol=1e-3)
    assert found.size_hw == (80, 100)
    np.testing.assert_array_equal(found.intrinsics, image_intrinsics(80, 100))


def test_one_picture_gives_one_result_and_several_a_list(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    one = detector.predict(str(path))
    assert isinstance(one, FaceDetections)
    many = detector.predict(image for image in (path, PICTURE, Image.fromarray(PICTURE)))
    assert isinstance(many, list)
    for found in many:
        assert_same(found, one)
    assert detector.predict([]) == []


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_change_nothing_and_keep_the_order(detector: Detector, batch_size: int) -> None:
    pictures = [PICTURE, OTHER, PICTURE[:, ::-1], OTHER[::-1], PICTURE]
    alone = [detector.predict(np.ascontiguousarray(picture)) for picture in pictures]
    together = detector.predict(pictures, batch_size=batch_size)
    for first, second in zip(together, alone, strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_pictures_of_several_sizes_share_batches_with_their_equals(
    detector: Detector, small_model: Img2Pose, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    sizes: list[int] = []
    detect = small_model.detect

    def counting(prepared: list[Any], *rest: Any) -> Any:
        sizes.append(len(prepared))
        return detect(prepared, *rest)

    monkeypatch.setattr(small_model, "detect", counting)
    pictures = [np.roll(p, 7 * k, axis=1) for k in range(3) for p in (PICTURE, OTHER)]
    alone = [detector.predict(picture) for picture in pictures]
    sizes.clear()
    for first, second in zip(detector.predict(pictures, batch_size=batch_size), alone, strict=True):
        assert_same(first, second)
    assert sizes == [batch_size] * (6 // batch_size)


def test_a_stream_is_lazy_and_gives_what_comes_before_a_bad_picture(detector: Detector) -> None:
    drawn = 0

    def pictures() -> Iterator[np.ndarray | Path]:
        nonlocal drawn
        for index in range(50):
            drawn += 1
            yield PICTURE if index != 10 else Path("gone.jpg")

    stream = detector.predict_stream(pictures(), batch_size=2)
    assert drawn == 0
    first = list(islice(stream, 3))
    # Four batches are held, two pictures wait behind the reader and one is being read.
    assert drawn <= 3 + 4 * 2 + 3
    for found in first:
        assert_same(found, detector.predict(PICTURE))
    rest: list[FaceDetections] = []
    with pytest.raises(InputError, match=r"gone\.jpg"):
        for found in stream:
            rest.append(found)
    assert len(rest) == 7
    (one,) = detector.predict_stream(PICTURE)
    assert_same(one, first[0])


def test_a_folder_is_its_pictures_sorted(detector: Detector, tmp_path: Path) -> None:
    for name, picture in (("b.png", OTHER), ("a.png", PICTURE), ("c.bmp", PICTURE)):
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    for folder in (tmp_path, str(tmp_path)):
        found = detector.predict(folder)
        for one, picture in zip(found, (PICTURE, OTHER, PICTURE), strict=True):
            assert_same(one, detector.predict(picture))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no pictures"):
        detector.predict(tmp_path / "empty")


def test_each_picture_may_have_its_own_camera(detector: Detector) -> None:
    camera = np.array([[300.0, 0, 41], [0, 310, 52], [0, 0, 1]])
    cameras = [camera, None, 2 * camera * [[1, 1, 1], [1, 1, 1], [0, 0, 0.5]]]
    found = detector.predict([PICTURE, OTHER, PICTURE], cameras, batch_size=2)
    for one, picture, own in zip(found, (PICTURE, OTHER, PICTURE), cameras, strict=True):
        assert_same(one, detector.predict(picture, own))
    assert_same(detector.predict([PICTURE], iter([camera]))[0], found[0])
    assert_same(detector.predict([PICTURE, PICTURE], np.stack([camera, camera]))[1], found[0])
    for count in (1, 3):
        with pytest.raises(ValueError, match=r"given for .*pictures"):
            detector.predict([PICTURE, PICTURE], [camera] * count)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (5, 1)])
def test_a_lens_is_undone_before_faces_are_looked_for(
    detector: Detector, shape: tuple[int, ...]
) -> None:
    camera = np.array([[130.0, 0, 50], [0, 130, 40], [0, 0, 1]])
    lens = np.array([-0.3, 0.1, 0.001, 0.002, 0.0]).reshape(shape)
    found = detector.predict(PICTURE, camera, distortion=lens)
    ideal = undistort_picture(PICTURE, camera, lens)
    assert_same(found, detector.predict(ideal, camera))
    assert not np.array_equal(ideal, PICTURE)
    tensor = torch.tensor(PICTURE).permute(2, 0, 1) / 255
    from_tensor = detector.predict([tensor], camera, distortion=lens)[0]
    # The tensor's pixels are not rounded to whole gray levels after the remapping.
    assert abs(len(from_tensor) - len(found)) <= 1 + len(found) // 5
    with pytest.raises(ValueError, match="uint8 RGB"):
        detector.predict(PICTURE[..., 0], camera, distortion=lens)
    (without,) = detector.predict([PICTURE], [camera], distortion=[None])
    assert_same(without, detector.predict(PICTURE, camera))
    (each,) = detector.predict([PICTURE], [camera], distortion=[lens])
    assert_same(each, found)
    landmarks = found.landmarks(detector.references)
    assert distort_points(landmarks, camera, lens).shape == landmarks.shape


def test_a_lens_needs_its_camera_and_coefficients(detector: Detector) -> None:
    with pytest.raises(ValueError, match="intrinsics"):
        detector.predict(PICTURE, distortion=np.zeros(4))
    with pytest.raises(ValueError, match="4, 5, 8, 12 or 14"):
        detector.predict(PICTURE, np.diag([100.0, 100, 1]), distortion=np.zeros(3))


def test_box_factors_make_the_boxes_and_leave_the_poses(
    small_model: Img2Pose, tmp_path: Path
) -> None:
    factors = {"bbox_x_factor": 1.3, "bbox_y_factor": 0.9, "expand_forehead": 0.1}
    # Nothing is suppressed, so that the same faces are compared.
    usual = Detector(small_model, 0.1, nms_threshold=1.0).predict(PICTURE)
    other = Detector(small_model, 0.1, nms_threshold=1.0, **factors).predict(PICTURE)
    assert_poses_equal(usual, other)
    assert not np.allclose(usual.boxes, other.boxes)
    assert small_model.config.box_x_factor == 1.1
    points = other.landmarks(small_model.references)
    expected = boxes_from_points(points, other.poses, (80, 100), 1.3, 0.9, 0.1)
    np.testing.assert_allclose(other.boxes, expected, atol=0.02)
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    loaded = Detector.from_checkpoint(path, "cpu", 0.1, nms_threshold=1.0, **factors)
    assert loaded.model.config.box_x_factor == 1.3
    assert_same(loaded.predict(PICTURE), other)


def assert_poses_equal(first: FaceDetections, second: FaceDetections) -> None:
    assert len(first) == len(second) > 0
    np.testing.assert_allclose(first.poses, second.poses, atol=1e-6)


def test_thresholds_and_limits_are_the_detectors(small_model: Img2Pose) -> None:
    def count(**settings: Any) -> int:
        return len(Detector(small_model, **{"score_threshold": 0.1, **settings}).predict(PICTURE))

    # Large boxes overlap.
    large = {"bbox_x_factor": 4, "bbox_y_factor": 4}
    strict, usual, none = (count(nms_threshold=t, **large) for t in (0.1, 0.5, 1.0))
    assert 0 < strict < usual < none
    assert count(max_detections=2) == 2
    # Below the model's own 0.05 too.
    small_model.roi_heads.score_thresh = 1.0
    assert count(score_threshold=0.0, nms_threshold=1.0) >= none
    for wrong in (
        {"score_threshold": 1.5},
        {"score_threshold": np.nan},
        {"nms_threshold": 2},
        {"max_detections": 0},
        {"bbox_x_factor": -1},
        {"bbox_y_factor": np.nan},
        {"expand_forehead": -0.1},
        {"precision": "float64"},
    ):
        (name,) = wrong
        with pytest.raises(ValueError, match=name.removeprefix("b").removeprefix("expand_")):
            Detector(small_model, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.1), ("float16", 0.02)])
def test_16_bits_find_nearly_the_same(
    small_model: Img2Pose, precision: str, tolerance: float
) -> None:
    exact = Detector(small_model, 0.0, nms_threshold=1.0).predict(PICTURE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = Detector(small_model, 0.0, nms_threshold=1.0, precision=precision)
        found = detector.predict(PICTURE)
    assert found.poses.dtype == np.float64
    assert not np.array_equal(found.poses, exact.poses)
    # Rounding changes which proposals there are: each face found has one near it in the others.
    apart = np.abs(found.poses[:, None] - exact.poses).max(-1).min(1)
    assert np.median(apart) < tolerance


@pytest.mark.parametrize(("precision", "shifts"), [("float32", 3), ("bfloat16", 1)])
def test_threads_share_a_detector(small_model: Img2Pose, precision: str, shifts: int) -> None:
    detector = Detector(small_model, 0.1, precision=precision)
    pictures = [np.roll(p, 5 * k, axis=0) for k in range(shifts) for p in (PICTURE, OTHER)]
    alone = [detector.predict(picture) for picture in pictures]
    camera = np.array([[300.0, 0, 41], [0, 310, 52], [0, 0, 1]])

    def work(number: int) -> list[FaceDetections]:
        own = None if number % 2 else camera
        return list(detector.predict_stream(pictures, own, batch_size=1 + number % 3))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    for number, found in enumerate(results):
        for one, expected in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.scores, expected.scores, atol=1e-4)
            np.testing.assert_allclose(one.boxes, expected.boxes, atol=2e-3)
            if number % 2:
                np.testing.assert_allclose(one.poses, expected.poses, atol=2e-3)


def test_a_threshold_of_one_finds_nothing(detector: Detector) -> None:
    detector.score_threshold = 1.0
    found = detector.predict(PICTURE, intrinsics=np.diag([50.0, 50, 1]))
    assert len(found) == 0
    assert found.poses.shape == (0, 6)
    assert found.boxes.shape == (0, 4)


def test_the_assumed_camera_given_as_the_users_changes_no_pose(detector: Detector) -> None:
    given = detector.predict(PICTURE, intrinsics=image_intrinsics(80, 100))
    assert_same(given, detector.predict(PICTURE))


def test_in_the_users_camera_a_face_is_the_same_in_its_box(detector: Detector) -> None:
    camera = np.array([[300.0, 0, 41], [0, 310, 52], [0, 0, 1]])
    assumed, given = detector.predict(PICTURE), detector.predict(PICTURE, intrinsics=camera)
    np.testing.assert_array_equal(given.intrinsics, camera)
    np.testing.assert_array_equal(given.boxes, assumed.boxes)
    # Single precision of the model's poses: compared in double from the same poses on.
    first = pose_image_to_box(assumed.poses, assumed.boxes, assumed.intrinsics)
    second = pose_image_to_box(given.poses, given.boxes, camera)
    np.testing.assert_allclose(second, first, atol=1e-9)


def test_a_face_stays_where_it_is_in_the_picture_of_a_longer_lens(
    references: PoseReferences,
) -> None:
    assumed, camera = image_intrinsics(480, 640), np.array([[1400.0, 0, 320], [0, 1400, 240]])
    camera = np.vstack([camera, [0, 0, 1]])
    pose = np.array([[0.1, -0.2, 0.05, 0.0, 0.0, 12.0]])
    before = project_points(references.points_68, pose, assumed)[0]
    boxes = np.array([[*before.min(0), *before.max(0)]])
    moved = poses_for_camera(pose, boxes, assumed, camera)
    after = project_points(references.points_68, moved, camera)[0]
    # A longer lens flattens the face: by less than a hundredth of it at this distance.
    assert np.abs(after - before).max() < 0.05 * np.ptp(before)
    assert moved[0, 5] == pytest.approx(12.0 * 1400 / 1120)


def test_a_box_without_an_area_leaves_the_pose_finite() -> None:
    pose = np.array([[0.1, 0, 0, 1, 0, 5.0]])
    box = np.array([[100.0, 30, 100, 60]])
    moved = poses_for_camera(pose, box, image_intrinsics(80, 100), image_intrinsics(90, 90))
    assert np.isfinite(moved).all()


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(4),
        np.diag([0.0, 1, 1]),
        np.diag([100.0, 100, 2]),
        np.array([[100, 0, np.nan], [0, 100, 0], [0, 0, 1]]),
        np.array(500.0),
        500,
    ],
)
def test_a_matrix_that_is_no_camera_is_refused(detector: Detector, matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="intrinsics"):
        detector.predict(PICTURE, intrinsics=matrix)


def test_a_missing_picture_among_others_is_named(detector: Detector) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg"):
        detector.predict([PICTURE, Path("gone.jpg")], batch_size=2)


def test_a_checkpoint_finds_what_its_model_found(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    loaded = Detector.from_checkpoint(path, device="cpu", score_threshold=0.1)
    assert loaded.references.sha256 == small_model.references.sha256
    assert loaded.device == torch.device("cpu")
    assert_same(loaded.predict(PICTURE), Detector(small_model, 0.1).predict(PICTURE))
    smaller = Detector.from_checkpoint(path, device="cpu", min_size=64)
    assert smaller.model.config.min_size == (64,)


def test_what_is_no_checkpoint_or_no_device_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"model\.pth"):
        Detector.from_checkpoint(path, device="cpu")
    for name in ("toaster", "cuda:99"):
        with pytest.raises(InputError, match=name):
            choose_device(name)


def test_odd_pictures_are_looked_at_and_those_that_cannot_be_read_are_named(
    small_model: Img2Pose, tmp_path: Path
) -> None:
    detector = Detector(small_model, 0.0)
    sizes = write_hostile_pictures(tmp_path)
    readable = [tmp_path / name for name, size_hw in sizes.items() if size_hw is not None]
    for path, found in zip(readable, detector.predict(readable, batch_size=4), strict=True):
        assert found.size_hw == sizes[path.name], path
        assert np.isfinite(found.poses).all(), path
        assert (found.boxes >= 0).all(), path
        assert (found.boxes <= [*found.size_hw[::-1]] * 2).all(), path
    for name, size_hw in sizes.items():
        if size_hw is None:
            with pytest.raises(InputError, match=name) as caught:
                detector.predict(tmp_path / name)
            assert "\n" not in str(caught.value)
