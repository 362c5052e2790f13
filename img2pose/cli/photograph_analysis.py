"""All that a page shows of one photograph, without the page."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.images import decode_image
from img2pose.inference.alignment import align_faces, can_be_cut_out
from img2pose.inference.detector import Detector
from img2pose.references import PoseReferences
from img2pose.visualization import draw_faces, draw_overlay

LOWEST_SCORE = 0.05
"""Faces with less never appear; a detector for `PhotographAnalyser` should have it."""

CROP_SIZE = 224
_PHOTOGRAPHS_KEPT = 4

TABLE_HEADERS = (
    "face",
    "score",
    "left",
    "top",
    "right",
    "bottom",
    "pitch",
    "yaw",
    "roll",
    "x units",
    "y units",
    "z units",
    "x m",
    "y m",
    "z m",
)


@dataclass(frozen=True, eq=False)
class PhotographFaces:
    """The faces of a photograph above a threshold, numbered from 1, best first.

    Attributes:
        picture: (H, W, 3) uint8 RGB, upright.
        detections: Its faces.
        references: The reference face of the poses.
    """

    picture: np.ndarray
    detections: FaceDetections
    references: PoseReferences

    @property
    def can_be_rendered(self) -> bool:
        """Whether the project's mesh fits the poses; it does not fit those of other references."""
        return self.references.sha256 == PoseReferences.default().sha256

    def drawn(self) -> np.ndarray:
        """Boxes, numbers, scores and axes: (H, W, 3) uint8 RGB."""
        labels = [f"{n}: {s:.2f}" for n, s in enumerate(self.detections.scores, start=1)]
        return draw_faces(self.picture, self.detections, self.references, labels=labels)

    def rendered(self) -> np.ndarray:
        """Masks in the faces' poses: (H, W, 3) uint8 RGB."""
        return draw_overlay(self.picture, self.detections)

    def crops(self) -> list[tuple[np.ndarray, str]]:
        """Aligned faces (224, 224, 3) with their numbers; not those behind the camera's plane."""
        faces = self.detections
        possible = can_be_cut_out(faces.poses, self.references)
        crops = align_faces(
            self.picture,
            faces.poses[possible],
            CROP_SIZE,
            intrinsics=faces.intrinsics,
            references=self.references,
        )
        numbers = np.flatnonzero(possible) + 1
        return [
            (crop.image, f"{number}: {crop.template}")
            for number, crop in zip(numbers, crops, strict=True)
        ]

    def rows(self) -> list[list[float]]:
        """A row of numbers a face: see `TABLE_HEADERS`; pixels, degrees, units and metres."""
        faces = self.detections
        numbers = np.concatenate(
            [
                np.arange(1, len(faces) + 1)[:, None],
                faces.scores[:, None].round(3),
                faces.boxes.round(1),
                faces.euler_deg().round(1),
                faces.poses[:, 3:].round(3),
                faces.translations_m(references=self.references).round(3),
            ],
            axis=1,
        )
        return [[int(row[0]), *row[1:]] for row in numbers.tolist()]

    def to_json(self, name: str) -> str:
        """The faces with all digits.

        Args:
            name: Of the photograph's file.
        """
        entry: dict[str, Any] = {"image": name, **self.detections.to_dict(euler=True)}
        metres = self.detections.translations_m(references=self.references).tolist()
        for face, place in zip(entry["faces"], metres, strict=True):
            face["translation_m"] = place
        return json.dumps(entry, indent=1, allow_nan=False) + "\n"


class PhotographAnalyser:
    """Finds the faces of photographs; the last few are remembered, whatever the threshold.

    May be called from several threads; the model sees one photograph at a time.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[np.ndarray, FaceDetections]] = OrderedDict()

    def __call__(self, content: bytes, name: str, score_threshold: float) -> PhotographFaces:
        """The faces of one photograph.

        Args:
            content: Of its file.
            name: Tells it apart in errors.
            score_threshold: Faces with a greater score count.

        Raises:
            InputError: Damaged, no picture, or too large.
        """
        with self._lock:
            if content not in self._known:
                picture = decode_image(content, name)
                self._known[content] = picture, self._detector.predict(picture)
                if len(self._known) > _PHOTOGRAPHS_KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(content)
            picture, found = self._known[content]
        return PhotographFaces(picture, found.above(score_threshold), self._detector.references)
