"""Lens distortion by OpenCV's model, undone and put back.

An ideal camera sees straight edges as straight; a lens bends them. Coefficients are what
`cv2.calibrateCamera` gives, in its order: k1, k2, p1, p2, then perhaps k3; k4, k5, k6; s1, s2, s3,
s4; tau_x, tau_y.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

_COEFFICIENT_COUNTS = (4, 5, 8, 12, 14)
_STEPS = 200
_NEAR_ENOUGH_PX = 1e-9
LONGEST_SIDE = 32766
"""Pixels; OpenCV's remapping counts in 16 bits."""


def checked_distortion(coefficients: ArrayLike) -> np.ndarray:
    """Coefficients as (K,) float64.

    Raises:
        ValueError: There are not 4, 5, 8, 12 or 14 finite ones.
    """
    checked = np.asarray(coefficients, dtype=np.float64).ravel()
    if len(checked) not in _COEFFICIENT_COUNTS or not np.isfinite(checked).all():
        raise ValueError(
            "distortion must be 4, 5, 8, 12 or 14 finite coefficients in OpenCV's order, not"
            f" {checked.tolist()}"
        )
    return checked


def _lens(intrinsics: ArrayLike, coefficients: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    camera = np.asarray(intrinsics, dtype=np.float64)
    if camera.shape != (3, 3):
        raise ValueError(f"intrinsics must be (3, 3), not {camera.shape}")
    if camera[0, 1] != 0:
        raise ValueError("OpenCV's lens model knows no skew: intrinsics[0, 1] must be 0")
    return camera, checked_distortion(coefficients)


def _checked_points(points: ArrayLike) -> np.ndarray:
    checked = np.asarray(points, dtype=np.float64)
    if checked.ndim < 1 or checked.shape[-1] != 2:
        raise ValueError(f"points must be (..., 2), not {checked.shape}")
    return checked


def distort_points(points: ArrayLike, intrinsics: ArrayLike, coefficients: ArrayLike) -> np.ndarray:
    """Points of the undistorted picture, where they are in the picture that the lens made.

    Args:
        points: (..., 2) pixels of the undistorted picture.
        intrinsics: (3, 3) without skew; of both pictures.
        coefficients: (K,) in OpenCV's order.

    Returns:
        (..., 2) pixels of the picture as it was taken, float64.

    Raises:
        ValueError: A shape or a number of coefficients is wrong.
    """
    camera, distortion = _lens(intrinsics, coefficients)
    given = _checked_points(points)
    flat = given.reshape(-1, 2)
    if not len(flat):
        return given.copy()
    rays = np.ones((len(flat), 3))
    rays[:, :2] = (flat - camera[:2, 2]) / camera.diagonal()[:2]
    still = np.zeros(3)
    moved: np.ndarray = cv2.projectPoints(rays, still, still, camera, distortion)[0]
    return moved.reshape(given.shape)


def undistort_points(
    points: ArrayLike, intrinsics: ArrayLike, coefficients: ArrayLike
) -> np.ndarray:
    """The inverse of `distort_points`, by iteration; exact where the lens is one-to-one.

    Args:
        points: (..., 2) pixels of the picture as it was taken.
        intrinsics: (3, 3) without skew; of both pictures.
        coefficients: (K,) in OpenCV's order.

    Returns:
        (..., 2) pixels of the undistorted picture, float64.

    Raises:
        ValueError: A shape or a number of coefficients is wrong.
    """
    # OpenCV's own solver stops after five steps, and is called by another name in each release.
    given = _checked_points(points)
    found = given.copy()
    for _ in range(_STEPS):
        missing = given - distort_points(found, intrinsics, coefficients)
        found += missing
        if not (np.abs(missing) > _NEAR_ENOUGH_PX).any():
            break
    return found


def undistort_picture(
    picture: np.ndarray, intrinsics: ArrayLike, coefficients: ArrayLike
) -> np.ndarray:
    """The picture that an ideal camera with the same intrinsics would have taken.

    Args:
        picture: (H, W, C) uint8 or float32.
        intrinsics: (3, 3) without skew.
        coefficients: (K,) in OpenCV's order.

    Returns:
        The same shape and type; black where the lens saw nothing. What the ideal camera does not
        see (corners, with a pincushion lens) is lost.

    Raises:
        ValueError: A shape or a number of coefficients is wrong, or a side is too long for OpenCV.
    """
    camera, distortion = _lens(intrinsics, coefficients)
    if max(picture.shape[:2]) > LONGEST_SIDE:
        raise ValueError(f"pictures above {LONGEST_SIDE} pixels a side cannot be undistorted")
    undistorted: np.ndarray = cv2.undistort(np.ascontiguousarray(picture), camera, distortion)
    return undistorted
