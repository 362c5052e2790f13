"""Measures on plain arrays; each has a known answer in its test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from img2pose.geometry import geodesic_angle, rotvec_to_matrix

# iBUG's outer eye corners, whose distance is the unit of landmark errors.
OUTER_EYE_CORNERS = (36, 45)


def iou_matrix(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of boxes, sides being edges, not pixels.

    Args:
        boxes_a: (N, 4) left, top, right, bottom.
        boxes_b: (M, 4).

    Returns:
        (N, M) in 0..1; 0 where both boxes are empty or inverted.
    """
    a = np.asarray(boxes_a, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(boxes_b, dtype=np.float64).reshape(1, -1, 4)
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = overlap.clip(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(-1) for boxes in (a, b)]
    union = areas[0] + areas[1] - intersection
    ious: np.ndarray = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return ious


def match_detections(scores: np.ndarray, ious: np.ndarray, min_iou: float) -> np.ndarray:
    """Gives each truth to at most one detection, the best scored choosing first.

    Args:
        scores: (N,) of the detections.
        ious: (N, M) overlap of detections and truths.
        min_iou: The least overlap that counts.

    Returns:
        (N,) int64, the truth of each detection or -1: the one it overlaps most of those not yet
        taken, so a second detection of one face is left without.
    """
    matches = np.full(len(scores), -1, dtype=np.int64)
    free = np.asarray(ious, dtype=np.float64).copy()
    if not free.size:
        return matches
    for detection in np.argsort(-np.asarray(scores), kind="stable"):
        truth = int(free[detection].argmax())
        if free[detection, truth] >= min_iou:
            matches[detection] = truth
            free[:, truth] = -1.0
    return matches


def rotation_error_deg(poses_a: np.ndarray, poses_b: np.ndarray) -> np.ndarray:
    """Geodesic distance of the rotations of poses.

    Args:
        poses_a: (..., 6); only the rotation vectors (radians) are read.
        poses_b: (..., 6).

    Returns:
        (...) degrees in 0..180.
    """
    matrices = [rotvec_to_matrix(np.asarray(p, np.float64)[..., :3]) for p in (poses_a, poses_b)]
    degrees: np.ndarray = np.rad2deg(geodesic_angle(*matrices))
    return degrees


def wrapped_difference_deg(differences_deg: np.ndarray) -> np.ndarray:
    """Differences of angles as the shorter way round: (...) degrees -> (...) in 0..180."""
    wrapped: np.ndarray = np.abs((np.asarray(differences_deg, np.float64) + 180) % 360 - 180)
    return wrapped


def landmark_error(points: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Mean distance of 68 points to their annotation, over the annotated outer eye distance.

    Args:
        points: (..., 68, 2) pixels.
        annotated: (..., 68, 2) pixels.

    Returns:
        (...), a share of the outer eye distance; infinite where that is 0.
    """
    annotated = np.asarray(annotated, np.float64)
    left, right = OUTER_EYE_CORNERS
    unit = np.linalg.norm(annotated[..., left, :] - annotated[..., right, :], axis=-1)
    return _mean_distance_in_units(points, annotated, unit)


def landmark_error_by_box(points: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Mean distance of points to their annotation, over the size of the annotated points' bounds.

    Args:
        points: (..., P, 2) pixels.
        annotated: (..., P, 2) pixels.

    Returns:
        (...), a share of the square root of the bounding box's area; infinite where that is 0.

    Source: the normalisation that AFLW2000-3D's results are stated in (Zhu et al., CVPR 2016).
    """
    annotated = np.asarray(annotated, np.float64)
    return _mean_distance_in_units(points, annotated, np.sqrt(np.ptp(annotated, axis=-2).prod(-1)))


def _mean_distance_in_units(
    points: np.ndarray, annotated: np.ndarray, unit: np.ndarray
) -> np.ndarray:
    distance = np.linalg.norm(np.asarray(points, np.float64) - annotated, axis=-1).mean(-1)
    error: np.ndarray = np.divide(
        distance, unit, out=np.full_like(distance, np.inf), where=unit > 0
    )
    return error


def average_precision(scores: np.ndarray, correct: np.ndarray, truths: int) -> float | None:
    """Area under the precision envelope over recall, every detection being a threshold (VOC 2010).

    Args:
        scores: (N,) of all detections of all pictures.
        correct: (N,) bool, whether each found a truth.
        truths: How many there are to find.

    Returns:
        0..1, or None without truths. Recall that no given detection reaches counts as precision 0.
    """
    if truths == 0:
        return None
    order = np.argsort(-np.asarray(scores), kind="stable")
    correct = np.asarray(correct, dtype=bool)[order]
    found = np.cumsum(correct)
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[correct].sum() / truths)


def precision_and_recall(
    scores: np.ndarray, correct: np.ndarray, truths: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall with every score as threshold, from the highest down.

    Args:
        scores: (N,) of all detections of all pictures.
        correct: (N,) bool, whether each found a truth.
        truths: How many there are to find, at least 1.

    Returns:
        Thresholds, precision and recall, each (T,) with one entry for each different score:
        of the detections whose score is not below the threshold.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    thresholds = np.asarray(scores, dtype=np.float64)[order]
    found = np.cumsum(np.asarray(correct, dtype=bool)[order])
    # Detections of one score stand or fall together.
    last = np.append(np.diff(thresholds) != 0, True)[: len(thresholds)]
    precision = found / np.arange(1, len(found) + 1)
    return thresholds[last], precision[last], found[last] / truths


def cumulative_errors(errors: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Which share of all things has an error of at most so much: a step function.

    Args:
        errors: (N,) of the things that have one.
        total: All things, those without an error (a face not found) included.

    Returns:
        Errors in rising order from 0 on and shares, each (N + 1,); a share holds from its error
        up to the next one.
    """
    rising = np.sort(np.asarray(errors, dtype=np.float64))
    shares = np.arange(len(rising) + 1) / max(total, 1)
    return np.append(0.0, rising), shares


def area_under_cumulative(errors: np.ndarray, total: int, limit: float) -> float | None:
    """Area under `cumulative_errors` from 0 to `limit`, over the limit: 1 at best.

    Args:
        errors: (N,) of the things that have one.
        total: All things; those without an error add nothing.
        limit: Of the error.

    Returns:
        0..1, or None without things.
    """
    if total == 0:
        return None
    gains = (limit - np.asarray(errors, dtype=np.float64)).clip(min=0)
    return float(gains.sum() / (limit * total))


def failure_rate(errors: np.ndarray, total: int, limit: float) -> float | None:
    """Share of all things whose error is greater than `limit` or that have none.

    Args:
        errors: (N,) of the things that have one.
        total: All things.
        limit: Of the error.

    Returns:
        0..1, or None without things.
    """
    if total == 0:
        return None
    return 1.0 - int((np.asarray(errors) <= limit).sum()) / total


def band_numbers(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Into which band each value falls.

    Args:
        values: (N,).
        edges: (B + 1,) rising; a band holds its lower edge and not its upper one, the last band
            both.

    Returns:
        (N,) int64: 0 to B - 1, or -1 outside of all bands.
    """
    values = np.asarray(values, dtype=np.float64)
    numbers = np.searchsorted(edges, values, side="right") - 1
    numbers[values == edges[-1]] = len(edges) - 2
    inside = (values >= edges[0]) & (values <= edges[-1])
    bands: np.ndarray = np.where(inside, numbers, -1).astype(np.int64)
    return bands
