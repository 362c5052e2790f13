"""Faces in pictures: detectors, aligned crops, files of results."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from img2pose.inference.detector import Detector
    from img2pose.inference.onnx_detector import OnnxDetector

__all__ = ["Detector", "OnnxDetector"]

# Loaded when they are asked for: the one needs torch, which the other does without.
_HOMES = {
    "Detector": "img2pose.inference.detector",
    "OnnxDetector": "img2pose.inference.onnx_detector",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
