"""Faces in photographs, each with its 6DoF pose."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from img2pose.detections import FaceDetections
    from img2pose.errors import InputError
    from img2pose.inference.detector import Detector
    from img2pose.inference.onnx_detector import OnnxDetector
    from img2pose.models.img2pose import Img2Pose, build_model
    from img2pose.models.shipped import shipped_checkpoint
    from img2pose.models.weights import load_model
    from img2pose.references import FaceMesh, PoseReferences
    from img2pose.types import PoseStats

__all__ = [
    "Detector",
    "FaceDetections",
    "FaceMesh",
    "Img2Pose",
    "InputError",
    "OnnxDetector",
    "PoseReferences",
    "PoseStats",
    "build_model",
    "load_model",
    "shipped_checkpoint",
]

# Loaded when they are asked for: commands that need no model then start without torch.
_HOMES = {
    "Detector": "img2pose.inference.detector",
    "FaceDetections": "img2pose.detections",
    "FaceMesh": "img2pose.references",
    "Img2Pose": "img2pose.models.img2pose",
    "InputError": "img2pose.errors",
    "OnnxDetector": "img2pose.inference.onnx_detector",
    "PoseReferences": "img2pose.references",
    "PoseStats": "img2pose.types",
    "build_model": "img2pose.models.img2pose",
    "load_model": "img2pose.models.weights",
    "shipped_checkpoint": "img2pose.models.shipped",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
