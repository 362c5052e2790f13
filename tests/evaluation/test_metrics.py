from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from img2pose.evaluation.metrics import (
    area_under_cumulative,
    average_precision,
    band_numbers,
    cumulative_errors,
    failure_rate,
    iou_matrix,
    landmark_error,
    landmark_error_by_box,
    match_detections,
    precision_and_recall,
    rotation_error_deg,
    wrapped_difference_deg,
)
from img2pose.evaluation.overlaps import overlaps_inclusive


def test_iou_of_known_boxes() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 5.0]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [10, 0, 20, 10]])
    np.testing.assert_allclose(iou_matrix(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_iou_of_fractional_boxes_counts_edges_not_pixels() -> None:
    np.testing.assert_allclose(iou_matrix([[0, 0, 1, 1]], [[0.5, 0, 1.5, 1]]), [[1 / 3]])


def test_iou_of_inverted_boxes_is_zero() -> None:
    assert iou_matrix([[10, 10, 0, 0]], [[0, 0, 10, 10]]) == 0


def test_inclusive_sides_are_a_pixel_longer() -> None:
    # 11 x 11 pixels each, 6 of 11 columns shared: 66 / (242 - 66).
    a = np.array([[0, 0, 10, 10]])
    assert overlaps_inclusive(a, [[5, 0, 15, 10]]) == pytest.approx(66 / 176)
    # One column of pixels is shared where edges only touch.
    assert overlaps_inclusive(a, [[10, 0, 20, 10]]) == pytest.approx(11 / 231)
    assert overlaps_inclusive(a, [[11, 0, 20, 10]]) == 0
    assert overlaps_inclusive(a, [[4, 4, 4, 4]]) == pytest.approx(1 / 121)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (2, 0), (0, 0)])
def test_iou_of_no_boxes(first: int, second: int) -> None:
    assert iou_matrix(np.zeros((first, 4)), np.zeros((second, 4))).shape == (first, second)


def test_the_best_scored_detection_chooses_first() -> None:
    ious = np.array([[0.9], [0.6]])
    assert match_detections(np.array([0.6, 0.9]), ious, 0.5).tolist() == [-1, 0]
    assert match_detections(np.array([0.9, 0.6]), ious, 0.5).tolist() == [0, -1]


def test_a_detection_whose_best_truth_is_taken_takes_the_next() -> None:
    ious = np.array([[0.9, 0.1], [0.8, 0.6]])
    assert match_detections(np.array([0.9, 0.8]), ious, 0.5).tolist() == [0, 1]


def test_overlap_must_reach_the_threshold() -> None:
    assert match_detections(np.array([1.0]), np.array([[0.5]]), 0.5).tolist() == [0]
    assert match_detections(np.array([1.0]), np.array([[0.499]]), 0.5).tolist() == [-1]
    assert match_detections(np.array([1.0]), np.zeros((1, 0)), 0.5).tolist() == [-1]
    assert match_detections(np.zeros(0), np.zeros((0, 2)), 0.5).tolist() == []


@pytest.mark.parametrize("angle_deg", [0.0, 1e-4, 30, 90, 179.9])
def test_rotation_error_is_the_angle_between(angle_deg: float) -> None:
    base = Rotation.from_rotvec([0.3, -0.7, 0.2])
    turn = Rotation.from_rotvec(np.deg2rad(angle_deg) * np.array([0.6, 0, 0.8]))
    first = np.concatenate([base.as_rotvec(), [1, 2, 3]])
    second = np.concatenate([(base * turn).as_rotvec(), [7, 8, 9]])
    assert rotation_error_deg(first, second) == pytest.approx(angle_deg, abs=1e-7)


