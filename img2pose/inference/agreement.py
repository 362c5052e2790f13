"""How far two engines agree on the faces of pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from img2pose.detections import FaceDetections

# Beyond it two poses are of different faces.
_LARGEST_DIFFERENCE = 0.1


@dataclass(frozen=True)
class Agreement:
    """Largest differences over the faces that both engines found, and how many only one found.

    Attributes:
        pictures: Compared.
        faces: Found by both, with poses that differ by less than 0.1.
        only_first: Found by the first engine only.
        only_second: Found by the second only.
        pose: Of a component of a pose, divided by its own size where that is above 1.
        pose_mean: The same on average over the components of all faces.
        score: Of scores.
        box_px: Of a side of a box, in pixels.
        box_share: The same, over the picture's longer side.
    """

    pictures: int = 0
    faces: int = 0
    only_first: int = 0
    only_second: int = 0
    pose: float = 0.0
    pose_mean: float = 0.0
    score: float = 0.0
    box_px: float = 0.0
    box_share: float = 0.0


def _pose_differences(first: FaceDetections, second: FaceDetections) -> np.ndarray:
    """(N, M, 6)."""
    difference = np.abs(first.poses[:, None] - second.poses)
    result: np.ndarray = difference / np.maximum(1, np.abs(first.poses))[:, None]
    return result


def _agreement_on_picture(
    first: FaceDetections, second: FaceDetections, threshold: float, margin: float
) -> Agreement:
    differences = _pose_differences(first, second)
    scores = np.abs(first.scores[:, None] - second.scores)
    cost = np.maximum(differences.max(-1, initial=0), scores)
    ours, theirs = linear_sum_assignment(np.minimum(cost, _LARGEST_DIFFERENCE))
    is_same = cost[ours, theirs] < _LARGEST_DIFFERENCE
    ours, theirs = ours[is_same], theirs[is_same]

    def alone(detections: FaceDetections, paired: np.ndarray) -> int:
        clear = np.delete(detections.scores, paired) > threshold + margin
        return int(clear.sum())

    of_pairs = differences[ours, theirs]
    boxes = np.abs(first.boxes[ours] - second.boxes[theirs]).max(initial=0)
    return Agreement(
        1,
        len(ours),
        alone(first, ours),
        alone(second, theirs),
        float(of_pairs.max(initial=0)),
        float(of_pairs.mean()) if len(ours) else 0.0,
        float(scores[ours, theirs].max(initial=0)),
        float(boxes),
        float(boxes / max(first.size_hw)),
    )


def agreement_of(
    pairs: Iterable[tuple[FaceDetections, FaceDetections]], *, threshold: float, margin: float
) -> Agreement:
    """Compares what two engines found in the same pictures.

    Args:
        pairs: Faces of each picture by the one and by the other.
        threshold: Of the scores, in both.
        margin: Faces that only one engine found do not count with a score this near to the
            threshold: rounding puts them on either side of it.

    Returns:
        The agreement over all pictures; zeros without any.
    """
    total = Agreement()
    for first, second in pairs:
        one = _agreement_on_picture(first, second, threshold, margin)
        faces = total.faces + one.faces
        mean = total.pose_mean * total.faces + one.pose_mean * one.faces
        total = Agreement(
            total.pictures + 1,
            faces,
            total.only_first + one.only_first,
            total.only_second + one.only_second,
            max(total.pose, one.pose),
            mean / max(1, faces),
            max(total.score, one.score),
            max(total.box_px, one.box_px),
            max(total.box_share, one.box_share),
        )
    return total
