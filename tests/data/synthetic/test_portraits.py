"""Rendered people in the layouts of AFLW2000-3D and BIWI are read as the real sets are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from img2pose.data.biwi import find_frames, pose_name, read_pose
from img2pose.data.synthetic.portraits import make_portraits, write_aflw2000, write_biwi
from img2pose.evaluation.head_sets import fit_truths, read_aflw2000, read_biwi
from img2pose.geometry import euler_to_matrix, pose_to_euler
from img2pose.references import PoseReferences

SIZE_HW = (96, 128)
FACES = (0.3, 0.7)
BANDS = ((0, 30), (30, 60), (60, 85))


def test_portraits_are_spread_over_yaw_and_begin_alike() -> None:
    portraits = list(make_portraits(3, 1, SIZE_HW, FACES))
    for picture, (low, high) in zip(portraits, BANDS, strict=True):
        assert picture.pixels.shape == (*SIZE_HW, 3)
        (face,) = picture.faces
        assert low <= abs(pose_to_euler(face.pose)[1]) < high
        # From brow to chin; faces are measured from the hairline.
        extent = np.ptp(face.landmarks, axis=0).max()
        assert 0.4 * FACES[0] * SIZE_HW[0] < extent < FACES[1] * SIZE_HW[0] * 1.3
    (first,) = make_portraits(1, 1, SIZE_HW, FACES)
    np.testing.assert_array_equal(first.pixels, portraits[0].pixels)


def test_aflw2000(tmp_path: Path) -> None:
    assert write_aflw2000(tmp_path, 2, seed=1) == ["image00000.jpg", "image00001.jpg"]
    heads = read_aflw2000(tmp_path)
    truths, left_out = fit_truths(heads, PoseReferences.default())
    assert [truth.image for truth in truths] == ["image00000.jpg", "image00001.jpg"]
    assert not left_out
    for truth, (low, high) in zip(truths, BANDS, strict=False):
        assert low <= abs(truth.euler_deg[1]) < high
        assert truth.box_xyxy is not None
        assert truth.landmarks is not None
        (x, y), (left, top, right, bottom) = truth.landmarks.mean(0), truth.box_xyxy
        assert left < x < right
        assert top < y < bottom


def test_biwi(tmp_path: Path) -> None:
    names = write_biwi(tmp_path, 4, seed=1)
    assert names[0] == "01/frame_00003"
    assert names[-1] == "02/frame_00003"
    heads = read_biwi(find_frames(tmp_path))
    truths, _ = fit_truths(heads, PoseReferences.default())
    assert [truth.image for truth in truths] == [f"{name}_rgb.png" for name in names]
    for name, truth, (low, high) in zip(names, truths, 2 * BANDS, strict=False):
        assert low <= abs(truth.euler_deg[1]) < high
        pose = read_pose(tmp_path / pose_name(name))
        np.testing.assert_allclose(euler_to_matrix(truth.euler_deg), pose.rotation, atol=1e-9)
        # Faces of 1.75 units that fill a fifth to two fifths of 480 pixels, seen by 640 + 480.
        assert 1000 < pose.translation_mm[2] < 2300
