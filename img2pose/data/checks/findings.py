"""What can be wrong with annotated data, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Check:
    """One thing that can be wrong.

    Attributes:
        severity: "error": the data should not be trained on as they are; "warning": worth a look.
        meaning: What a finding says, in words.
    """

    severity: Severity
    meaning: str


class Problem(NamedTuple):
    """One finding.

    Attributes:
        check: Key of `CHECKS`.
        face: Index of the face in its picture; None where the whole picture is meant.
        detail: What was found, with figures.
    """

    check: str
    face: int | None
    detail: str


def _error(meaning: str) -> Check:
    return Check("error", meaning)


def _warning(meaning: str) -> Check:
    return Check("warning", meaning)


CHECKS: dict[str, Check] = {
    # Files.
    "annotation_unreadable": _error("the annotation is missing or does not follow the schema"),
    "image_missing": _error("the picture is not there"),
    "image_unreadable": _error("the picture cannot be decoded, or is cut short"),
    "image_too_large": _error("the picture has more pixels than the limit and was not decoded"),
    "image_small": _warning("the picture's shorter side is suspiciously small"),
    "image_not_upright": _warning(
        "the EXIF data ask viewers to turn the picture, while labels refer to the stored pixels"
    ),
    "image_outside_folder": _warning("image_path leaves the data set's folder"),
    # Duplicates.
    "annotation_repeated": _error("the same annotation file is listed before"),
    "image_repeated": _error("an annotation before names the same picture"),
    "image_copied": _error("the same bytes as a picture before, under another name"),
    "face_repeated": _error("two faces of a picture have nearly the same box"),
    # Boxes.
    "box_without_area": _error("the box ends where it begins"),
    "box_below_a_pixel": _warning(
        "truncated to whole pixels the box has no area, so the face is left out by conversion"
    ),
    "box_outside_picture": _error("the box lies wholly outside the picture"),
    "box_largely_outside": _warning("more than half of the box lies outside the picture"),
    # Landmarks.
    "points_partly_unknown": _warning(
        "some coordinates are -1, which means unknown: the face gets no pose"
    ),
    "points_outside_box": _error("many points lie outside the face's box"),
    "points_partly_outside_box": _warning("some points lie outside the face's box"),
    "points_outside_picture": _error("more than half of the points lie outside the picture"),
    "points_partly_outside_picture": _warning("some points lie outside the picture"),
    "points_degenerate": _error("the points are all equal or on a line"),
    "points_swapped": _error(
        "left and right are swapped: the points show a face from behind, in mirrored order from"
        " the front"
    ),
    "point_far_off": _error("one of 68 points lies far from where the others say"),
    # Poses.
    "no_pose_fits": _warning(
        "the landmarks are known, but no pose in front of the camera fits them"
    ),
    "reprojection_outlier": _error("the rigid face fits the points far too badly"),
    "reprojection_high": _warning("the rigid face fits the points worse than faces usually do"),
    "head_angles_differ": _warning(
        "the annotated head angles differ much from the pose fitted to the landmarks"
    ),
    # Stores.
    "store_unreadable": _error("the store cannot be opened"),
    "record_unreadable": _error("the record is damaged"),
    "reader_killed": _error("reading it kills the process"),
    "key_repeated": _error("the list of records names the record twice"),
    "note_miscounts": _error("the store's note counts other than what the records hold"),
    "references_differ": _warning(
        "the labels refer to other reference points than those given: reprojection and refit are"
        " not judged"
    ),
    "values_not_finite": _error("a box, pose or landmark holds NaN or infinity"),
    "pose_invalid": _error("the stored pose is behind the camera, or only one of the two is known"),
    "pose_off_landmarks": _error("the stored pose projects far from the stored landmarks"),
    "pose_differs_from_refit": _warning(
        "the stored rotation differs from a fit to the stored landmarks (300W-LP's own angles do,"
        " and exact poses that annotations carry)"
    ),
    "box_pose_wrong": _error("the pose in the box contradicts the pose in the image"),
    "box_pose_inexact": _warning(
        "the pose in the box is not exactly the pose in the image (older SciPy converted so)"
    ),
    "statistics_differ": _error("the pose statistics beside the store are not those of its poses"),
    "statistics_unreadable": _error("the pose statistics beside the store cannot be used"),
}
"""Every check, in the order of reports."""
