"""How WIDER's images are looked at: at several sizes, mirrored too, and the boxes made one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2pose.errors import InputError
from img2pose.evaluation.overlaps import overlaps_inclusive
from img2pose.inference.detector import Detector

PUBLISHED_MIN_SIZES = (200, 300, 500, 800, 1100, 1400, 1700)
PUBLISHED_VOTE_IOU = 0.6


@dataclass(frozen=True)
class PassSettings:
    """Over which sizes an image is looked at.

    Attributes:
        min_size: Shorter sides in pixels, one pass each. With several, each pass is also made over
            the mirrored image, and box voting merges what all passes find.
        max_size: Longest longer side in pixels, None for no limit.
        nms_threshold: IoU from which boxes are merged: by voting, or, in the only pass of a single
            size, by the model's own suppression. None: 0.6, or what the model has.

    Raises:
        InputError: A value is out of range.
    """

    min_size: tuple[int, ...] = PUBLISHED_MIN_SIZES
    max_size: int | None = None
    nms_threshold: float | None = None

    def __post_init__(self) -> None:
        if not self.min_size or min(self.min_size) < 1:
            raise InputError("min_size: give one or more sizes, each of at least 1 pixel")
        if len(set(self.min_size)) != len(self.min_size):
            raise InputError("min_size: a size is given twice; leave one out")
        if self.max_size is not None and self.max_size < 1:
            raise InputError(f"max_size: must be at least 1, not {self.max_size}")
        if self.nms_threshold is not None and not 0 < self.nms_threshold < 1:
            raise InputError(f"nms_threshold: must lie between 0 and 1, not {self.nms_threshold}")

    @property
    def are_merged(self) -> bool:
        """Whether there are several passes."""
        return len(self.min_size) > 1

    @property
    def vote_iou(self) -> float:
        """IoU with the leading box from which a box votes."""
        return PUBLISHED_VOTE_IOU if self.nms_threshold is None else self.nms_threshold

    def to_dict(self) -> dict[str, Any]:
        """What is found depends on this; ready for JSON."""
        return {
            "min_size": list(self.min_size),
            "max_size": self.max_size,
            "nms_threshold": self.vote_iou if self.are_merged else self.nms_threshold,
            "mirrored": self.are_merged,
            "box_voting": self.are_merged,
        }

    def description(self) -> str:
        """The protocol in a sentence."""
        limit = (
            "without a limit on the longer"
            if self.max_size is None
            else (f"the longer at most {self.max_size}")
        )
        sizes = ", ".join(map(str, self.min_size))
        if not self.are_merged:
            return f"shorter side {sizes}, {limit}; no mirroring, no box voting"
        return (
            f"shorter sides {sizes}, {limit}; each also mirrored; boxes truncated to integers,"
            f" then merged by box voting at IoU >= {self.vote_iou:g}, sides counted inclusively"
        )


def vote_boxes(
    boxes_xyxy: np.ndarray, scores: np.ndarray, min_iou: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merges boxes of the same face.

    The best box leads; those that overlap it by `min_iou` or more, itself included, are averaged
    with the weights score / leading score x overlap. The merged score is the sum of score x weight:
    it can exceed 1, and the merged boxes are in the order of their leaders. Then the best of the
    rest leads, and on.

    Args:
        boxes_xyxy: (N, 4) left, top, right, bottom.
        scores: (N,) positive.
        min_iou: Overlap, sides counted inclusively.

    Returns:
        (M, 4) boxes and (M,) scores.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)[order]
    scores = np.asarray(scores, dtype=np.float64)[order]
    merged_boxes, merged_scores = [], []
    while len(scores):
        overlaps = overlaps_inclusive(boxes[:1], boxes)[0]
        # An inverted box overlaps nothing, not even itself.
        overlaps[0] = 1.0
        votes = overlaps >= min_iou
        weights = scores[votes] / scores[0] * overlaps[votes]
        merged_boxes.append((boxes[votes] * weights[:, None]).sum(0) / weights.sum())
        merged_scores.append((scores[votes] * weights).sum())
        boxes, scores = boxes[~votes], scores[~votes]
    return np.array(merged_boxes).reshape(-1, 4), np.array(merged_scores).reshape(-1)


def mirror_boxes(boxes_xyxy: np.ndarray, width: int) -> NDArray[np.float64]:
    """Boxes (N, 4) in a mirrored picture, brought back to the picture (or the other way)."""
    mirrored = np.array(boxes_xyxy, dtype=np.float64)
    mirrored[:, 0], mirrored[:, 2] = width - boxes_xyxy[:, 2], width - boxes_xyxy[:, 0]
    return mirrored


def find_boxes(
    detector: Detector, pictures: Sequence[np.ndarray], settings: PassSettings
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Boxes of the faces of pictures, by one model at all sizes.

    Args:
        detector: Its score threshold holds for each pass.
        pictures: (H, W, 3) uint8 RGB each, of any sizes.
        settings: The passes.

    Returns:
        For each picture boxes (N, 4), left, top, right, bottom in its pixels, and scores (N,).
    """
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in pictures]
    for shorter_side in settings.min_size:
        for mirrored in (False, True) if settings.are_merged else (False,):
            given = [picture[:, ::-1] if mirrored else picture for picture in pictures]
            with detector.model.resizing_to(shorter_side, settings.max_size):
                faces = detector.predict(given, batch_size=len(given))
            for passes, picture, of_picture in zip(found, pictures, faces, strict=True):
                boxes = np.trunc(of_picture.boxes) if settings.are_merged else of_picture.boxes
                if mirrored:
                    boxes = mirror_boxes(boxes, picture.shape[1])
                passes.append((boxes, of_picture.scores))
    if not settings.are_merged:
        return [passes[0] for passes in found]
    return [
        vote_boxes(
            np.concatenate([boxes for boxes, _ in passes]),
            np.concatenate([scores for _, scores in passes]),
            settings.vote_iou,
        )
        for passes in found
    ]
