"""The pose of a rigid face from its landmarks."""

from __future__ import annotations

import cv2
import numpy as np


def solve_pose(points_3d: np.ndarray, points_2d: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Fits a pose to landmarks in float64.

    Args:
        points_3d: (P, 3) reference points, P >= 4.
        points_2d: (P, 2) landmarks in pixels.
        intrinsics: (3, 3) of the camera the landmarks are in.

    Returns:
        (6,) rotation vector (radians) and translation (reference units) in that camera.

    Raises:
        ValueError: Shapes do not match, a value is not finite, or no pose could be found.

    Source: EPnP, Lepetit, Moreno-Noguer and Fua, IJCV 2009 (OpenCV's `solvePnP`).
    """
    points_3d = np.ascontiguousarray(points_3d, dtype=np.float64)
    points_2d = np.ascontiguousarray(points_2d, dtype=np.float64)
    count = len(points_3d)
    if count < 4 or points_3d.shape != (count, 3) or points_2d.shape != (count, 2):
        raise ValueError(
            f"(P, 3) and (P, 2) points with P >= 4 expected: {points_3d.shape}, {points_2d.shape}"
        )
    if not (np.isfinite(points_3d).all() and np.isfinite(points_2d).all()):
        raise ValueError("points must be finite")
    matrix = np.ascontiguousarray(intrinsics, dtype=np.float64)
    found, rotvec, translation = cv2.solvePnP(
        points_3d, points_2d, matrix, None, flags=cv2.SOLVEPNP_EPNP
    )
    pose = np.concatenate([rotvec.ravel(), translation.ravel()])
    if not found or not np.isfinite(pose).all():
        raise ValueError("no pose fits the points")
    return pose
