"""Rotations: vectors (axis times angle, radians), 3x3 matrices, quaternions, named Euler angles.

Every function takes any batch shape, is differentiable everywhere it is continuous (at the
identity and near pi too), and returns what it was given: arrays for arrays, tensors for tensors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from img2pose.geometry.arrays import array_module, arrays_or_tensors, constant_like, joined, stacked

if TYPE_CHECKING:
    from torch import Tensor


def _sinc(angles: Tensor) -> Tensor:
    """sin(a) / a, and its gradient, at zero too: torch's has the limits there."""
    result: Tensor = array_module(angles).sinc(angles * (1 / math.pi))
    return result


def _norm(vectors: Tensor) -> Tensor:
    """Lengths (..., 1) of vectors (..., 3)."""
    length: Tensor = array_module(vectors).linalg.norm(vectors, axis=-1, keepdims=True)
    return length


def _cross(first: Tensor, second: Tensor) -> Tensor:
    # Both libraries have one; they do not broadcast alike, nor round alike on all processors.
    x1, y1, z1 = first[..., 0], first[..., 1], first[..., 2]
    x2, y2, z2 = second[..., 0], second[..., 1], second[..., 2]
    return stacked([y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2])


@arrays_or_tensors(1)
def rotvec_to_matrix(rotvecs: Tensor) -> Tensor:
    """Rotation vectors to matrices (through quaternions).

    Args:
        rotvecs: (..., 3) axis times angle in radians.

    Returns:
        (..., 3, 3) rotation matrices.
    """
    quaternions = rotvec_to_quaternion(rotvecs)
    imaginary, real = quaternions[..., :3], quaternions[..., 3:]
    doubled = imaginary + imaginary
    along = (1 - (doubled * imaginary).sum(-1)[..., None, None]) * constant_like(np.eye(3), rotvecs)
    turned = real * doubled
    x, y, z = turned[..., 0], turned[..., 1], turned[..., 2]
    zero = array_module(rotvecs).zeros_like(x)
    across = stacked([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(along.shape)
    matrices: Tensor = along + doubled[..., None] * imaginary[..., None, :] + across
    return matrices


@arrays_or_tensors(1)
def matrix_to_quaternion(matrices: Tensor) -> Tensor:
    """Rotation matrices to unit quaternions with a real part that is not negative.

    Args:
        matrices: (..., 3, 3) rotation matrices.

    Returns:
        (..., 4) as (x, y, z, w).

    Source: Shepperd's method: of four equivalent formulas, the one with the largest divisor.
    """
    xp = array_module(matrices)
    m = matrices
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    trace = xx + yy + zz
    largest = stacked([xx, yy, zz, trace]).argmax(-1)[..., None]
    xy, xz, yz = (
        m[..., 0, 1] + m[..., 1, 0],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 1, 2] + m[..., 2, 1],
    )
    wx, wy, wz = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    quaternion = stacked([wx, wy, wz, 1 + trace])
    others = [
        [1 + 2 * xx - trace, xy, xz, wx],
        [xy, 1 + 2 * yy - trace, yz, wy],
        [xz, yz, 1 + 2 * zz - trace, wz],
    ]
    for index, components in enumerate(others):
        quaternion = xp.where(largest == index, stacked(components), quaternion)
    return _with_positive_real_part(quaternion / _norm(quaternion))


def _with_positive_real_part(quaternions: Tensor) -> Tensor:
    chosen: Tensor = array_module(quaternions).where(
        quaternions[..., 3:] < 0, -quaternions, quaternions
    )
    return chosen


@arrays_or_tensors(1)
def quaternion_to_rotvec(quaternions: Tensor) -> Tensor:
    """Unit quaternions (x, y, z, w) to rotation vectors of at most pi.

    Args:
        quaternions: (..., 4), either sign.

    Returns:
        (..., 3) axis times angle in radians.
    """
    quaternions = _with_positive_real_part(quaternions)
    imaginary, real = quaternions[..., :3], quaternions[..., 3:]
    half_angle = array_module(quaternions).arctan2(_norm(imaginary), real)
    # angle / sin(angle / 2); the half angle is at most pi / 2, so nothing is divided by zero.
    return imaginary * (2 / _sinc(half_angle))


@arrays_or_tensors(1)
def rotvec_to_quaternion(rotvecs: Tensor) -> Tensor:
    """Rotation vectors to unit quaternions.

    Args:
        rotvecs: (..., 3) axis times angle in radians.

    Returns:
        (..., 4) as (x, y, z, w); w is negative for angles between pi and 3 pi.
    """
    xp = array_module(rotvecs)
    half_angle = _norm(rotvecs) * 0.5
    return joined([rotvecs * (0.5 * _sinc(half_angle)), xp.cos(half_angle)])


@arrays_or_tensors(2)
def multiply_quaternions(first: Tensor, second: Tensor) -> Tensor:
    """The rotation `second` followed by `first`, as their matrices' product is.

    Args:
        first: (..., 4) as (x, y, z, w).
        second: (..., 4), broadcast against the first.

    Returns:
        (..., 4).
    """
    v1, w1, v2, w2 = first[..., :3], first[..., 3:], second[..., :3], second[..., 3:]
    imaginary = w1 * v2 + w2 * v1 + _cross(v1, v2)
    real = w1 * w2 - (v1 * v2).sum(-1)[..., None]
    return joined([imaginary, real])


@arrays_or_tensors(1)
def matrix_to_rotvec(matrices: Tensor) -> Tensor:
    """Rotation matrices to rotation vectors of at most pi.

    Args:
        matrices: (..., 3, 3) rotation matrices.

    Returns:
        (..., 3) axis times angle in radians. At an angle of exactly pi either sign may come back.
    """
    rotvecs: Tensor = quaternion_to_rotvec(matrix_to_quaternion(matrices))
    return rotvecs


@arrays_or_tensors(2)
def geodesic_angle(matrices_a: Tensor, matrices_b: Tensor) -> Tensor:
    """The angle of the rotation between two rotations.

    Args:
        matrices_a: (..., 3, 3).
        matrices_b: (..., 3, 3), broadcast against the first.

    Returns:
        (...) radians in 0..pi, exact for small angles too (no arc cosine).
    """
    xp = array_module(matrices_a)
    quaternion = matrix_to_quaternion(xp.swapaxes(matrices_a, -1, -2) @ matrices_b)
    angles: Tensor = 2 * xp.arctan2(_norm(quaternion[..., :3])[..., 0], quaternion[..., 3])
    return angles


def _aflw2000_angles(matrices: Tensor) -> Tensor:
    # The transpose is read as extrinsic x, y, z angles (a, b, c): pitch a, yaw -b, roll -c.
    xp = array_module(matrices)
    m = xp.swapaxes(matrices, -1, -2)
    sine = -m[..., 2, 0]
    cosine = xp.hypot(m[..., 0, 0], m[..., 1, 0])
    b = xp.arctan2(sine, cosine)
    # Looking along the y axis a and c turn about one axis: c is set to zero, as SciPy does.
    locked = cosine < 1e-7
    a = xp.where(
        locked, xp.arctan2(-m[..., 1, 2], m[..., 1, 1]), xp.arctan2(m[..., 2, 1], m[..., 2, 2])
    )
    c = xp.where(locked, xp.zeros_like(a), xp.arctan2(m[..., 1, 0], m[..., 0, 0]))
    return stacked([a, -b, -c])


def _aflw2000_matrices(angles: Tensor) -> Tensor:
    about_x, about_y, about_z = -angles[..., 0], angles[..., 1], angles[..., 2]
    zero = array_module(angles).zeros_like(about_x)
    matrices: Tensor = (
        rotvec_to_matrix(stacked([about_x, zero, zero]))
        @ rotvec_to_matrix(stacked([zero, about_y, zero]))
        @ rotvec_to_matrix(stacked([zero, zero, about_z]))
    )
    return matrices


# Name -> angles of matrices, and back; radians.
EULER_CONVENTIONS = {"aflw2000": (_aflw2000_angles, _aflw2000_matrices)}


def _check_convention(convention: str) -> None:
    if convention not in EULER_CONVENTIONS:
        raise ValueError(f"convention must be one of {sorted(EULER_CONVENTIONS)}: {convention!r}")


@arrays_or_tensors(1)
def _euler_degrees(matrices: Tensor, convention: str) -> Tensor:
    return EULER_CONVENTIONS[convention][0](matrices) * (180 / math.pi)


@arrays_or_tensors(1)
def _matrices_of_degrees(angles_deg: Tensor, convention: str) -> Tensor:
    return EULER_CONVENTIONS[convention][1](angles_deg * (math.pi / 180))


@arrays_or_tensors(1)
def _rotation_of_pose(poses: Tensor) -> Tensor:
    rotations: Tensor = rotvec_to_matrix(poses[..., :3])
    return rotations


def pose_to_euler(poses: object, convention: str = "aflw2000") -> object:
    """Poses to Euler angles of a named convention.

    Args:
        poses: (..., 6); only the rotation vector is read.
        convention: `aflw2000`: with (a, b, c) the extrinsic x, y, z angles of the transposed
            rotation, pitch = a, yaw = -b, roll = -c (300W-LP, AFLW2000-3D, BIWI evaluation).

    Returns:
        (..., 3) pitch, yaw, roll in degrees.

    Raises:
        ValueError: The convention is not known.
    """
    _check_convention(convention)
    return _euler_degrees(_rotation_of_pose(poses), convention)


def euler_to_matrix(angles_deg: object, convention: str = "aflw2000") -> object:
    """Euler angles of a named convention to rotation matrices; the inverse of `pose_to_euler`.

    Args:
        angles_deg: (..., 3) pitch, yaw, roll in degrees.
        convention: See `pose_to_euler`.

    Returns:
        (..., 3, 3) rotations of faces in the camera.

    Raises:
        ValueError: The convention is not known.
    """
    _check_convention(convention)
    return _matrices_of_degrees(angles_deg, convention)
