"""The pose of a rigid face from its landmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from img2pose.geometry.arrays import array_module, arrays_or_tensors, constant_like
from img2pose.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor


@arrays_or_tensors(3)
def solve_pose(points_3d: Tensor, points_2d: Tensor, intrinsics: Tensor) -> Tensor:
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
    count = len(points_3d)
    if count < 4 or points_3d.shape != (count, 3) or points_2d.shape != (count, 2):
        raise ValueError(
            "(P, 3) and (P, 2) points with P >= 4 expected:"
            f" {tuple(points_3d.shape)}, {tuple(points_2d.shape)}"
        )
    xp = array_module(points_3d)
    if not (xp.isfinite(points_3d).all() and xp.isfinite(points_2d).all()):
        raise ValueError("points must be finite")
    reference, landmarks, matrix = (
        np.ascontiguousarray(
            value.detach().cpu().numpy() if is_tensor(value) else value, dtype=np.float64
        )
        for value in (points_3d, points_2d, intrinsics)
    )
    try:
        found, rotvec, translation = cv2.solvePnP(
            reference, landmarks, matrix, None, flags=cv2.SOLVEPNP_EPNP
        )
    except cv2.error as error:
        raise ValueError("no pose fits the points") from error
    pose = np.concatenate([rotvec.ravel(), translation.ravel()])
    if not found or not np.isfinite(pose).all():
        raise ValueError("no pose fits the points")
    return constant_like(pose, points_2d)
