"""Pinhole cameras: intrinsic matrices and projection. x right, y down, z away from the camera."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from img2pose.geometry.arrays import array_module, arrays_or_tensors
from img2pose.geometry.rotation import rotvec_to_matrix

if TYPE_CHECKING:
    from torch import Tensor


def image_intrinsics(height: int, width: int) -> np.ndarray:
    """The camera assumed for an image unless its own is known.

    Args:
        height: Pixels.
        width: Pixels.

    Returns:
        (3, 3) float64: focal length width + height, principal point (width // 2, height // 2).
    """
    focal = float(width + height)
    return np.array(
        [[focal, 0.0, float(width // 2)], [0.0, focal, float(height // 2)], [0.0, 0.0, 1.0]]
    )


def intrinsics_from_35mm(height: int, width: int, focal_length_mm: float) -> np.ndarray:
    """The camera of an image whose lens is known by its 35 mm equivalent, as EXIF states it.

    Args:
        height: Pixels of the whole, uncropped image.
        width: Pixels.
        focal_length_mm: Of the lens that sees as much on film of 36 x 24 mm, by the diagonal.

    Returns:
        (3, 3) float64: square pixels, the principal point in the middle of the image.

    Raises:
        ValueError: The focal length is not positive.
    """
    if not focal_length_mm > 0:
        raise ValueError(f"focal_length_mm must be positive, not {focal_length_mm}")
    focal = focal_length_mm / math.hypot(36, 24) * math.hypot(height, width)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def checked_intrinsics(intrinsics: ArrayLike) -> np.ndarray:
    """A camera's matrix as (3, 3) float64.

    Raises:
        ValueError: It has another shape, no positive focal lengths, another last row or numbers
            that are not finite.
    """
    matrix = np.asarray(intrinsics, dtype=np.float64)
    if matrix.shape != (3, 3):
        raise ValueError(f"intrinsics must be (3, 3), not {matrix.shape}")
    focal_lengths = np.diagonal(matrix)[:2]
    if not (np.isfinite(matrix).all() and (focal_lengths > 0).all()):
        raise ValueError(f"intrinsics need positive focal lengths in pixels: {matrix.tolist()}")
    if not np.array_equal(matrix[2], [0, 0, 1]):
        raise ValueError(f"the last row of intrinsics must be 0, 0, 1: {matrix.tolist()}")
    return matrix


@arrays_or_tensors(1)
def box_centers(boxes_xyxy: Tensor) -> Tensor:
    """The principal point of a box's camera: left + floor((right - left) / 2), likewise y.

    Args:
        boxes_xyxy: (..., 4) pixels, whole or fractional.

    Returns:
        (..., 2) pixels; fractional where left or top is.
    """
    corner, extent = boxes_xyxy[..., :2], boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    centers: Tensor = corner + array_module(extent).floor(extent / 2)
    return centers


@arrays_or_tensors(1)
def box_intrinsics(boxes_xyxy: Tensor) -> Tensor:
    """The cameras of boxes, in pixels of the image the boxes lie in.

    Args:
        boxes_xyxy: (..., 4) left, top, right, bottom.

    Returns:
        (..., 3, 3): focal length box width + box height, principal point `box_centers`.
    """
    xp = array_module(boxes_xyxy)
    focal = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).sum(-1)
    center = box_centers(boxes_xyxy)
    zero, one = xp.zeros_like(focal), xp.ones_like(focal)
    rows = [focal, zero, center[..., 0], zero, focal, center[..., 1], zero, zero, one]
    matrices: Tensor = xp.stack(rows, axis=-1).reshape(*focal.shape, 3, 3)
    return matrices


@arrays_or_tensors(3)
def project_points(
    points: Tensor, poses: Tensor, intrinsics: Tensor, *, min_depth: float | None = None
) -> Tensor:
    """Projects reference points with each of N poses.

    Args:
        points: (P, 3) in reference units.
        poses: (..., N, 6) rotation vector (radians) and translation (reference units).
        intrinsics: (3, 3) or (N, 3, 3), pixels.
        min_depth: Depths below it count as it, which keeps points near or behind the camera from
            exploding in training. None projects as the geometry says, infinite at depth 0.

    Returns:
        (..., N, P, 2) pixels.
    """
    xp = array_module(poses)
    rotated = (intrinsics @ rotvec_to_matrix(poses[..., :3])).reshape(-1, 3) @ points.T
    moved = intrinsics @ poses[..., 3:, None]
    homogeneous = rotated.reshape(*poses.shape[:-1], 3, points.shape[-2]) + moved
    depth = homogeneous[..., 2:, :]
    if min_depth is not None:
        depth = xp.clip(depth, min_depth, None)
    projected: Tensor = xp.swapaxes(homogeneous[..., :2, :] / depth, -1, -2)
    return projected
