from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from img2pose.detections import FaceDetections
from img2pose.devices import choose_device
from img2pose.errors import InputError
from img2pose.geometry import image_intrinsics, pose_image_to_box, project_points
from img2pose.inference.detector import Detector, poses_for_camera
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model
from img2pose.references import PoseReferences

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
    np.testing.assert_array_equal(found.poses, raw["dofs"][keep].double().numpy())
    np.testing.assert_array_equal(found.boxes, raw["boxes"][keep].double().numpy())
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
