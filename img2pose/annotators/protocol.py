"""What a face detector must offer to label photographs, and the check of what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from img2pose.data.annotations import LANDMARK_COUNTS
from img2pose.errors import InputError


class FoundFaces(NamedTuple):
    """The faces of one picture.

    Attributes:
        boxes_xyxy: (N, 4) float64; left, top, right, bottom in pixels of the picture.
        scores: (N,) float64, greater is surer.
        landmarks: N arrays (5, 2) or (68, 2) float64, x and y in pixels of the picture, in the
            order of `img2pose.data.annotations.Annotation`. -1 is a coordinate that is not known.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    landmarks: Sequence[np.ndarray]


class FaceDetector(Protocol):
    """A face detector that `scripts/annotate_dataset.py` can label photographs with.

    A class of your own needs this method only; nothing has to be imported or inherited. It is
    named `--detector module:Class` (the module in the current folder or installed) and built once
    in each worker process, as `Class(**options)` with the `--detector_options key=value` of the
    command line: numbers, lists, `true`, `false` and `null` as in JSON, everything else as text. To
    refuse an option, raise `ValueError` with a message.

        class MyDetector:
            def __init__(self, threshold: float = 0.5) -> None: ...

            def __call__(self, image_rgb):
                return boxes, scores, landmarks
    """

    def __call__(self, image_rgb: np.ndarray, /) -> tuple[Any, Any, Any]:
        """Finds the faces of a picture.

        Args:
            image_rgb: (H, W, 3) uint8.

        Returns:
            Boxes, scores and landmarks as in `FoundFaces`, empty where there is no face.
        """


def checked_faces(found: Any, detector: str) -> FoundFaces:
    """What a detector returned, as float64 arrays.

    Args:
        found: Boxes (N, 4), scores (N,) and N sets of landmarks.
        detector: Its name, for messages.

    Raises:
        InputError: Something else was returned.
    """
    try:
        boxes, scores, landmarks = found
        boxes = np.asarray(boxes, dtype=np.float64)
        scores = np.asarray(scores, dtype=np.float64)
        landmarks = [np.asarray(points, dtype=np.float64) for points in landmarks]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"detector {detector}: must return boxes, scores and landmarks as arrays ({error})"
        ) from error
    count = len(landmarks)
    if count == 0 and boxes.size == 0 and scores.size == 0:
        return FoundFaces(np.zeros((0, 4)), np.zeros(0), [])
    if boxes.shape != (count, 4) or scores.shape != (count,):
        raise InputError(
            f"detector {detector}: returned boxes {boxes.shape}, scores {scores.shape} and"
            f" {count} sets of landmarks; (N, 4), (N,) and N are needed"
        )
    for points in landmarks:
        if points.shape not in [(number, 2) for number in LANDMARK_COUNTS]:
            raise InputError(
                f"detector {detector}: returned landmarks {points.shape}; (5, 2) or (68, 2) needed"
            )
    if not all(np.isfinite(array).all() for array in (boxes, scores, *landmarks)):
        raise InputError(f"detector {detector}: returned a number that is not finite")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise InputError(
            f"detector {detector}: returned a box that ends before it begins; left, top, right,"
            " bottom are needed"
        )
    return FoundFaces(boxes, scores, landmarks)
