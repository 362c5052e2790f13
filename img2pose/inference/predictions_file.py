"""The `predictions.json` of `scripts/predict.py`: what it holds of a picture, and its reader."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.references import PoseReferences

_REMEDY = "give the predictions.json that scripts/predict.py wrote"


@dataclass(frozen=True, eq=False)
class ImageFaces:
    """The faces of one picture.

    Attributes:
        image: The picture's path as it was given to the command that found the faces.
        detections: In pixels and camera of the picture, upright.
        references: The reference face of the poses.
    """

    image: Path
    detections: FaceDetections
    references: PoseReferences

    def to_dict(self, *, euler: bool = False) -> dict[str, Any]:
        """Ready for JSON: `FaceDetections.to_dict` with `image` and `references`.

        `references` is the hash of the points that poses refer to, with the points themselves
        unless they are the project's own, which every installation has.
        """
        return {
            "image": str(self.image),
            "references": _references_to_dict(self.references),
            **self.detections.to_dict(euler=euler),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ImageFaces:
        """What `to_dict` gave; further keys are passed over.

        Without `references`, as older files are, poses refer to the project's own.

        Raises:
            ValueError: A key is missing or holds something else, or the points are neither the
                project's own nor given.
        """
        detections = FaceDetections.from_dict(value)
        image = value.get("image")
        if not isinstance(image, str) or not image or "\0" in image:
            raise ValueError("image must be a path")
        return cls(Path(image), detections, _references_from_dict(value.get("references")))


def _references_to_dict(references: PoseReferences) -> dict[str, Any]:
    if references.sha256 == PoseReferences.default().sha256:
        return {"sha256": references.sha256}
    return {
        "sha256": references.sha256,
        "points_68": references.points_68.tolist(),
        "points_5": references.points_5.tolist(),
    }


def _references_from_dict(value: Any) -> PoseReferences:
    default = PoseReferences.default()
    if value is None:
        return default
    if not isinstance(value, Mapping) or not isinstance(value.get("sha256"), str):
        raise ValueError("references must be an object with sha256")
    if value["sha256"] == default.sha256:
        return default
    if "points_68" not in value or "points_5" not in value:
        raise ValueError(
            "its poses refer to other reference points than this installation's, and it does not"
            " hold them"
        )
    try:
        given = PoseReferences(np.array(value["points_68"]), np.array(value["points_5"]))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"references: {error}") from error
    if given.sha256 != value["sha256"]:
        raise ValueError("references: the points are not those of the sha256")
    return given


def read_predictions(path: str | os.PathLike[str]) -> list[ImageFaces]:
    """Reads and checks a file of predictions.

    Args:
        path: JSON: a list of objects as `ImageFaces.to_dict` gives them.

    Raises:
        InputError: The file is missing, is not JSON or holds something else.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({_short(error)}); {_REMEDY}") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: must be a list of pictures; {_REMEDY}")
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append(ImageFaces.from_dict(entry))
        except ValueError as error:
            raise InputError(f"{path}: picture {number}: {_short(error)}; {_REMEDY}") from error
    return found


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
