"""Several looks at a picture: sizes, mirroring, voting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.errors import InputError
from img2pose.evaluation.overlaps import overlaps_inclusive
from img2pose.evaluation.wider.passes import PassSettings, find_boxes, mirror_boxes, vote_boxes
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose


def test_overlaps_count_sides_inclusively() -> None:
    boxes = np.array([[0.0, 0, 9, 9], [5, 5, 5, 5], [9, 9, 0, 0]])
    ious = overlaps_inclusive(boxes, boxes)
    assert ious[0, 0] == ious[1, 1] == 1.0
    assert ious[0, 1] == pytest.approx(0.01)
    assert (ious[2] == 0).all() and (ious[:, 2] == 0).all()


def test_voting_by_hand() -> None:
    # The second overlaps the first by 80 / 120 = 2/3 and weighs 0.5 * 2/3 = 1/3.
    boxes = np.array([[0.0, 0, 9, 9], [2, 0, 11, 9], [50, 50, 59, 59]])
    merged, scores = vote_boxes(boxes, np.array([0.8, 0.4, 0.9]), 0.6)
    np.testing.assert_allclose(merged, [[50, 50, 59, 59], [0.5, 0, 9.5, 9]])
    np.testing.assert_allclose(scores, [0.9, 0.8 + 0.4 / 3])


def test_scores_of_many_votes_exceed_1_and_are_not_in_order() -> None:
    boxes = np.array([[50.0, 50, 59, 59], *[[0, 0, 9, 9]] * 3])
    merged, scores = vote_boxes(boxes, np.array([0.9, 0.8, 0.8, 0.8]), 0.6)
    np.testing.assert_allclose(scores, [0.9, 2.4])
    np.testing.assert_array_equal(merged[1], [0, 0, 9, 9])


def test_empty_inverted_and_flat_boxes_pass_through() -> None:
    merged, scores = vote_boxes(np.empty((0, 4)), np.empty(0), 0.6)
    assert merged.shape == (0, 4) and scores.shape == (0,)
    boxes = np.array([[9.0, 9, 0, 0], [5, 5, 5, 5]])
    merged, scores = vote_boxes(boxes, np.array([0.9, 0.1]), 0.6)
    np.testing.assert_array_equal(merged, boxes)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_laws_of_voting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 40, (int(rng.integers(1, 30)), 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 30, corners.shape)], 1).astype(float)
    scores = rng.permutation(len(boxes)) + 1.0
    merged, votes = vote_boxes(boxes, scores, 0.6)
    # Order does not matter; what is merged stays within what was given and never scores less.
    shuffled = rng.permutation(len(boxes))
    again, again_votes = vote_boxes(boxes[shuffled], scores[shuffled], 0.6)
    np.testing.assert_allclose(again, merged)
    np.testing.assert_allclose(again_votes, votes)
    assert len(merged) <= len(boxes)
    assert (merged.min(0) >= boxes.min(0) - 1e-9).all()
    assert (merged.max(0) <= boxes.max(0) + 1e-9).all()
    assert votes.max() >= scores.max() and votes.sum() <= scores.sum() + 1e-9


def test_voting_agrees_with_the_reference(shared: Path) -> None:
    cases = np.load(shared / "golden" / "box_voting.npz")
    for index in range(len(cases.files) // 2):
        given_boxes, expected = cases[f"{index}_in"], cases[f"{index}_out"]
        boxes, scores = vote_boxes(given_boxes[:, :4], given_boxes[:, 4], 0.6)
        np.testing.assert_allclose(boxes, expected[:, :4], atol=1e-6)
        np.testing.assert_allclose(scores, expected[:, 4], atol=1e-6)


def test_mirroring_twice_changes_nothing() -> None:
    boxes = np.array([[1.0, 2, 30, 40], [0, 0, 100, 5]])
    np.testing.assert_array_equal(mirror_boxes(boxes, 100), [[70, 2, 99, 40], [0, 0, 100, 5]])
    np.testing.assert_array_equal(mirror_boxes(mirror_boxes(boxes, 100), 100), boxes)


PICTURE = np.random.default_rng(0).integers(0, 256, (60, 180, 3), dtype=np.uint8)


def test_one_size_is_one_plain_pass_without_a_limit(small_model: Img2Pose) -> None:
    detector = Detector(small_model, 0.05)
    ((boxes, scores),) = find_boxes(detector, [PICTURE], PassSettings((96,)))
    limited = detector.predict(PICTURE)
    # At 96 the longer side is 288: the model's own limit of 192 would have made it smaller.
    with small_model.resizing_to(96, 288):
        unlimited = detector.predict(PICTURE)
    np.testing.assert_array_equal(boxes, unlimited.boxes)
    np.testing.assert_array_equal(scores, unlimited.scores)
    assert not np.array_equal(limited.boxes, unlimited.boxes)
    ((boxes, _),) = find_boxes(detector, [PICTURE], PassSettings((96,), max_size=192))
    np.testing.assert_array_equal(boxes, limited.boxes)
    assert (small_model.transform.min_size, small_model.transform.max_size) == ((96,), 192)


def test_several_sizes_vote_over_truncated_boxes_of_both_ways_round(small_model: Img2Pose) -> None:
    detector = Detector(small_model, 0.3)
    passes = []
    for size in (64, 96):
        with small_model.resizing_to(size, None):
            found = detector.predict(PICTURE)
            mirrored = detector.predict(PICTURE[:, ::-1])
        passes.append((np.trunc(found.boxes), found.scores))
        left, top, right, bottom = np.trunc(mirrored.boxes).T
        back = np.column_stack([180 - right, top, 180 - left, bottom])
        passes.append((back, mirrored.scores))
    boxes, scores = (np.concatenate(parts) for parts in zip(*passes, strict=True))
    expected_boxes, expected_scores = vote_boxes(boxes, scores, 0.6)
    other = PICTURE[:50, :70]
    (found_boxes, found_scores), (other_boxes, _) = find_boxes(
        detector, [PICTURE, other], PassSettings((64, 96))
    )
    np.testing.assert_allclose(found_boxes, expected_boxes, atol=1e-6)
    np.testing.assert_allclose(found_scores, expected_scores, atol=1e-6)
    assert len(found_boxes) < len(boxes)
    ((alone, _),) = find_boxes(detector, [other], PassSettings((64, 96)))
    np.testing.assert_allclose(other_boxes, alone, atol=1e-6)


def test_an_error_within_leaves_the_models_size(small_model: Img2Pose) -> None:
    with pytest.raises(KeyError), small_model.resizing_to(64, None):
        raise KeyError
    assert small_model.transform.min_size == (96,)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"min_size": ()}, "min_size: "),
        ({"min_size": (0,)}, "min_size: "),
        ({"min_size": (300, 300)}, "min_size: "),
        ({"max_size": 0}, "max_size: "),
        ({"nms_threshold": 0.0}, "nms_threshold: "),
        ({"nms_threshold": 1.0}, "nms_threshold: "),
    ],
)
def test_settings_out_of_range_are_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        PassSettings(**values)  # type: ignore[arg-type]
