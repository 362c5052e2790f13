"""Faces merged over passes, faces given to boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.annotators.overlaps import match_to_boxes, merge_faces
from img2pose.geometry import pairwise_iou


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def points_of(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 2, 2): a box's corners serve as its landmarks."""
    return boxes_xyxy.reshape(-1, 2, 2)


def test_faces_of_one_place_are_averaged_by_score_and_keep_the_best_score() -> None:
    found = boxes((0, 0, 10, 10), (100, 0, 110, 10), (2, 0, 12, 10))
    scores = np.array([0.2, 0.9, 0.6])
    merged, merged_scores, points = merge_faces(found, scores, points_of(found), 0.3, 0.5)
    np.testing.assert_allclose(merged, [[100, 0, 110, 10], [1.5, 0, 11.5, 10]])
    np.testing.assert_allclose(merged_scores, [0.9, 0.6])
    np.testing.assert_allclose(points, points_of(merged))


def test_a_face_that_overlaps_less_than_a_vote_is_dropped_without_one() -> None:
    found = boxes((0, 0, 10, 10), (4, 0, 14, 10))
    (iou,) = pairwise_iou(found[:1], found[1:])[0]
    assert 0.3 < iou < 0.5
    merged, _, _ = merge_faces(found, np.array([0.9, 0.8]), points_of(found), 0.3, 0.5)
    np.testing.assert_array_equal(merged, found[:1])
    both, _, _ = merge_faces(found, np.array([0.9, 0.8]), points_of(found), 0.45, 0.5)
    np.testing.assert_array_equal(both, found)


def test_nothing_merges_to_nothing_and_boxes_without_area_come_to_an_end() -> None:
    for found in (boxes(), boxes((3, 3, 3, 3), (3, 3, 3, 3))):
        count = len(found)
        merged, scores, points = merge_faces(found, np.full(count, 0.5), points_of(found), 0.3, 0.5)
        assert merged.shape == (count, 4)
        assert scores.shape == (count,)
        assert points.shape == (count, 2, 2)


corners = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)


@settings(deadline=None)
@given(st.lists(corners, max_size=12), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_the_order_and_leaves_no_overlaps(
    rows: list[tuple[int, int, int, int]], random: object
) -> None:
    found = boxes(*[(x, y, x + w, y + h) for x, y, w, h in rows])
    scores = np.linspace(0.9, 0.1, len(found))
    # No two boxes of so few pixels overlap by just this: rounding decides nothing.
    threshold = 0.3003
    # With votes of exact copies only, boxes stay where they are.
    merged = merge_faces(found, scores, points_of(found), threshold, 1.0)
    order = np.array(random.sample(range(len(found)), len(found)), dtype=int)  # type: ignore[attr-defined]
    again = merge_faces(found[order], scores[order], points_of(found)[order], threshold, 1.0)
    for one, other in zip(merged, again, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    overlap = pairwise_iou(merged[0], merged[0])
    np.fill_diagonal(overlap, 0)
    assert (overlap <= threshold).all()
    # Nothing is lost: each face found lies on one that stayed.
    if len(found):
        assert (pairwise_iou(found, merged[0]).max(1) > threshold).all()


def test_matching_is_one_to_one_and_the_best_as_a_whole() -> None:
    given_boxes = boxes((0, 0, 10, 10), (3, 0, 13, 10))
    # The first found face overlaps both; only the first box suits the second face.
    found = boxes((2, 0, 12, 10), (-2, 0, 8, 10), (50, 50, 60, 60))
    faces, taken = match_to_boxes(found, given_boxes, 0.5)
    assert dict(zip(faces.tolist(), taken.tolist(), strict=True)) == {0: 1, 1: 0}


@pytest.mark.parametrize(("min_iou", "pairs"), [(0.5, 1), (0.51, 0)])
def test_matches_overlap_at_least_so_much(min_iou: float, pairs: int) -> None:
    faces, taken = match_to_boxes(boxes((0, 0, 10, 10)), boxes((0, 0, 10, 5)), min_iou)
    assert len(faces) == len(taken) == pairs


def test_nothing_is_matched_with_nothing() -> None:
    for found, there in ((boxes(), boxes((0, 0, 1, 1))), (boxes((0, 0, 1, 1)), boxes())):
        faces, taken = match_to_boxes(found, there, 0.5)
        assert len(faces) == len(taken) == 0
