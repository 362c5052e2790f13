from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from img2pose.geometry import boxes_from_points, pairwise_iou

SQUARE = np.array([[[40.0, 40.0], [60.0, 60.0], [50.0, 50.0]]])


def pose_with_roll(roll: float) -> np.ndarray:
    return np.array([[0, 0, roll, 0, 0, 10.0]])


@pytest.mark.parametrize(
    ("roll", "expected"),
    [
        (0.0, [39, 33, 61, 61]),
        (1.0, [39, 33, 61, 61]),
        (1.5, [39, 39, 67, 61]),
        (-1.5, [33, 39, 61, 61]),
        (2.6, [39, 39, 61, 67]),
        (-2.6, [39, 39, 61, 67]),
    ],
)
def test_forehead_side_follows_the_roll(roll: float, expected: list[float]) -> None:
    box = boxes_from_points(SQUARE, pose_with_roll(roll), (100, 100))
    np.testing.assert_allclose(box, [expected])


def test_factors_are_the_users() -> None:
    box = boxes_from_points(SQUARE, pose_with_roll(0), (100, 100), 2.0, 1.0, 0.0)
    np.testing.assert_allclose(box, [[30, 40, 70, 60]])


def test_boxes_are_clipped_on_all_sides() -> None:
    points = np.array([[[-50.0, -50], [200, 200]], [[300, 300], [400, 400]]])
    boxes = boxes_from_points(points, np.zeros((2, 6)), (100, 80))
    np.testing.assert_allclose(boxes, [[0, 0, 80, 100], [80, 100, 80, 100]])


def test_published_rounding_leaves_a_face_outside_inverted() -> None:
    points = np.array([[[300.0, 300], [400, 400]]])
    box = boxes_from_points(points, np.zeros((1, 6)), (100, 80), published_rounding=True)
    np.testing.assert_array_equal(box, [[295, 265, 80, 100]])


def test_each_face_may_have_its_own_image_size() -> None:
    points = np.array([[[0.0, 50], [200, 90]]] * 2)
    sizes_hw = np.array([[100, 80], [60, 150]])
    for given in (sizes_hw, torch.tensor(sizes_hw)):
        boxes = boxes_from_points(points, np.zeros((2, 6)), given)
        assert isinstance(boxes, np.ndarray)
        assert boxes[:, 2].tolist() == [80, 150]
        assert boxes[:, 3].tolist() == pytest.approx([92, 60])


def test_no_faces_no_boxes() -> None:
    boxes = boxes_from_points(torch.zeros(0, 68, 2), torch.zeros(0, 6), (10, 10))
    assert boxes.shape == (0, 4)


def test_overlap_is_shared_area_over_union() -> None:
    boxes = np.array([[0, 0, 2, 2], [5, 5, 5, 9]])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [5, 5, 5, 9]])
    expected = [[1, 1 / 3, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(pairwise_iou(boxes, others), expected)
    of_tensors = pairwise_iou(torch.tensor(boxes), torch.tensor(others))
    np.testing.assert_allclose(of_tensors.numpy(), expected)
    assert pairwise_iou(boxes[:0], others).shape == (0, 4)


def test_overlaps_are_torchvisions_in_every_bit() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 50, (40, 2))], axis=1)
    theirs = box_iou(torch.tensor(boxes[:25]), torch.tensor(boxes)).numpy()
    np.testing.assert_array_equal(pairwise_iou(boxes[:25], boxes), theirs)
