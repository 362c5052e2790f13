"""What the benchmarks say of their faces, and what they leave out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from scipy.spatial.transform import Rotation

from img2pose.data.annotations import Annotation, write_annotation, write_annotation_list
from img2pose.data.biwi import BiwiPose, find_frames, pose_text
from img2pose.errors import InputError
from img2pose.evaluation.head_sets import (
    HeadLabel,
    HeadSet,
    fit_truths,
    read_aflw2000,
    read_annotated,
    read_biwi,
    without_unreadable_pictures,
)
from img2pose.geometry import image_intrinsics, pose_to_euler, project_points, rotvec_to_matrix
from img2pose.references import PoseReferences

SIZE_HW = (100, 120)
POSE = np.array([0.2, -0.4, 0.1, 0.1, -0.2, 7.0])


def points_of(pose: np.ndarray, references: PoseReferences) -> np.ndarray:
    return project_points(references.points_68, pose[None], image_intrinsics(*SIZE_HW))[0]


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE_HW[::-1]).save(path)


def write_mat(folder: Path, name: str, points: np.ndarray, angles_deg: list[float]) -> None:
    write_picture(folder / f"{name}.jpg")
    content = {
        "pt3d_68": np.vstack([points.T, np.zeros((1, 68))]),
        "Pose_Para": np.array([[*np.deg2rad(angles_deg), 0, 0, 0, 1]]),
    }
    scipy.io.savemat(folder / f"{name}.mat", content)


def reasons(heads: HeadSet) -> list[tuple[str, str]]:
    return [(out.image, out.reason) for out in heads.left_out]


def test_pose_para_is_the_rotation_and_the_points_give_the_translation(
    tmp_path: Path, references: PoseReferences
) -> None:
    # Angles that are not the points' own: the rotation comes from one, the place from the other.
    write_mat(tmp_path, "a", points_of(POSE, references), [10, -20, 30])
    (truth,), left_out = fit_truths(read_aflw2000(tmp_path), references)
    assert (truth.image, truth.face, left_out) == ("a.jpg", 0, [])
    np.testing.assert_allclose(truth.euler_deg, [10, -20, 30], atol=1e-9)
    # The published labels' formula.
    rotation = Rotation.from_euler("xyz", [10, 20, -30], degrees=True).as_matrix().T
    np.testing.assert_allclose(truth.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(truth.translation, POSE[3:], atol=1e-4)
    points = points_of(POSE, references)
    low, high = points.min(0), points.max(0)
    extent = high - low
    np.testing.assert_allclose(truth.box_xyxy[2:], high + 0.05 * extent, atol=1e-6)
    np.testing.assert_allclose(truth.box_xyxy[1], low[1] - 0.35 * extent[1], atol=1e-6)


def test_angles_beyond_99_degrees_and_pictures_without_labels_are_left_out(
    tmp_path: Path, references: PoseReferences
) -> None:
    points = points_of(POSE, references)
    write_mat(tmp_path, "a", points, [0, 98.9, 0])
    write_mat(tmp_path, "b", points, [0, -99.1, 0])
    write_picture(tmp_path / "c.jpg")
    heads = read_aflw2000(tmp_path)
    assert list(heads.images) == ["a.jpg"]
    assert reasons(heads) == [("b.jpg", "an angle beyond 99 degrees")]
    assert heads.counts["images without a .mat file, left out"] == 1


def test_the_hash_follows_names_and_label_files(tmp_path: Path, references: PoseReferences) -> None:
    points = points_of(POSE, references)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_mat(tmp_path / name, "a", points, [0, 10, 0])
    (tmp_path / "two/a.mat").write_bytes((tmp_path / "one/a.mat").read_bytes())
    one, two = (read_aflw2000(tmp_path / name).truth_sha256 for name in ("one", "two"))
    assert one == two
    write_mat(tmp_path / "two", "a", points, [0, 11, 0])
    assert read_aflw2000(tmp_path / "two").truth_sha256 != one


def _without_key(path: Path) -> None:
    scipy.io.savemat(path, {"pt3d_68": np.ones((3, 68))})


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def _with_nan(path: Path) -> None:
    scipy.io.savemat(path, {"pt3d_68": np.full((3, 68), np.nan), "Pose_Para": np.zeros((1, 7))})


def _with_other_shape(path: Path) -> None:
    scipy.io.savemat(path, {"pt3d_68": np.ones((2, 68)), "Pose_Para": np.zeros((1, 7))})


def _at_one_point(path: Path) -> None:
    scipy.io.savemat(path, {"pt3d_68": np.ones((3, 68)), "Pose_Para": np.zeros((1, 7))})


def _outside(path: Path) -> None:
    points = 500 + np.random.default_rng(0).random((3, 68))
    scipy.io.savemat(path, {"pt3d_68": points, "Pose_Para": np.zeros((1, 7))})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_without_key, "lacks the variable Pose_Para"),
        (_cut, "cut short"),
        (lambda path: path.write_bytes(b"words"), "not a MAT-file"),
        (_with_nan, "NaN or infinity"),
        (_with_other_shape, "must have shape"),
        (_at_one_point, "have no extent"),
        (_outside, "outside the picture"),
        (lambda path: path.with_suffix(".jpg").write_bytes(b"words"), "not a picture"),
    ],
)
def test_bad_labels_are_refused_in_one_line_or_left_out(
    tmp_path: Path, references: PoseReferences, damage: object, told: str
) -> None:
    write_mat(tmp_path, "a", points_of(POSE, references), [0, 0, 0])
    write_mat(tmp_path, "b", points_of(POSE, references), [0, 0, 0])
    damage(tmp_path / "b.mat")
    with pytest.raises(InputError, match=r"b\.(mat|jpg): ") as caught:
        read_aflw2000(tmp_path)
    assert told in str(caught.value)
    assert "--skip_bad" in str(caught.value)
    heads = read_aflw2000(tmp_path, skip_bad=True)
    assert list(heads.images) == ["a.jpg"]
    assert reasons(heads) == [("b.jpg", "picture or labels cannot be used")]
    assert told in heads.left_out[0].detail


def test_nothing_to_judge(tmp_path: Path, references: PoseReferences) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_aflw2000(tmp_path / "gone")
    with pytest.raises(InputError, match=r"holds no image with a \.mat"):
        read_aflw2000(tmp_path)
    write_mat(tmp_path, "b", points_of(POSE, references), [0, 120, 0])
    with pytest.raises(InputError, match=r"no face is left to judge; first: b\.jpg, an angle"):
        read_aflw2000(tmp_path)


def test_pictures_that_cannot_be_decoded(tmp_path: Path, references: PoseReferences) -> None:
    for name in ("a", "b"):
        write_mat(tmp_path, name, points_of(POSE, references), [0, 0, 0])
    # The header is whole, so that only decoding finds it out.
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:-80])
    heads = read_aflw2000(tmp_path)
    assert list(heads.images) == ["a.jpg", "b.jpg"]
    heads = without_unreadable_pictures(heads, heads.images)
    assert list(heads.images) == ["a.jpg"]
    assert reasons(heads) == [("b.jpg", "picture or labels cannot be used")]
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="no face is left to judge"):
        without_unreadable_pictures(heads, heads.images)


def annotation_of(folder: Path, name: str, faces: list[np.ndarray], **others: object) -> Annotation:
    boxes = np.array([[*points.min(0), *points.max(0)] for points in faces])
    return Annotation(name, boxes, tuple(faces), folder / f"{name}.json", **others)


def write_list(folder: Path, annotations: list[Annotation]) -> Path:
    for annotation in annotations:
        write_picture(folder / "images" / annotation.image_path)
        write_annotation(annotation.source, annotation)
    write_annotation_list(folder / "list.txt", [a.source for a in annotations])
    return folder / "list.txt"


def test_annotated_pictures(tmp_path: Path, references: PoseReferences) -> None:
    points = points_of(POSE, references)
    turned = np.deg2rad([5, 15, -10])
    unknown = points.copy()
    unknown[3] = -1
    annotations = [
        annotation_of(tmp_path, "fitted.jpg", [points, points[:5], unknown, points + [3, 0]]),
        annotation_of(tmp_path, "given.jpg", [points], head_angles=(turned,)),
        annotation_of(tmp_path, "beyond.jpg", [points], head_angles=(np.deg2rad([0, 100, 0]),)),
        annotation_of(tmp_path, "empty.jpg", []),
    ]
    heads = read_annotated(write_list(tmp_path, annotations), tmp_path / "images")
    truths, left_out = fit_truths(heads, references)
    assert [(truth.image, truth.face) for truth in truths] == [
        ("fitted.jpg", 0),
        ("fitted.jpg", 3),
        ("given.jpg", 0),
    ]
    np.testing.assert_allclose(truths[0].euler_deg, pose_to_euler(POSE), atol=1e-3)
    np.testing.assert_allclose(truths[0].rotation, rotvec_to_matrix(POSE[:3]), atol=1e-4)
    np.testing.assert_allclose(truths[2].euler_deg, [5, 15, -10])
    np.testing.assert_allclose(truths[2].translation, POSE[3:], atol=1e-4)
    assert [(out.image, out.reason) for out in left_out] == [
        ("fitted.jpg", "without 68 known points"),
        ("fitted.jpg", "without 68 known points"),
        ("beyond.jpg", "an angle beyond 99 degrees"),
    ]


def test_bad_annotations(tmp_path: Path, references: PoseReferences) -> None:
    points = points_of(POSE, references)
    annotations = [annotation_of(tmp_path, name, [points]) for name in ("a.jpg", "b.jpg")]
    json_list = write_list(tmp_path, annotations)
    images = tmp_path / "images"
    (tmp_path / "b.jpg.json").write_text("{")
    with pytest.raises(InputError, match=r"b\.jpg\.json: not a JSON annotation"):
        read_annotated(json_list, images)
    heads = read_annotated(json_list, images, skip_bad=True)
    assert list(heads.images) == ["a.jpg"]
    (tmp_path / "b.jpg.json").unlink()
    with pytest.raises(InputError, match=r"list\.txt: line 2: .* is not there"):
        read_annotated(json_list, images)
    assert list(read_annotated(json_list, images, skip_bad=True).images) == ["a.jpg"]
    write_annotation(tmp_path / "b.jpg.json", annotations[0])
    with pytest.raises(InputError, match=r"names the image of .*a\.jpg\.json"):
        read_annotated(json_list, images)
    write_annotation(tmp_path / "b.jpg.json", replace(annotations[1], image_path="gone.jpg"))
    with pytest.raises(InputError, match=r"gone\.jpg: no such image"):
        read_annotated(json_list, images)
    write_annotation(tmp_path / "b.jpg.json", replace(annotations[1], image_path="../a.jpg"))
    with pytest.raises(InputError, match="lies outside"):
        read_annotated(json_list, images)


def test_points_that_no_pose_fits_are_left_out(references: PoseReferences) -> None:
    points = points_of(POSE, references)
    labels = (
        HeadLabel("a.jpg", landmarks=points, size_hw=SIZE_HW),
        HeadLabel("b.jpg", landmarks=np.full((68, 2), np.inf), size_hw=SIZE_HW),
    )
    truths, left_out = fit_truths(HeadSet(Path(), labels, (), "", {}), references)
    assert [truth.image for truth in truths] == ["a.jpg"]
    assert [(out.image, out.reason) for out in left_out] == [
        ("b.jpg", "no pose fits its 68 points")
    ]


def test_biwi_matrices_are_read_in_the_published_convention(tmp_path: Path) -> None:
    matrix = Rotation.from_rotvec(POSE[:3]).as_matrix()
    for name in ("01/frame_00003", "01/frame_00004"):
        write_picture(tmp_path / f"{name}_rgb.png")
    text = pose_text(BiwiPose(matrix, np.array([1.0, 2.0, 900.0])))
    (tmp_path / "01/frame_00003_pose.txt").write_text(text)
    heads = read_biwi(find_frames(tmp_path))
    (truth,), left_out = fit_truths(heads, PoseReferences.default())
    a, b, c = Rotation.from_matrix(matrix.T).as_euler("xyz", degrees=True)
    np.testing.assert_allclose(truth.euler_deg, [a, -b, -c], atol=1e-9)
    np.testing.assert_allclose(truth.rotation, matrix, atol=1e-12)
    assert truth.image == "01/frame_00003_rgb.png"
    assert truth.translation is truth.box_xyxy is truth.landmarks is None
    assert [(out.image, out.reason) for out in left_out] == [
        ("01/frame_00004_rgb.png", "without a pose file")
    ]


def test_a_bad_pose_file_is_refused_or_left_out(tmp_path: Path) -> None:
    for number in (3, 4):
        write_picture(tmp_path / f"01/frame_{number:05d}_rgb.png")
        text = pose_text(BiwiPose(np.eye(3), np.array([0.0, 0.0, 900.0])))
        (tmp_path / f"01/frame_{number:05d}_pose.txt").write_text(text)
    (tmp_path / "01/frame_00004_pose.txt").write_text("1 0 0\n")
    with pytest.raises(InputError, match=r"frame_00004_pose\.txt: three rows .*--skip_bad"):
        read_biwi(find_frames(tmp_path))
    heads = read_biwi(find_frames(tmp_path), skip_bad=True)
    assert list(heads.images) == ["01/frame_00003_rgb.png"]
    assert reasons(heads) == [("01/frame_00004_rgb.png", "picture or labels cannot be used")]
