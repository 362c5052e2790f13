"""Poses re-expressed: from an image's camera to a box's and back, to another crop, mirrored.

A pose is (rx, ry, rz, tx, ty, tz): a rotation vector in radians and a translation in units of the
reference face, X_camera = R X_face + t.

Moving the principal point multiplies R and t by K_to^-1 K_from = I + u e_z^T, a shear with
u = (shift / focal, 0). The rotation nearest to that shear has a closed form, since the shear acts
only in the plane of u and e_z: it turns that plane by atan(|u| / 2). So no SVD is needed, the
gradient is smooth, and the way back is the exact inverse.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from img2pose.geometry.arrays import array_module, arrays_or_tensors, constant_like, joined, stacked
from img2pose.geometry.camera import box_centers
from img2pose.geometry.rotation import (
    matrix_to_rotvec,
    multiply_quaternions,
    quaternion_to_rotvec,
    rotvec_to_matrix,
    rotvec_to_quaternion,
)

if TYPE_CHECKING:
    from torch import Tensor


def _shear_rotation(shift_xy: Tensor) -> Tensor:
    """The rotation nearest to I + (x, y, 0) e_z^T in the Frobenius norm: a quaternion (..., 4)."""
    # It turns e_z towards (x, y, 0) by the angle a with tan(a) = |(x, y)| / 2.
    xp = array_module(shift_xy)
    x, y = shift_xy[..., 0], shift_xy[..., 1]
    root = xp.sqrt(4 + x * x + y * y)
    half_cosine = xp.sqrt(0.5 + 1 / root)
    half_sine = 0.5 / (root * half_cosine)
    return stacked([-y * half_sine, x * half_sine, xp.zeros_like(x), half_cosine])


def _shift_in_focal_units(intrinsics: Tensor, from_xy: Tensor, to_xy: Tensor) -> Tensor:
    """(..., 2) the u of K_to^-1 K_from for cameras that differ in their principal points only."""
    delta = from_xy - to_xy
    y = delta[..., 1] / intrinsics[..., 1, 1]
    x = (delta[..., 0] - intrinsics[..., 0, 1] * y) / intrinsics[..., 0, 0]
    return stacked([x, y])


def _turn(rotation: Tensor, rotvecs: Tensor) -> Tensor:
    """Rotation vectors (..., 3) followed by the rotation of a quaternion (..., 4)."""
    both = multiply_quaternions(rotation, rotvec_to_quaternion(rotvecs))
    turned: Tensor = quaternion_to_rotvec(both)
    return turned


def _move_principal_point(poses: Tensor, shift_xy: Tensor) -> Tensor:
    rotvecs = _turn(_shear_rotation(shift_xy), poses[..., :3])
    depth = poses[..., 5:]
    return joined([rotvecs, poses[..., 3:5] + shift_xy * depth, depth])


def _scale_depth(poses: Tensor, factor: Tensor) -> Tensor:
    return joined([poses[..., :5], poses[..., 5:] * factor[..., None]])


def _focal(intrinsics: Tensor) -> Tensor:
    # A box's camera has one focal length; a camera with two lends it their mean.
    return (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2


def _box_principal_points(boxes_xyxy: Tensor, whole_pixel_centers: bool) -> Tensor:
    centers: Tensor = box_centers(boxes_xyxy)
    if not whole_pixel_centers:
        return centers
    whole: Tensor = array_module(centers).trunc(centers)
    return whole


def _box_focals(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).sum(-1)


@arrays_or_tensors(3)
def pose_image_to_box(
    poses: Tensor, boxes: Tensor, intrinsics: Tensor, *, whole_pixel_centers: bool = False
) -> Tensor:
    """Poses in the image's camera to poses in the cameras of boxes.

    Args:
        poses: (N, 6) in the image's camera.
        boxes: (N, 4) left, top, right, bottom in pixels of the image, with an area.
        intrinsics: (3, 3) or (N, 3, 3), pixels.
        whole_pixel_centers: Truncate the box centres, as the published code does at inference.

    Returns:
        (N, 6) in the boxes' cameras (focal length box width + height, centre of the box).

    Source: Albiero et al., CVPR 2021, section 3.2; the nearest rotation in closed form.
    """
    centers = _box_principal_points(boxes, whole_pixel_centers)
    shift = _shift_in_focal_units(intrinsics, intrinsics[..., :2, 2], centers)
    moved = _move_principal_point(poses, shift)
    return _scale_depth(moved, _box_focals(boxes) / _focal(intrinsics))


@arrays_or_tensors(3)
def pose_box_to_image(
    poses: Tensor, boxes: Tensor, intrinsics: Tensor, *, whole_pixel_centers: bool = False
) -> Tensor:
    """The exact inverse of `pose_image_to_box`.

    Args:
        poses: (N, 6) in the boxes' cameras.
        boxes: (N, 4) left, top, right, bottom in pixels of the image, with an area.
        intrinsics: (3, 3) or (N, 3, 3), pixels.
        whole_pixel_centers: Truncate the box centres, as the published code does at inference.

    Returns:
        (N, 6) in the image's camera.
    """
    centers = _box_principal_points(boxes, whole_pixel_centers)
    scaled = _scale_depth(poses, _focal(intrinsics) / _box_focals(boxes))
    shift = _shift_in_focal_units(intrinsics, centers, intrinsics[..., :2, 2])
    return _move_principal_point(scaled, shift)


@arrays_or_tensors(4)
def transform_poses(
    poses: Tensor, similarity: Tensor, intrinsics_from: Tensor, intrinsics_to: Tensor
) -> Tensor:
    """Poses after the picture was cropped, resized or turned: the new picture is a new camera.

    What a face looks like from its own centre stays as it is, turned with the picture; its
    direction and distance follow from the new camera.

    Args:
        poses: (N, 6), in front of the camera.
        similarity: (2, 3) or (N, 2, 3) map of pixel coordinates from the old picture to the new
            one: a rotation in the plane, a scale and a shift, without mirroring. Where the two
            scales differ by rounding, the nearest similarity is meant.
        intrinsics_from: (3, 3) or (N, 3, 3) of the old picture.
        intrinsics_to: (3, 3) or (N, 3, 3) of the new one.

    Returns:
        (N, 6) in the new picture's camera.
    """
    xp = array_module(poses)
    linear, offset = similarity[..., :2], similarity[..., 2]
    scale = xp.sqrt(xp.linalg.det(linear))
    direction = poses[..., 3:5] / poses[..., 5:]
    centers = _apply(intrinsics_from[..., :2, :2], direction) + intrinsics_from[..., :2, 2]
    facing = _move_principal_point(poses, -direction)
    cosine = (linear[..., 0, 0] + linear[..., 1, 1]) / 2
    sine = (linear[..., 1, 0] - linear[..., 0, 1]) / 2
    turn = rotvec_to_quaternion(axis_angle_z(xp.arctan2(sine, cosine)))
    rotvecs = _turn(turn, facing[..., :3])
    depths = facing[..., 5] * _focal(intrinsics_to) / (_focal(intrinsics_from) * scale)
    facing = joined([rotvecs, facing[..., 3:5], depths[..., None]])
    moved = _apply(linear, centers) + offset
    return _move_principal_point(
        facing, _shift_in_focal_units(intrinsics_to, moved, intrinsics_to[..., :2, 2])
    )


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors[..., None])[..., 0]


def axis_angle_z(angles: Tensor) -> Tensor:
    """Rotation vectors (..., 3) about the viewing axis."""
    zero = array_module(angles).zeros_like(angles)
    return stacked([zero, zero, angles])


def mirror_plane(points_68: np.ndarray) -> tuple[np.ndarray, float]:
    """The plane of symmetry of a reference face.

    Args:
        points_68: (68, 3) in iBUG's order.

    Returns:
        Unit normal (3,), pointing along +x, and offset: points of the plane have n . X = offset.
    """
    pairs = MIRROR_ORDER_68
    difference = points_68[pairs] - points_68
    outer = difference.T @ difference
    normal = np.linalg.eigh(outer)[1][:, -1]
    normal = normal * np.sign(normal[0])
    offset = float((points_68 + points_68[pairs]).mean(0) @ normal / 2)
    return normal, offset


# Where each of iBUG's 68 points goes when the picture is mirrored.
MIRROR_ORDER_68 = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)

# The same of five: eye, eye, nose, mouth corner, mouth corner.
MIRROR_ORDER_5 = np.array([1, 0, 2, 4, 3])


@arrays_or_tensors(2)
def mirror_poses(poses: Tensor, normal: Tensor, offset: float) -> Tensor:
    """Poses in the mirrored picture, whose camera is the mirrored camera.

    Args:
        poses: (N, 6).
        normal: (3,) unit normal of the reference face's plane of symmetry (`mirror_plane`).
        offset: Its distance from the origin, reference units.

    Returns:
        (N, 6). With the normal on the x axis this negates ry, rz and tx.

    Differs: the published code always negates ry, rz and tx, although the plane of symmetry of its
    reference face is tilted; mirrored labels are then off by twice the tilt.
    """
    flip = constant_like(np.diag([-1.0, 1.0, 1.0]), poses)
    identity = constant_like(np.eye(3), poses)
    reflection = identity - 2 * normal[:, None] * normal
    rotation = rotvec_to_matrix(poses[..., :3])
    shifted = poses[..., 3:] + 2 * offset * (rotation @ normal)
    return joined([matrix_to_rotvec(flip @ rotation @ reflection), shifted @ flip])


def in_plane_rotation(angle_deg: float, scale: float = 1.0) -> np.ndarray:
    """(2, 2) float64 matrix that turns pixels clockwise in the picture and scales them."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return scale * np.array([[cosine, -sine], [sine, cosine]])
