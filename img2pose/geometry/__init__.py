"""Batched geometry of faces and cameras: arrays in -> arrays out, tensors in -> tensors out.

Cameras look along +z with x to the right and y down, angles are radians unless the name says
degrees, translations are in reference units.
"""

from img2pose.geometry.boxes import boxes_from_points, pairwise_iou
from img2pose.geometry.camera import (
    box_centers,
    box_intrinsics,
    image_intrinsics,
    intrinsics_from_35mm,
    project_points,
)
from img2pose.geometry.lens import distort_points, undistort_picture, undistort_points
from img2pose.geometry.pnp import solve_pose
from img2pose.geometry.pose import (
    MIRROR_ORDER_5,
    MIRROR_ORDER_68,
    in_plane_rotation,
    mirror_plane,
    mirror_poses,
    pose_box_to_image,
    pose_image_to_box,
    transform_poses,
)
from img2pose.geometry.rotation import (
    euler_to_matrix,
    geodesic_angle,
    matrix_to_quaternion,
    matrix_to_rotvec,
    multiply_quaternions,
    pose_to_euler,
    quaternion_to_rotvec,
    rotvec_to_matrix,
    rotvec_to_quaternion,
)

__all__ = [
    "MIRROR_ORDER_5",
    "MIRROR_ORDER_68",
    "box_centers",
    "box_intrinsics",
    "boxes_from_points",
    "distort_points",
    "euler_to_matrix",
    "geodesic_angle",
    "image_intrinsics",
    "in_plane_rotation",
    "intrinsics_from_35mm",
    "matrix_to_quaternion",
    "matrix_to_rotvec",
    "mirror_plane",
    "mirror_poses",
    "multiply_quaternions",
    "pairwise_iou",
    "pose_box_to_image",
    "pose_image_to_box",
    "pose_to_euler",
    "project_points",
    "quaternion_to_rotvec",
    "rotvec_to_matrix",
    "rotvec_to_quaternion",
    "solve_pose",
    "transform_poses",
    "undistort_picture",
    "undistort_points",
]
