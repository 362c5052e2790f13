"""WIDER's average precision, in plain NumPy.

All predictions of all images are looked at together, each once: which face it overlaps most does
not depend on the subset or the threshold, so one pass over the images serves all figures.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from img2pose.errors import InputError
from img2pose.evaluation.overlaps import overlaps_inclusive
from img2pose.evaluation.wider.ground_truth import BENCHMARK_IMAGES, SUBSETS, WiderTruth

MIN_IOU = 0.5
THRESHOLDS = 1.0 - np.arange(1, 1001) / 1000
"""On scores that are scaled to 0..1."""

PROTOCOL = {
    "scores": "of all predictions together, scaled to 0..1",
    "order": "by score in each image, as the official MATLAB reader sorts (readers that trust the"
    " file's order agree where files are sorted)",
    "matching": "each prediction goes to the face it overlaps most, sides counted inclusively; at"
    " IoU >= 0.5 it finds that face; a second one on a found face is a false positive; one on a"
    " face outside of the subset does not count",
    "average_precision": "precision and recall at 1000 thresholds over all images, area under the"
    " precision envelope (VOC 2010)",
    "images_without_boxes": "their predictions do not count",
}
# An image with very many boxes is compared in parts, of about this many pairs.
_PAIRS_AT_ONCE = 1 << 21


@dataclass(frozen=True, eq=False)
class SubsetScore:
    """The figures of one subset.

    Attributes:
        faces: How many there are to find.
        average_precision: 0..1, or None without faces.
        precision: (1000,) at `THRESHOLDS`; 0 where no prediction counts.
        recall: (1000,), all 0 without faces.
    """

    faces: int
    average_precision: float | None
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageOutcome:
    """What happened in an image at one threshold.

    Attributes:
        found: (N,) bool, the faces of the subset that were found.
        missed: (N,) bool, those that were not.
        false_positives: (P,) bool, the predictions that count and found none.
    """

    found: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    false_positives: NDArray[np.bool_]

    @property
    def faults(self) -> int:
        """Missed faces and false positives together."""
        return int(self.missed.sum() + self.false_positives.sum())


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What happened in all images at one threshold.

    Attributes:
        threshold: Scores (as given) that are no less count.
        images: In the order of the ground truth.
    """

    threshold: float
    images: tuple[ImageOutcome, ...]

    def worst(self, count: int) -> list[int]:
        """Numbers of the images with the most faults, worst first; those without are left out."""
        faults = np.array([image.faults for image in self.images])
        order = np.argsort(-faults, kind="stable")[:count]
        return [int(index) for index in order if faults[index]]


@dataclass(frozen=True, eq=False)
class WiderScore:
    """The score of a set of predictions.

    Attributes:
        names: The images that counted.
        images_without_file: Those of them for which there were no predictions at all.
        events: How many there are.
        predictions: Number of boxes.
        score_range: Lowest and highest score; (0, 0) without predictions.
        subsets: By name, easiest first.
    """

    names: tuple[str, ...]
    images_without_file: tuple[str, ...]
    events: int
    predictions: int
    score_range: tuple[float, float]
    subsets: Mapping[str, SubsetScore]

    @property
    def is_benchmark(self) -> bool:
        """Whether these are figures of the whole validation set."""
        return len(self.names) == BENCHMARK_IMAGES and not self.images_without_file

    def threshold_score(self, thresholds: np.ndarray) -> NDArray[np.float64]:
        """Thresholds on scaled scores as scores of the predictions."""
        low, high = self.score_range
        scores: NDArray[np.float64] = low + np.asarray(thresholds) * (high - low)
        return scores


@dataclass(frozen=True, eq=False)
class _Matches:
    """All predictions of images with boxes, best first.

    Attributes:
        prediction: (P,) the number of each, counted over all images.
        scaled_scores: (P,) 0..1, falling.
        face: (P,) the face it found, counted over all images; -1 for none.
    """

    prediction: NDArray[np.int64]
    scaled_scores: NDArray[np.float64]
    face: NDArray[np.int64]

    def in_subset(self, is_wanted: NDArray[np.bool_]) -> tuple[np.ndarray, np.ndarray]:
        """Which predictions count (P,), and which find a face of the subset first (P,)."""
        on_face = self.face >= 0
        on_wanted = np.zeros(len(self.face), dtype=bool)
        on_wanted[on_face] = is_wanted[self.face[on_face]]
        first = np.zeros(len(self.face), dtype=bool)
        candidates = np.flatnonzero(on_wanted)
        first[candidates[np.unique(self.face[candidates], return_index=True)[1]]] = True
        return ~on_face | on_wanted, first


def corners_of(boxes_xywh: np.ndarray) -> NDArray[np.float64]:
    """(N, 4) left, top, right, bottom of boxes (N, 4 or more) left, top, width, height."""
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:4]], axis=1)


