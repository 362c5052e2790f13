"""WIDER's average precision: worked out by hand, and the published figure of a known detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.errors import InputError
from img2pose.evaluation.wider.ground_truth import SUBSETS, WiderTruth, read_ground_truth
from img2pose.evaluation.wider.scoring import (
    THRESHOLDS,
    WiderScore,
    outcomes_by_image,
    score_predictions,
)
from img2pose.evaluation.wider.submission import read_predictions

FACE, OTHER, THIRD = (10.0, 10, 20, 20), (100.0, 10, 20, 20), (200.0, 10, 20, 20)
NOWHERE = (500.0, 500, 20, 20)


def truth_of(
    boxes: Mapping[str, Sequence[Sequence[float]]],
    easy: Mapping[str, Sequence[int]] | None = None,
) -> WiderTruth:
    """All faces are hard, those of `easy` (indices) easy and medium too; None: all."""
    arrays = {name: np.array(rows, float).reshape(-1, 4) for name, rows in boxes.items()}
    masks = {}
    for name, array in arrays.items():
        masks[name] = np.ones(len(array), dtype=bool)
        if easy is not None:
            masks[name] = np.isin(np.arange(len(array)), easy.get(name, []))
    hard = tuple(np.ones(len(array), dtype=bool) for array in arrays.values())
    subsets = {"easy": tuple(masks.values()), "medium": tuple(masks.values()), "hard": hard}
    return WiderTruth(tuple(arrays), tuple(arrays.values()), subsets, "")


def found(*rows: tuple[Sequence[float], float]) -> np.ndarray:
    return np.array([[*box, score] for box, score in rows]).reshape(-1, 5)


def ap(score: WiderScore, subset: str = "hard") -> float | None:
    return score.subsets[subset].average_precision


ONE_FACE = truth_of({"e/a": [FACE]})


def test_a_face_found_is_all_there_is() -> None:
    score = score_predictions({"e/a": found((FACE, 1.0), (NOWHERE, 0.0))}, ONE_FACE)
    assert ap(score) == 1.0
    assert (score.predictions, score.score_range) == (2, (0.0, 1.0))


def test_a_missed_face_halves_it() -> None:
    truth = truth_of({"e/a": [FACE, OTHER]})
    score = score_predictions({"e/a": found((FACE, 0.9), (NOWHERE, 0.1))}, truth)
    assert ap(score) == 0.5
    assert score.subsets["hard"].recall.max() == 0.5


def test_a_false_positive_before_the_face_halves_it() -> None:
    score = score_predictions({"e/a": found((NOWHERE, 0.9), (FACE, 0.1))}, ONE_FACE)
    assert ap(score) == 0.5


def test_a_second_prediction_on_a_face_is_wrong() -> None:
    # Scaled: 1, 0.75, 0. At the last threshold 2 of 3 are right; before the second face 1 of 2.
    truth = truth_of({"e/a": [FACE, OTHER]})
    predictions = found((FACE, 0.9), (FACE, 0.7), (OTHER, 0.1))
    assert ap(score_predictions({"e/a": predictions}, truth)) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_the_better_scored_of_two_finds_the_face_wherever_it_stands_in_the_file() -> None:
    truth = truth_of({"e/a": [FACE, OTHER]})
    in_order = found((FACE, 0.9), (OTHER, 0.8), (NOWHERE, 0.5), (FACE, 0.1))
    expected = ap(score_predictions({"e/a": in_order}, truth))
    assert expected == 1.0
    assert ap(score_predictions({"e/a": in_order[::-1]}, truth)) == expected


def test_each_prediction_goes_to_the_face_it_overlaps_most() -> None:
    # Both lie nearer to the first face: the second of them finds nothing.
    near = (12.0, 10, 20, 20)
    truth = truth_of({"e/a": [FACE, (16.0, 10, 20, 20)]})
    score = score_predictions({"e/a": found((FACE, 0.9), (near, 0.1))}, truth)
    assert score.subsets["hard"].recall[-1] == 0.5
    assert score.subsets["hard"].precision[-1] == 0.5


def test_predictions_on_faces_outside_of_the_subset_do_not_count() -> None:
    truth = truth_of({"e/a": [FACE, OTHER]}, easy={"e/a": [1]})
    predictions = found((FACE, 0.9), (FACE, 0.8), (OTHER, 0.1))
    score = score_predictions({"e/a": predictions}, truth)
    assert ap(score, "easy") == 1.0
    assert score.subsets["easy"].precision[0] == 0.0
    assert ap(score, "hard") == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert (score.subsets["easy"].faces, score.subsets["hard"].faces) == (1, 2)


def test_an_image_without_faces_of_the_subset_still_has_false_positives() -> None:
    truth = truth_of({"e/a": [FACE], "e/b": [OTHER]}, easy={"e/a": [0]})
    predictions = {"e/a": found((FACE, 0.1)), "e/b": found((NOWHERE, 0.9), (OTHER, 0.8))}
    assert ap(score_predictions(predictions, truth), "easy") == 0.5


def test_predictions_in_an_image_without_any_boxes_do_not_count() -> None:
    truth = truth_of({"e/a": [FACE], "e/b": []})
    predictions = {"e/a": found((FACE, 0.5)), "e/b": found((NOWHERE, 0.9), (NOWHERE, 0.1))}
    score = score_predictions(predictions, truth)
    assert ap(score) == 1.0
    # They do count in the scaling of scores: 0.5 passes from the threshold 0.5 on.
    assert np.flatnonzero(score.subsets["hard"].recall)[0] == 499


def test_an_image_where_nothing_was_found_adds_its_faces() -> None:
    truth = truth_of({"e/a": [FACE], "e/b": [FACE, OTHER, THIRD]})
    predictions = {"e/a": found((FACE, 0.5)), "e/b": found()}
    assert ap(score_predictions(predictions, truth)) == 0.25


def test_nothing_found_at_all_is_zero() -> None:
    score = score_predictions({"e/a": found()}, ONE_FACE)
    assert ap(score) == 0.0
    assert (score.predictions, score.score_range) == (0, (0.0, 0.0))


def test_a_subset_without_faces_has_no_average_precision() -> None:
    truth = truth_of({"e/a": [FACE]}, easy={})
    score = score_predictions({"e/a": found((FACE, 0.9), (NOWHERE, 0.1))}, truth)
    assert ap(score, "easy") is None
    assert ap(score, "hard") == 1.0


def test_ties_count_together() -> None:
    # The right one and the wrong one pass the same thresholds, whatever their order.
    rows = found((FACE, 0.9), (NOWHERE, 0.9), (NOWHERE, 0.1))
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        assert ap(score_predictions({"e/a": rows[order]}, ONE_FACE)) == 0.5


def test_scores_that_are_all_equal_count_at_every_threshold() -> None:
    score = score_predictions({"e/a": found((FACE, 0.3), (NOWHERE, 0.3))}, ONE_FACE)
    assert ap(score) == 0.5
    np.testing.assert_array_equal(score.subsets["hard"].precision, 0.5)


def test_scores_beyond_1_are_scaled() -> None:
    rows = found((FACE, 2.7), (NOWHERE, 1.2), (NOWHERE, 0.2))
    scaled = rows * [1, 1, 1, 1, 0.125]
    one, other = (score_predictions({"e/a": r}, ONE_FACE) for r in (rows, scaled))
    assert ap(one) == 1.0
    np.testing.assert_array_equal(one.subsets["hard"].precision, other.subsets["hard"].precision)
    np.testing.assert_allclose(one.threshold_score(THRESHOLDS[[499, 999]]), [1.45, 0.2])


@pytest.mark.parametrize(
    "box", [(30.0, 30, -20, -20), (30.0, 10, -20, 20), (1e9, 1e9, 5, 5), (15.0, 15, 0, 0)]
)
def test_inverted_and_tiny_boxes_find_nothing(box: tuple[float, ...]) -> None:
    score = score_predictions({"e/a": found((box, 0.9), (FACE, 0.1))}, ONE_FACE)
    assert ap(score) == 0.5


def test_a_box_without_area_is_one_pixel_and_finds_a_face_of_one() -> None:
    truth = truth_of({"e/a": [(5.0, 5, 0, 0)]})
    assert ap(score_predictions({"e/a": found(((5.0, 5, 0, 0), 0.9))}, truth)) == 1.0


@pytest.mark.parametrize(("width", "expected"), [(9, 1.0), (8, 0.0)])
def test_sides_are_counted_inclusively(width: float, expected: float) -> None:
    # Of a face 20 pixels wide (19 + 1) a box of 10 (9 + 1) covers half, which is enough.
    truth = truth_of({"e/a": [(0.0, 0, 19, 19)]})
    assert ap(score_predictions({"e/a": found(((0.0, 0, width, 19), 0.9))}, truth)) == expected


def test_missing_images_are_refused_or_count_as_found_nothing() -> None:
    truth = truth_of({f"e/{index}": [FACE] for index in range(5)})
    predictions = {"e/0": found((FACE, 0.9))}
    message = r"missing for 4 of 5 images \(e/1, e/2, e/3, \.\.\.\).*--events.*--allow_missing"
    with pytest.raises(InputError, match=message):
        score_predictions(predictions, truth)
    score = score_predictions(predictions, truth, allow_missing=True)
    assert ap(score) == pytest.approx(0.2)
    assert score.images_without_file == ("e/1", "e/2", "e/3", "e/4")
    assert not score.is_benchmark


def test_predictions_of_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="predictions of e/b: the ground truth has no such image"):
        score_predictions({"e/a": found(), "e/b": found()}, ONE_FACE)


def test_outcomes_by_image_are_at_the_best_threshold() -> None:
    truth = truth_of({"e/a": [FACE], "e/b": [FACE, OTHER], "e/c": [FACE]})
    predictions = {
        "e/a": found((FACE, 1.0), (NOWHERE, 0.2)),
        "e/b": found((FACE, 0.9), (NOWHERE, 0.8)),
        "e/c": found((FACE, 0.7), (FACE, 0.0), (NOWHERE, 0.1)),
    }
    score = score_predictions(predictions, truth)
    outcomes = outcomes_by_image(predictions, truth, score, "hard")
    assert outcomes.threshold == pytest.approx(0.7)
    assert [image.found.tolist() for image in outcomes.images] == [[True], [True, False], [True]]
    assert [image.missed.tolist() for image in outcomes.images] == [[False], [False, True], [False]]
    wrong = [image.false_positives.tolist() for image in outcomes.images]
    assert wrong == [[False, False], [False, True], [False, False, False]]
    assert outcomes.worst(2) == [1]


def plain_average_precision(
    predictions: Mapping[str, np.ndarray], truth: WiderTruth, subset: str
) -> float:
    """The protocol as FACTS state it, image by image and threshold by threshold."""
    scores = np.concatenate([boxes[:, 4] for boxes in predictions.values()])
    low, high = scores.min(), scores.max()
    right, counted = np.zeros(1000), np.zeros(1000)
    faces = 0
    for index, name in enumerate(truth.names):
        boxes, wanted = truth.boxes_xywh[index], truth.in_subset[subset][index]
        faces += int(wanted.sum())
        taken: set[int] = set()
        rows = predictions[name]
        for left, top, width, height, score in rows[np.argsort(-rows[:, 4], kind="stable")]:
            overlaps = []
            for left_2, top_2, width_2, height_2 in boxes:
                w = min(left + width, left_2 + width_2) - max(left, left_2) + 1
                h = min(top + height, top_2 + height_2) - max(top, top_2) + 1
                shared = w * h if w > 0 and h > 0 else 0
                areas = (width + 1) * (height + 1) + (width_2 + 1) * (height_2 + 1)
                overlaps.append(shared / (areas - shared) if shared else 0.0)
            if not overlaps:
                continue
            face = int(np.argmax(overlaps))
            passes = (score - low) / (high - low) >= THRESHOLDS
            if overlaps[face] >= 0.5 and not wanted[face]:
                continue
            counted += passes
            if overlaps[face] >= 0.5 and face not in taken:
                taken.add(face)
                right += passes
    precision = np.divide(right, counted, out=np.zeros(1000), where=counted > 0)
    area, before = 0.0, 0.0
    for index, recall in enumerate(right / faces):
        area += (recall - before) * precision[index:].max()
        before = recall
    return area


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_it_agrees_with_the_protocol_spelled_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, predictions = {}, {}
    for name in ("e/a", "e/b", "f/c"):
        count = int(rng.integers(0, 5))
        faces = np.column_stack([rng.integers(0, 60, (count, 2)), rng.integers(0, 40, (count, 2))])
        shifts = rng.integers(-6, 7, (count, 4)) * (rng.random((count, 1)) < 0.8)
        others = rng.integers(-5, 60, (int(rng.integers(0, 4)), 4))
        rows = np.concatenate([faces, faces + shifts, others]).astype(float)
        scores = rng.integers(0, 12, len(rows)) / 7
        boxes[name], predictions[name] = faces, np.column_stack([rows, scores])
    boxes["e/a"] = np.concatenate([boxes["e/a"], [[0, 0, 9, 9]]])
    predictions["e/a"] = np.concatenate([predictions["e/a"], [[0, 0, 9, 9, 3], [70, 0, 2, 2, -1]]])
    easy = {name: np.flatnonzero(rng.random(len(rows)) < 0.5) for name, rows in boxes.items()}
    truth = truth_of(boxes, {**easy, "e/a": [*easy["e/a"], len(boxes["e/a"]) - 1]})
    score = score_predictions(predictions, truth)
    for subset in SUBSETS:
        expected = plain_average_precision(predictions, truth, subset)
        assert ap(score, subset) == pytest.approx(expected, abs=1e-12)


def test_a_large_image_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = truth_of({"e/a": [FACE, OTHER, THIRD]})
    rows = {"e/a": found((THIRD, 0.9), (NOWHERE, 0.8), (FACE, 0.7), (OTHER, 0.6), (FACE, 0.2))}
    expected = ap(score_predictions(rows, truth))
    monkeypatch.setattr("img2pose.evaluation.wider.scoring._PAIRS_AT_ONCE", 6)
    assert ap(score_predictions(rows, truth)) == expected


def test_retinaface_scores_as_published(shared: Path) -> None:
    wider = shared / "data" / "wider"
    truth = read_ground_truth(wider / "ground_truth")
    predictions = read_predictions(wider / "predictions_retinaface_mobilenet025.tar.gz")
    score = score_predictions(predictions, truth)
    found_ap = {name: f"{subset.average_precision:.5f}" for name, subset in score.subsets.items()}
    assert found_ap == {"easy": "0.90696", "medium": "0.88158", "hard": "0.73829"}
    assert score.is_benchmark
    assert (len(score.names), score.events) == (3226, 61)
