"""300W-LP and AFLW2000-3D: points, angles and boxes as their labels are made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io
from PIL import Image

from img2pose.data.annotations import Annotation
from img2pose.data.importers import aflw2000, w300lp
from img2pose.data.importers.label_set import LeftOut
from img2pose.data.labels import fit_labels
from img2pose.errors import InputError
from img2pose.geometry import image_intrinsics, pose_to_euler, project_points
from img2pose.references import PoseReferences

SIZE_HW = (120, 160)


def points_68(seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).uniform([60, 50], [100, 90], (68, 2))
    points[:2] = [[60, 50], [100, 90]]
    return points


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE_HW[::-1]).save(path)


def write_face(stem: Path, points: np.ndarray, angles_rad: Sequence[float]) -> None:
    write_image(stem.with_suffix(".jpg"))
    in_space = np.vstack([points.T, np.ones((1, 68))])
    pose_para = np.array([[*angles_rad, 1, 2, 3, 4]])
    content = {"pt2d": points.T, "pt3d_68": in_space, "Pose_Para": pose_para}
    scipy.io.savemat(stem.with_suffix(".mat"), content)


def read_one(module: ModuleType, folder: Path) -> Annotation:
    (image,) = module.read_label_set(folder).images
    annotation = image.read()
    assert isinstance(annotation, Annotation)
    return annotation


@pytest.mark.parametrize("module", [w300lp, aflw2000])
@pytest.mark.parametrize(
    ("rz", "box"),
    [
        # The points span 60-100 and 50-90; a tenth more, and 0.3 of 40 pixels for the forehead.
        (0.0, [58, 36, 102, 92]),
        (1.5, [58, 48, 114, 92]),
        (-1.5, [46, 48, 102, 92]),
        (3.0, [58, 48, 102, 104]),
    ],
)
def test_points_angles_and_the_box_with_its_forehead(
    tmp_path: Path, module: ModuleType, rz: float, box: list[float]
) -> None:
    (angles,) = np.deg2rad(pose_to_euler(np.array([[0, 0, rz, 0, 0, 5]])))
    write_face(tmp_path / "a", points_68(), angles)
    if module is aflw2000 and abs(rz) > np.deg2rad(99):
        return
    annotation = read_one(module, tmp_path)
    assert annotation.image_path == "a.jpg"
    assert annotation.label_source == module.LABEL_SOURCE
    np.testing.assert_array_equal(annotation.landmarks[0], points_68())
    np.testing.assert_array_equal(annotation.head_angles, [angles])
    np.testing.assert_allclose(annotation.boxes_xyxy, [box], atol=1e-9)


@pytest.mark.parametrize("module", [w300lp, aflw2000])
def test_boxes_end_at_the_image(tmp_path: Path, module: ModuleType) -> None:
    write_face(tmp_path / "a", points_68() + [100, -60], (0, 0, 0))
    np.testing.assert_allclose(read_one(module, tmp_path).boxes_xyxy, [[158, 0, 160, 32]])
    write_face(tmp_path / "a", points_68() + 1000, (0, 0, 0))
    assert read_one(module, tmp_path).boxes_xyxy[0, 2:].tolist() == [160, 120]


def test_folders_are_searched_and_what_has_no_partner_is_counted(tmp_path: Path) -> None:
    for stem in ("AFW/AFW_1_0", "AFW_Flip/AFW_1_0", "top"):
        (tmp_path / stem).parent.mkdir(exist_ok=True)
        write_face(tmp_path / stem, points_68(), (0, 0, 0))
    write_image(tmp_path / "AFW/unlabelled.png")
    write_image(tmp_path / ".hidden/a.jpg")
    write_image(tmp_path / "AFW/._AFW_1_0.jpg")
    (tmp_path / "Code").mkdir()
    (tmp_path / "Code/Model_Shape.mat").write_bytes(b"never opened")
    label_set = w300lp.read_label_set(tmp_path)
    names = [image.image_path for image in label_set.images]
    assert names == ["top.jpg", "AFW/AFW_1_0.jpg", "AFW_Flip/AFW_1_0.jpg"]
    assert list(label_set.counts.values()) == [1, 1]
    write_image(tmp_path / "AFW/AFW_1_0.png")
    with pytest.raises(InputError, match=r"AFW_1_0\.png: has the name of AFW_1_0\.jpg"):
        w300lp.read_label_set(tmp_path)
    with pytest.raises(InputError, match="holds no image with"):
        w300lp.read_label_set(tmp_path / "Code")


@pytest.mark.parametrize(
    ("angle_deg", "kept"), [(98.9, True), (-98.9, True), (99.1, False), (-99.1, False)]
)
def test_aflw2000_leaves_out_angles_beyond_99_degrees(
    tmp_path: Path, angle_deg: float, kept: bool
) -> None:
    for place in range(3):
        angles = [0.0, 0.0, 0.0]
        angles[place] = np.deg2rad(angle_deg)
        write_face(tmp_path / "a", points_68(), angles)
        (image,) = aflw2000.read_label_set(tmp_path).images
        assert isinstance(image.read(), Annotation if kept else LeftOut)
        assert isinstance(w300lp.read_label_set(tmp_path).images[0].read(), Annotation)


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    scipy.io.savemat(tmp_path / "a.mat", {"pt2d": np.zeros((2, 68))})
    with pytest.raises(InputError, match=r"a\.mat: lacks the variable Pose_Para"):
        read_one(w300lp, tmp_path)


@pytest.mark.parametrize(("folder", "module"), [("300w_lp", w300lp), ("aflw2000", aflw2000)])
def test_real_labels_describe_the_faces_that_are_there(
    shared: Path, folder: str, module: ModuleType, references: PoseReferences
) -> None:
    images = module.read_label_set(shared / "data" / folder).images
    assert len(images) == {"300w_lp": 1, "aflw2000": 8}[folder]
    for image in images:
        annotation = image.read()
        labels = fit_labels(annotation, (450, 450), references)
        angles = pose_to_euler(labels.poses_in_image)
        np.testing.assert_allclose(angles, np.rad2deg(annotation.head_angles), atol=1e-6)
        camera = image_intrinsics(450, 450)
        projected = project_points(references.points_68, labels.poses_in_image, camera)[0]
        annotated = annotation.landmarks[0]
        # The rigid reference face in the pose lies on the points: no axis is exchanged or turned.
        distance = np.linalg.norm(projected - annotated, axis=1).mean()
        assert distance < 0.12 * np.ptp(annotated, axis=0).max()
