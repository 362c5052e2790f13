from __future__ import annotations

import numpy as np
import pytest
import torch

from img2pose.geometry import image_intrinsics, pose_image_to_box, project_points, solve_pose

POSE = np.array([[0.1, 0.2, 0.3, 0.0, 0.0, 10.0]])
BOX = np.array([[270.0, 190.0, 370.0, 290.0]])
CAMERA = image_intrinsics(480, 640)


def test_arrays_may_be_given_by_name() -> None:
    expected = pose_image_to_box(POSE, BOX, CAMERA)
    np.testing.assert_array_equal(
        pose_image_to_box(poses=POSE, boxes=BOX, intrinsics=CAMERA), expected
    )
    mixed = pose_image_to_box(torch.tensor(POSE), boxes=BOX, intrinsics=CAMERA)
    assert isinstance(mixed, torch.Tensor)
    np.testing.assert_allclose(mixed, expected)


def test_a_missing_argument_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="intrinsics"):
        project_points(np.zeros((1, 3)), POSE)


def test_solve_pose_of_tensors_is_a_tensor() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    projected = project_points(points, POSE, CAMERA)[0]
    pose = solve_pose(torch.tensor(points), torch.tensor(projected), CAMERA)
    assert isinstance(pose, torch.Tensor)
    np.testing.assert_allclose(pose, POSE[0], atol=1e-5)
