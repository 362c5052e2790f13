"""Faces in photographs, each with its 6DoF pose."""

from img2pose.errors import InputError
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose, build_model
from img2pose.models.weights import load_model
from img2pose.references import FaceMesh, PoseReferences
from img2pose.types import FaceDetections, PoseStats

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
