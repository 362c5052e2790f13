"""Detections against a head-pose benchmark: which one is judged, its errors, the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.evaluation.head_pose import (
    MISSED_ANGLE_DEG,
    HeadErrors,
    HeadPoseSummary,
    best_overlap,
    head_errors,
    most_central,
    summarise,
)
from img2pose.evaluation.head_sets import HeadTruth, poses_of
from img2pose.geometry import pose_to_euler, project_points
from img2pose.references import PoseReferences

Cell = str | int | float | None
_ANGLES = ("pitch", "yaw", "roll")
_POSE = ("rx", "ry", "rz", "tx", "ty", "tz")
_SIDES = ("left", "top", "right", "bottom")
# Points nearer to the camera's plane, or behind it, are projected from here: always finite.
_MIN_DEPTH = 1e-3


@dataclass(frozen=True, eq=False)
class JudgedHeads:
    """What became of the faces of a benchmark, a row each; NaN where one was not found.

    Attributes:
        truths: The faces.
        poses: (M, 6) of the detections that are judged, in their images' cameras.
        boxes: (M, 4) of these, pixels.
        scores: (M,) of these.
        ious: (M,) of these with the true box, sides counted inclusively; all NaN where the set has
            no boxes.
        euler_deg: (M, 3) of these: pitch, yaw, roll.
        landmarks: (M, 68, 2) pixels, projected with these.
        intrinsics: (M, 3, 3) of the images.
        errors: Of these.
        summary: The figures.
    """

    truths: tuple[HeadTruth, ...]
    poses: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    ious: np.ndarray
    euler_deg: np.ndarray
    landmarks: np.ndarray
    intrinsics: np.ndarray
    errors: HeadErrors
    summary: HeadPoseSummary

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def found_at_iou_50(self) -> int | None:
        """Faces whose detection overlaps the true box by half; None where the set has no boxes.

        Detections that overlap less are judged all the same, as published.
        """
        if all(truth.box_xyxy is None for truth in self.truths):
            return None
        return int((self.ious >= 0.5).sum())

    def worst(self, count: int) -> list[int]:
        """Rows of the greatest rotation errors; a face not found counts as in the figures."""
        errors = np.where(self.errors.found, self.errors.rotation_deg, MISSED_ANGLE_DEG)
        rows: list[int] = np.argsort(-errors, kind="stable")[:count].tolist()
        return rows

    def rows(self) -> list[dict[str, Cell]]:
        """A flat row for each face, for a table; None where there is no number."""
        columns: dict[str, Sequence[Cell]] = {
            "image": [truth.image for truth in self.truths],
            "face": [truth.face for truth in self.truths],
            "found": self.errors.found.astype(int).tolist(),
        }
        self._add(columns, "iou", self.ious)
        self._add(columns, "score", self.scores)
        self._add(columns, "true_{}_deg", poses_of(self.truths).euler_deg, _ANGLES)
        self._add(columns, "{}_deg", self.euler_deg, _ANGLES)
        self._add(columns, "{}_error_deg", self.errors.euler_deg, _ANGLES)
        self._add(columns, "{}_error_wrapped_deg", self.errors.euler_wrapped_deg, _ANGLES)
        self._add(columns, "rotation_error_deg", self.errors.rotation_deg)
        self._add(columns, "{}_error", self.errors.translations, _POSE[3:])
        self._add(columns, "landmark_error_by_box", self.errors.landmarks_by_box)
        self._add(columns, "landmark_error_by_eyes", self.errors.landmarks_by_eyes)
        self._add(columns, "{}", self.poses, _POSE)
        self._add(columns, "{}", self.boxes, _SIDES)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @staticmethod
    def _add(
        columns: dict[str, Sequence[Cell]],
        name: str,
        values: np.ndarray | None,
        parts: Sequence[str] = ("",),
    ) -> None:
        if values is None:
            return
        for part, numbers in zip(parts, values.reshape(len(values), -1).T, strict=True):
            columns[name.format(part)] = [
                number if np.isfinite(number) else None for number in numbers.tolist()
            ]


def _choose(detections: FaceDetections, truth: HeadTruth) -> tuple[int | None, float]:
    """The detection that is judged, and its IoU with the true box."""
    if truth.box_xyxy is None:
        return most_central(detections), np.nan
    return best_overlap(detections, truth.box_xyxy)


def judge_heads(
    truths: Sequence[HeadTruth],
    detections: Mapping[str, FaceDetections],
    references: PoseReferences,
) -> JudgedHeads:
    """Judges what was found in the pictures of a benchmark.

    Args:
        truths: At least one face.
        detections: By picture.
        references: The reference face of the poses.
    """
    count = len(truths)
    poses, boxes = np.full((count, 6), np.nan), np.full((count, 4), np.nan)
    scores, ious = np.full(count, np.nan), np.full(count, np.nan)
    for row, truth in enumerate(truths):
        found = detections[truth.image]
        chosen, iou = _choose(found, truth)
        if chosen is not None:
            poses[row], boxes[row] = found.poses[chosen], found.boxes[chosen]
            scores[row], ious[row] = found.scores[chosen], iou
    intrinsics = np.array([detections[truth.image].intrinsics for truth in truths])
    is_found = np.isfinite(poses).all(-1)
    landmarks = np.full((count, 68, 2), np.nan)
    euler_deg = np.full((count, 3), np.nan)
    if is_found.any():
        landmarks[is_found] = project_points(
            references.points_68, poses[is_found], intrinsics[is_found], min_depth=_MIN_DEPTH
        )
        euler_deg[is_found] = pose_to_euler(poses[is_found])
    true_poses = poses_of(truths)
    errors = head_errors(true_poses, poses, landmarks)
    return JudgedHeads(
        tuple(truths),
        poses,
        boxes,
        scores,
        ious,
        euler_deg,
        landmarks,
        intrinsics,
        errors,
        summarise(errors, true_poses.translations),
    )
