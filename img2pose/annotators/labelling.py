"""From what a detector finds in a picture to the picture's annotation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from img2pose.annotators.overlaps import match_to_boxes
from img2pose.annotators.protocol import FoundFaces
from img2pose.data.annotations import UNKNOWN_COORDINATE, Annotation, unknown_landmarks

# Enough for any fit, and files stay small.
_DECIMALS = 3


@dataclass(frozen=True)
class MatchRule:
    """How found faces are given to boxes that are there already.

    Attributes:
        min_iou: Found and given box overlap at least by this intersection over union.
        keep_unmatched: Found faces without a given box stay too.
    """

    min_iou: float = 0.5
    keep_unmatched: bool = False


def label_faces(
    found: FoundFaces, image_path: str, size_hw: tuple[int, int], label_source: str
) -> Annotation:
    """The annotation of a picture whose faces nobody marked before.

    Args:
        found: The detector's faces.
        image_path: The picture, relative to the data set's folder.
        size_hw: Its height and width; boxes end at its edges, and a face wholly outside is none.
        label_source: Who labels.
    """
    height, width = size_hw
    boxes = found.boxes_xyxy.clip(0, [width, height, width, height]).round(_DECIMALS)
    inside = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(-1))
    return Annotation(
        image_path,
        boxes[inside],
        tuple(_rounded(found.landmarks[face]) for face in inside.tolist()),
        Path(image_path),
        tuple(found.scores[inside].round(_DECIMALS + 1).tolist()),
        label_source=label_source,
    )


def _rounded(points: np.ndarray) -> np.ndarray:
    rounded = points.round(_DECIMALS)
    # Rounding must not make an unknown coordinate of a known one.
    became_unknown = (rounded == UNKNOWN_COORDINATE) & (points != UNKNOWN_COORDINATE)
    return np.where(became_unknown, UNKNOWN_COORDINATE - 10.0**-_DECIMALS, rounded)


class MatchedFaces(NamedTuple):
    """What `add_landmarks` made of given boxes and found faces.

    Attributes:
        annotation: The given faces in their order, then the found ones without a box, if kept.
        matched: Given boxes that a found face belongs to.
        unmatched: Found faces without a given box.
    """

    annotation: Annotation
    matched: int
    unmatched: int


def source_of_matched(label_source: str, given: Annotation) -> str:
    """Who labelled faces whose boxes were given."""
    return f"{label_source}; boxes: {given.label_source or 'given'}"


def add_landmarks(given: Annotation, labelled: Annotation, rule: MatchRule) -> MatchedFaces:
    """Gives boxes the landmarks and scores of the found faces that belong to them.

    Boxes stay as given, and so do head angles, poses and visibility, and landmarks where they are
    known already. A box that no found face belongs to stays without landmarks: five points of -1.

    Args:
        given: Boxes that are known, of the same picture.
        labelled: The found faces, by `label_faces`.
        rule: Which found face belongs to which box.
    """
    found, taken = match_to_boxes(labelled.boxes_xyxy, given.boxes_xyxy, rule.min_iou)
    landmarks = [
        points if known else unknown_landmarks()
        for points, known in zip(given.landmarks, given.has_landmarks, strict=True)
    ]
    landmark_visibility = [
        seen if known else None
        for seen, known in zip(given.landmark_visibility, given.has_landmarks, strict=True)
    ]
    scores = list(given.scores)
    for face, box in zip(found.tolist(), taken.tolist(), strict=True):
        scores[box] = labelled.scores[face]
        if not given.has_landmarks[box]:
            landmarks[box] = labelled.landmarks[face]
    unmatched = np.setdiff1d(np.arange(len(labelled)), found)
    extra = unmatched if rule.keep_unmatched else unmatched[:0]
    unknown = (None,) * len(extra)
    annotation = Annotation(
        labelled.image_path,
        np.concatenate([given.boxes_xyxy, labelled.boxes_xyxy[extra]]),
        (*landmarks, *(labelled.landmarks[face] for face in extra)),
        labelled.source,
        (*scores, *(labelled.scores[face] for face in extra)),
        (*given.head_angles, *unknown),
        source_of_matched(labelled.label_source or "", given),
        (*given.poses, *unknown),
        (*given.visibility, *unknown),
        (*landmark_visibility, *unknown),
    )
    return MatchedFaces(annotation, len(found), len(unmatched))
