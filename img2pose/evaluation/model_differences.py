"""How far the faces that two models find in the same pictures lie apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.evaluation.metrics import iou_matrix, match_detections, rotation_error_deg

_SAME_FACE_IOU = 0.5


@dataclass(frozen=True)
class ModelDifferences:
    """Differences over the faces that both models find: boxes that overlap by an IoU of 0.5.

    Means and maxima are None where there is no such face.

    Attributes:
        pictures: Compared.
        faces_first: That the first model finds.
        faces_second: That the second finds.
        faces_both: That both find.
        box_px_mean: Of the side of a box that moved most, pixels.
        box_px_max: The same at most.
        box_share_max: The same over the side of a square as large as the first model's box.
        rotation_deg_mean: Geodesic, degrees.
        rotation_deg_max: The same at most.
        translation_share_mean: Distance of the translations over the first one's length.
        translation_share_max: The same at most.
        score_max: Of scores.
    """

    pictures: int
    faces_first: int
    faces_second: int
    faces_both: int
    box_px_mean: float | None
    box_px_max: float | None
    box_share_max: float | None
    rotation_deg_mean: float | None
    rotation_deg_max: float | None
    translation_share_mean: float | None
    translation_share_max: float | None
    score_max: float | None

    @property
    def same_faces(self) -> bool:
        """Whether each model finds the faces that the other one finds."""
        return self.faces_first == self.faces_second == self.faces_both

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "same_faces": self.same_faces}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelDifferences:
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError: Something is missing, or `values` is no mapping.
        """
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def _of_picture(first: FaceDetections, second: FaceDetections) -> np.ndarray:
    """(N, 5) of the faces of both: box in pixels and as a share, rotation, translation, score."""
    ious = iou_matrix(second.boxes, first.boxes)
    match = match_detections(second.scores, ious, _SAME_FACE_IOU)
    theirs = np.flatnonzero(match >= 0)
    ours = match[theirs]
    boxes = np.abs(first.boxes[ours] - second.boxes[theirs]).max(axis=1)
    sizes = np.sqrt((first.boxes[ours, 2:] - first.boxes[ours, :2]).prod(axis=1))
    before, after = first.poses[ours], second.poses[theirs]
    moved = np.linalg.norm(before[:, 3:] - after[:, 3:], axis=1)
    return np.stack(
        [
            boxes,
            boxes / sizes,
            rotation_error_deg(before, after),
            moved / np.linalg.norm(before[:, 3:], axis=1),
            np.abs(first.scores[ours] - second.scores[theirs]),
        ],
        axis=1,
    )


def differences_of(
    pairs: Iterable[tuple[FaceDetections, FaceDetections]],
) -> ModelDifferences:
    """Compares what two models find.

    Args:
        pairs: Faces of each picture by the first model and by the second.
    """
    counts = np.zeros(3, dtype=np.int64)
    found: list[np.ndarray] = [np.empty((0, 5))]
    for first, second in pairs:
        counts += (1, len(first), len(second))
        found.append(_of_picture(first, second))
    all_faces = np.concatenate(found)

    def of_all(figures: Sequence[float]) -> list[float | None]:
        return list(map(float, figures)) if len(all_faces) else [None] * all_faces.shape[1]

    means = of_all(all_faces.mean(axis=0) if len(all_faces) else [])
    largest = of_all(all_faces.max(axis=0, initial=0))
    pictures, faces_first, faces_second = counts.tolist()
    return ModelDifferences(
        pictures,
        faces_first,
        faces_second,
        len(all_faces),
        box_px_mean=means[0],
        box_px_max=largest[0],
        box_share_max=largest[1],
        rotation_deg_mean=means[2],
        rotation_deg_max=largest[2],
        translation_share_mean=means[3],
        translation_share_max=largest[3],
        score_max=largest[4],
    )
