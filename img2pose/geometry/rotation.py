"""Rotations: vectors (axis times angle, radians), 3x3 matrices, quaternions, named Euler angles.

Every function takes any batch shape, is differentiable everywhere it is continuous (at the
identity and near pi too), and returns what it was given: arrays for arrays, tensors for tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from img2pose.geometry.arrays import arrays_or_tensors


def _sinc(angles: Tensor) -> Tensor:
    """sin(a) / a, and its gradient, at zero too: torch's has the limits there."""
    return torch.sinc(angles * (1 / math.pi))


@arrays_or_tensors(1)
def rotvec_to_matrix(rotvecs: Tensor) -> Tensor:
    """Rotation vectors to matrices (through quaternions).

    Args:
        rotvecs: (..., 3) axis times angle in radians.

    Returns:
        (..., 3, 3) rotation matrices.
    """
    quaternions = rotvec_to_quaternion(rotvecs)
    imaginary, real = quaternions[..., :3], quaternions[..., 3:, None]
    column, row = imaginary[..., None], imaginary[..., None, :]
    identity = torch.eye(3, dtype=rotvecs.dtype, device=rotvecs.device)
    identity = identity.expand(*rotvecs.shape, 3)
    doubled = column + column
    along = (1 - (doubled * column).sum(-2, keepdim=True)) * identity
    matrices: Tensor = along + doubled * row + real * torch.linalg.cross(doubled, identity, dim=-2)
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
    m = matrices
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    trace = xx + yy + zz
    largest = torch.stack([xx, yy, zz, trace], -1).detach().argmax(-1)
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
    candidates = torch.stack(
        [
            torch.stack([1 + 2 * xx - trace, xy, xz, wx], -1),
            torch.stack([xy, 1 + 2 * yy - trace, yz, wy], -1),
            torch.stack([xz, yz, 1 + 2 * zz - trace, wz], -1),
            torch.stack([wx, wy, wz, 1 + trace], -1),
        ],
        -2,
    )
    index = largest[..., None, None].expand(*largest.shape, 1, 4)
    quaternion = candidates.gather(-2, index).squeeze(-2)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


@arrays_or_tensors(1)
def quaternion_to_rotvec(quaternions: Tensor) -> Tensor:
    """Unit quaternions (x, y, z, w) to rotation vectors of at most pi.

    Args:
        quaternions: (..., 4), either sign.

    Returns:
        (..., 3) axis times angle in radians.
    """
    quaternions = torch.where(quaternions[..., 3:] < 0, -quaternions, quaternions)
    imaginary, real = quaternions[..., :3], quaternions[..., 3:]
    half_angle = torch.atan2(torch.linalg.vector_norm(imaginary, dim=-1, keepdim=True), real)
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
    half_angle = torch.linalg.vector_norm(rotvecs, dim=-1, keepdim=True) * 0.5
    return torch.cat([rotvecs * (0.5 * _sinc(half_angle)), half_angle.cos()], -1)


@arrays_or_tensors(2)
def multiply_quaternions(first: Tensor, second: Tensor) -> Tensor:
    """The rotation `second` followed by `first`, as their matrices' product is.

    Args:
        first: (..., 4) as (x, y, z, w).
        second: (..., 4), broadcast against the first.

    Returns:
        (..., 4).
    """
    first, second = torch.broadcast_tensors(first, second)  # type: ignore[no-untyped-call]
    v1, w1, v2, w2 = first[..., :3], first[..., 3:], second[..., :3], second[..., 3:]
    imaginary = w1 * v2 + w2 * v1 + torch.linalg.cross(v1, v2)
    real = w1 * w2 - (v1 * v2).sum(-1, keepdim=True)
    return torch.cat([imaginary, real], -1)


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
    quaternion = matrix_to_quaternion(matrices_a.mT @ matrices_b)
    return 2 * torch.atan2(quaternion[..., :3].norm(dim=-1), quaternion[..., 3])


def _aflw2000_angles(matrices: Tensor) -> Tensor:
    # The transpose is read as extrinsic x, y, z angles (a, b, c): pitch a, yaw -b, roll -c.
    m = matrices.mT
    sine = -m[..., 2, 0]
    cosine = torch.hypot(m[..., 0, 0], m[..., 1, 0])
    b = torch.atan2(sine, cosine)
    # Looking along the y axis a and c turn about one axis: c is set to zero, as SciPy does.
    locked = cosine < 1e-7
    a = torch.where(
        locked, torch.atan2(-m[..., 1, 2], m[..., 1, 1]), torch.atan2(m[..., 2, 1], m[..., 2, 2])
    )
    c = torch.where(locked, torch.zeros_like(a), torch.atan2(m[..., 1, 0], m[..., 0, 0]))
    return torch.stack([a, -b, -c], -1)


def _aflw2000_matrices(angles: Tensor) -> Tensor:
    about_x, about_y, about_z = (angles * angles.new_tensor([-1.0, 1.0, 1.0])).unbind(-1)
    zero = torch.zeros_like(about_x)
    matrices: Tensor = (
        rotvec_to_matrix(torch.stack([about_x, zero, zero], -1))
        @ rotvec_to_matrix(torch.stack([zero, about_y, zero], -1))
        @ rotvec_to_matrix(torch.stack([zero, zero, about_z], -1))
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
    return rotvec_to_matrix(poses[..., :3])  # type: ignore[no-any-return]


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