def _faces_found(predictions_xywh: np.ndarray, faces_xywh: np.ndarray) -> NDArray[np.int64]:
    """(N,) the face that each prediction overlaps most, -1 where that is too little."""
    predictions, faces = corners_of(predictions_xywh), corners_of(faces_xywh)
    found = np.empty(len(predictions), dtype=np.int64)
    step = max(1, _PAIRS_AT_ONCE // len(faces))
    for start in range(0, len(predictions), step):
        ious = overlaps_inclusive(predictions[start : start + step], faces)
        best = ious.argmax(1)
        found[start : start + step] = np.where(ious.max(1) >= MIN_IOU, best, -1)
    return found


def _match(
    predictions: Mapping[str, np.ndarray], truth: WiderTruth, score_range: tuple[float, float]
) -> _Matches:
    numbers, scores, faces = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int64)]
    first_face, first_number = 0, 0
    for name, boxes in zip(truth.names, truth.boxes_xywh, strict=True):
        found = predictions.get(name, np.empty((0, 5)))
        if len(found) and len(boxes):
            face = _faces_found(found, boxes)
            faces.append(np.where(face >= 0, face + first_face, -1))
            scores.append(found[:, 4])
            numbers.append(np.arange(first_number, first_number + len(found)))
        first_face += len(boxes)
        first_number += len(found)
    low, high = score_range
    # Scores that are all the same say nothing: all count at each threshold.
    scale = high - low if high > low else 1.0
    offset = low if high > low else low - 1.0
    scaled = (np.concatenate(scores) - offset) / scale
    order = np.argsort(-scaled, kind="stable")
    return _Matches(np.concatenate(numbers)[order], scaled[order], np.concatenate(faces)[order])


def average_precision_at_thresholds(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area under the precision envelope.

    Args:
        precision: (T,) at falling thresholds.
        recall: (T,), rising.

    Source: VOC's development kit of 2010.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _score_subset(matches: _Matches, masks: tuple[np.ndarray, ...]) -> SubsetScore:
    is_wanted = np.concatenate([np.empty(0, dtype=bool), *masks])
    faces = int(is_wanted.sum())
    counts, finds = matches.in_subset(is_wanted)
    at = np.searchsorted(-matches.scaled_scores, -THRESHOLDS, side="right")
    counted, found = (np.append(0, np.cumsum(chosen))[at] for chosen in (counts, finds))
    precision = np.divide(found, counted, out=np.zeros(len(at)), where=counted > 0)
    recall = found / max(faces, 1)
    ap = average_precision_at_thresholds(precision, recall) if faces else None
    return SubsetScore(faces, ap, precision, recall)


def missing_images(
    names: Collection[str],
    truth: WiderTruth,
    *,
    allow_missing: bool,
    kind: str = "predictions",
) -> tuple[str, ...]:
    """The images of the ground truth that are not there.

    Args:
        names: What is there.
        truth: The images that count.
        allow_missing: Some may be missing.
        kind: What is there, for messages.

    Raises:
        InputError: Some are missing but must not, or one is unknown to the ground truth.
    """
    known = set(truth.names)
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"{kind} of {unknown[0]}: the ground truth has no such image ({len(unknown)} of"
            f" {len(names)} are unknown); they must be of WIDER's validation set"
        )
    missing = tuple(name for name in truth.names if name not in names)
    if missing and not allow_missing:
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{kind} missing for {len(missing)} of {len(truth)} images ({first}); add them, choose"
            " events with --events, or count them as found nothing with --allow_missing"
        )
    return missing


def score_predictions(
    predictions: Mapping[str, np.ndarray], truth: WiderTruth, *, allow_missing: bool = False
) -> WiderScore:
    """Scores predictions by WIDER's protocol (`PROTOCOL`).

    Args:
        predictions: By `EVENT/IMAGE`, (N, 5) left, top, width, height in pixels and score, in any
            order.
        truth: The images that count; other predictions must not be there.
        allow_missing: Images that predictions lack count as images where nothing was found.

    Raises:
        InputError: An image is missing, or one is unknown.

    Differs: with a single score for all predictions, which the published scorers divide by 0 with,
    all count at every threshold.
    """
    missing = missing_images(predictions, truth, allow_missing=allow_missing)
    scores = np.concatenate([np.empty(0), *(boxes[:, 4] for boxes in predictions.values())])
    score_range = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0)
    matches = _match(predictions, truth, score_range)
    return WiderScore(
        truth.names,
        missing,
        len(truth.events),
        len(scores),
        score_range,
        {subset: _score_subset(matches, truth.in_subset[subset]) for subset in SUBSETS},
    )


def outcomes_by_image(
    predictions: Mapping[str, np.ndarray], truth: WiderTruth, score: WiderScore, subset: str
) -> Outcomes:
    """What was found and what not, at the threshold with the best F1 of a subset.

    Args:
        predictions: As for `score_predictions`.
        truth: As for `score_predictions`.
        score: What that gave.
        subset: One of `SUBSETS`.
    """
    figures = score.subsets[subset]
    both = figures.precision + figures.recall
    f1 = np.divide(figures.precision * figures.recall, both, np.zeros_like(both), where=both > 0)
    best = int(f1.argmax())
    matches = _match(predictions, truth, score.score_range)
    masks = truth.in_subset[subset]
    is_wanted = np.concatenate([np.empty(0, dtype=bool), *masks])
    counts, finds = matches.in_subset(is_wanted)
    passes = matches.scaled_scores >= THRESHOLDS[best]
    lengths = [len(predictions.get(name, ())) for name in truth.names]
    found, wrong = np.zeros(len(is_wanted), bool), np.zeros(sum(lengths), bool)
    found[matches.face[finds & passes]] = True
    wrong[matches.prediction[counts & ~finds & passes]] = True
    faces_end, predictions_end = np.cumsum([len(mask) for mask in masks]), np.cumsum(lengths)
    images = zip(
        np.split(found, faces_end[:-1]),
        np.split(is_wanted & ~found, faces_end[:-1]),
        np.split(wrong, predictions_end[:-1]),
        strict=True,
    )
    threshold = float(score.threshold_score(THRESHOLDS[best]))
    return Outcomes(threshold, tuple(ImageOutcome(*image) for image in images))
