"""Faces of chosen poses for tests of drawings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.references import PoseReferences


def detections_of(
    poses: Sequence[Sequence[float]],
    size_hw: tuple[int, int] = (120, 160),
    intrinsics: np.ndarray | None = None,
) -> FaceDetections:
    """Faces of the default references, with boxes made from the poses."""
    camera = image_intrinsics(*size_hw) if intrinsics is None else intrinsics
    array = np.array(poses, dtype=np.float64).reshape(-1, 6)
    boxes = np.zeros((0, 4))
    if len(array):
        points = project_points(PoseReferences.default().points_68, array, camera)
        boxes = boxes_from_points(points, array, size_hw)
    return FaceDetections(array, boxes, np.linspace(0.9, 0.6, len(array)), camera, size_hw)


def gray(size_hw: tuple[int, int] = (120, 160)) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.full((*size_hw, 3), 128, np.uint8)