def test_landmark_error_is_a_share_of_the_outer_eye_distance() -> None:
    truth = np.random.default_rng(0).normal(size=(2, 68, 2))
    truth[:, 36], truth[:, 45] = (0, 0), (30, 40)
    np.testing.assert_allclose(landmark_error(truth + np.array([3, 4]), truth), [0.1, 0.1])
    assert landmark_error(truth[0], truth[0]) == 0
    truth[0, 45] = truth[0, 36]
    assert np.isinf(landmark_error(truth[0], truth[0]))


def test_average_precision_of_known_rankings() -> None:
    assert average_precision([0.9, 0.8], [True, True], 2) == 1
    assert average_precision([0.9, 0.8], [True, True], 4) == 0.5
    assert average_precision([], [], 3) == 0
    assert average_precision([0.9], [False], 3) == 0
    assert average_precision([0.9], [False], 0) is None
    # Right, wrong, right: precision 1 at the first half of recall, 2/3 at the second.
    assert average_precision([0.7, 0.9, 0.8], [True, True, False], 2) == pytest.approx(5 / 6)
    # A wrong first detection: the envelope is 2/3 throughout.
    assert average_precision([0.9, 0.8, 0.7], [False, True, True], 2) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("difference", "wrapped"),
    [
        (0, 0),
        (90, 90),
        (-90, 90),
        (180, 180),
        (-180, 180),
        (358, 2),
        (-358, 2),
        (190, 170),
        (720, 0),
    ],
)
def test_differences_of_angles_the_shorter_way_round(difference: float, wrapped: float) -> None:
    assert wrapped_difference_deg(np.array(difference)) == pytest.approx(wrapped)


def test_landmark_error_by_box_of_a_known_shift() -> None:
    annotated = np.zeros((2, 68, 2))
    annotated[:, 1] = [40, 10]
    moved = annotated + np.array([[[3, 4]], [[0, 0]]])
    # Five pixels over the square root of 40 x 10.
    np.testing.assert_allclose(landmark_error_by_box(moved, annotated), [0.25, 0])
    assert np.isinf(landmark_error_by_box(moved[0], np.zeros((68, 2))))


def test_precision_and_recall_at_every_score() -> None:
    scores, correct = np.array([0.5, 0.9, 0.5, 0.7]), np.array([True, True, False, False])
    thresholds, precision, recall = precision_and_recall(scores, correct, 4)
    np.testing.assert_array_equal(thresholds, [0.9, 0.7, 0.5])
    # The two of one score come together, whatever their order.
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 4])
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 2 / 4])
    assert [len(values) for values in precision_and_recall(np.zeros(0), np.zeros(0), 1)] == [0] * 3


def test_cumulative_errors_count_those_that_have_none() -> None:
    errors = np.array([0.06, 0.02, 0.1])
    x, shares = cumulative_errors(errors, 4)
    np.testing.assert_array_equal(x, [0, 0.02, 0.06, 0.1])
    np.testing.assert_array_equal(shares, [0, 0.25, 0.5, 0.75])
    # (0.06 + 0.02) / 0.08 of four.
    assert area_under_cumulative(errors, 4, 0.08) == pytest.approx(0.25)
    # By the steps themselves.
    widths = np.diff(np.append(x, np.inf).clip(max=0.08))
    assert (widths * shares).sum() / 0.08 == pytest.approx(0.25)
    assert failure_rate(errors, 4, 0.08) == 0.5
    assert failure_rate(errors, 4, 0.1) == 0.25
    assert area_under_cumulative(np.zeros(2), 2, 0.08) == 1
    assert area_under_cumulative(np.zeros(0), 0, 0.08) is failure_rate(np.zeros(0), 0, 0.08) is None


def test_bands_hold_their_lower_edge_and_the_last_one_both() -> None:
    values = np.array([-1, 0, 14.9, 15, 90, 90.1, np.nan])
    np.testing.assert_array_equal(band_numbers(values, (0, 15, 90)), [-1, 0, 0, 1, 1, -1, -1])
    np.testing.assert_array_equal(band_numbers(np.array([7, 1e9]), (0, 8, np.inf)), [0, 1])
