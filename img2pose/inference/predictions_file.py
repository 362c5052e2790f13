"""Faces read back from the `predictions.json` that `scripts/predict.py` writes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.errors import InputError

_REMEDY = "give the predictions.json that scripts/predict.py wrote"


@dataclass(frozen=True, eq=False)
class ImageFaces:
    """The faces of one picture.

    Attributes:
        image: The picture's path as it was given to the command that found the faces.
        detections: In pixels and camera of the picture, upright.
    """

    image: Path
    detections: FaceDetections


def read_predictions(path: str | os.PathLike[str]) -> list[ImageFaces]:
    """Reads and checks a file of predictions.

    Args:
        path: JSON: a list of objects with `image`, `size_hw`, `intrinsics` and `faces`, each face
            with `score`, `box` and `pose`; other entries are not looked at.

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
            found.append(_image_faces(entry))
        except KeyError as error:
            raise InputError(f"{path}: picture {number} lacks {error}; {_REMEDY}") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: picture {number}: {_short(error)}; {_REMEDY}") from error
    return found


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:150]


def _image_faces(entry: Any) -> ImageFaces:
    if not isinstance(entry, dict):
        raise TypeError("is no object")
    image, faces = entry["image"], entry["faces"]
    if not isinstance(image, str) or not image or "\0" in image:
        raise ValueError("image must be a path")
    if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
        raise TypeError("faces must be a list of objects")
    count = len(faces)
    height, width = _numbers("size_hw", entry["size_hw"], (2,)).tolist()
    if not (height >= 1 and width >= 1 and height.is_integer() and width.is_integer()):
        raise ValueError("size_hw must be two whole numbers above 0")
    intrinsics = _numbers("intrinsics", entry["intrinsics"], (3, 3))
    if not (intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0):
        raise ValueError("intrinsics need positive focal lengths")
    if intrinsics[2].tolist() != [0, 0, 1]:
        raise ValueError("the last row of intrinsics must be 0, 0, 1")
    return ImageFaces(
        Path(image),
        FaceDetections(
            _numbers("poses", [face["pose"] for face in faces], (count, 6)),
            _numbers("boxes", [face["box"] for face in faces], (count, 4)),
            _numbers("scores", [face["score"] for face in faces], (count,)),
            intrinsics,
            (int(height), int(width)),
        ),
    )


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Lists of finite numbers as float64; text and truth values are no numbers."""
    array = np.array(value) if shape[0] else np.zeros(shape)
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be numbers of shape {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array.astype(np.float64)
