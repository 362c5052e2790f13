"""Faces in photographs, each with its 6DoF pose."""

import importlib
from typing import TYPE_CHECKING, Any

from img2pose.errors import InputError
from img2pose.references import FaceMesh, PoseReferences
from img2pose.types import FaceDetections, PoseStats

if TYPE_CHECKING:
    from img2pose.inference.detector import Detector
    from img2pose.models.img2pose import Img2Pose, build_model
    from img2pose.models.weights import load_model

__all__ = [
    "Detector",
    "FaceDetections",
    "FaceMesh",
    "Img2Pose",
    "InputError",
    "PoseReferences",
    "PoseStats",
    "build_model",
    "load_model",
]

# Imported when asked for: without torchvision, a process that only reads data starts sooner.
_HOMES = {
    "Detector": "img2pose.inference.detector",
    "Img2Pose": "img2pose.models.img2pose",
    "build_model": "img2pose.models.img2pose",
    "load_model": "img2pose.models.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'img2pose' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
