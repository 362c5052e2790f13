"""Pose labels: the reference face fitted to annotated landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from img2pose.data.annotations import Annotation
from img2pose.geometry import (
    euler_to_matrix,
    image_intrinsics,
    matrix_to_rotvec,
    pose_box_to_image,
    pose_image_to_box,
    solve_pose,
)
from img2pose.references import PoseReferences

PoseCamera = Literal["box", "image"]
POSE_CAMERAS: tuple[PoseCamera, ...] = get_args(PoseCamera)

PoseLabels = Literal["exact", "fitted"]
POSE_LABELS: tuple[PoseLabels, ...] = get_args(PoseLabels)

NO_POSE = -9.0
"""All six numbers of both poses of a face whose pose is not known."""

MIN_LANDMARK_SPREAD = 1.0
"""Pixels; landmarks closer to each other than this tell nothing of a pose."""


@dataclass(frozen=True, eq=False)
class ImageLabels:
    """Pose labels of one image's faces.

    Attributes:
        poses_in_image: (N, 6) float64; rotation vector (radians) and translation (reference
            units) in the image's camera; six times -9 where the pose is not known.
        boxes_xyxy: (N, 4) float64, the annotated boxes truncated to whole pixels.
        poses_in_box: (N, 6) float64, the same poses in the cameras of the boxes.
        landmarks: N arrays (P, 2) float64, pixels of the image.
        without_area: Faces left out because their truncated box has no area.
        without_fit: Faces among the N whose landmarks are known but which no pose in front of
            the camera fits; they have no pose.
    """

    poses_in_image: np.ndarray
    boxes_xyxy: np.ndarray
    poses_in_box: np.ndarray
    landmarks: tuple[np.ndarray, ...]
    without_area: int
    without_fit: int


def has_pose(poses: np.ndarray) -> np.ndarray:
    """(N,) bool: which of (N, 6) labels are poses, not the mark of a face without one."""
    known: np.ndarray = ~(poses == NO_POSE).all(axis=-1)
    return known


def solve_pose_in_box(points_3d: np.ndarray, landmarks: np.ndarray, box: np.ndarray) -> np.ndarray:
    """EPnP in the camera of a box of whole pixels, with the published single precision.

    `solve_pose` is not used: it fits in float64, and with five points this fit is so badly
    conditioned that the precision of the landmarks alone moves labels by up to 0.13.

    Args:
        points_3d: (P, 3) reference points.
        landmarks: (P, 2) pixels of the image.
        box: (4,) left, top, right, bottom in whole pixels, with an area.

    Returns:
        (6,) float64, the pose in the box's camera.

    Raises:
        ValueError: No pose fits.
    """
    width, height = box[2:] - box[:2]
    relative = np.ascontiguousarray(landmarks - box[:2], dtype=np.float32)
    # The same camera as `box_intrinsics`, with the box's corner as the origin of pixels.
    try:
        found, rotvec, translation = cv2.solvePnP(
            np.ascontiguousarray(points_3d),
            relative,
            image_intrinsics(int(height), int(width)),
            None,
            flags=cv2.SOLVEPNP_EPNP,
        )
    except cv2.error as error:
        raise ValueError("no pose fits the points") from error
    if not found:
        raise ValueError("no pose fits the points")
    return np.concatenate([rotvec.ravel(), translation.ravel()]).astype(np.float64)


def _fit_face(
    points_3d: np.ndarray,
    landmarks: np.ndarray,
    box: np.ndarray,
    intrinsics: np.ndarray,
    pose_camera: PoseCamera,
    head_angles: np.ndarray | None,
) -> np.ndarray | None:
    """(2, 6): the pose in the image and in the box; None where no usable pose fits."""
    if np.ptp(landmarks, axis=0).max() < MIN_LANDMARK_SPREAD:
        return None
    # Points on a line can make the fit blow up: that is an answer.
    with np.errstate(all="ignore"):
        try:
            if pose_camera == "box" and head_angles is None:
                in_box = solve_pose_in_box(points_3d, landmarks, box)
                in_image = pose_box_to_image(in_box[None], box[None], intrinsics)[0]
            else:
                in_image = solve_pose(points_3d, landmarks, intrinsics)
                if head_angles is not None:
                    in_image[:3] = matrix_to_rotvec(euler_to_matrix(np.rad2deg(head_angles)))
                in_box = pose_image_to_box(in_image[None], box[None], intrinsics)[0]
        except ValueError:
            return None
    poses = np.stack([in_image, in_box])
    usable = np.isfinite(poses).all() and (poses[:, 5] > 0).all()
    return poses if usable else None


def _carried(
    pose_in_image: np.ndarray, box: np.ndarray, intrinsics: np.ndarray
) -> np.ndarray | None:
    """(2, 6): a pose that is known without a fit, in the image and in the box."""
    in_box = pose_image_to_box(pose_in_image[None], box[None], intrinsics)[0]
    poses = np.stack([pose_in_image, in_box])
    return poses if np.isfinite(poses).all() and (poses[:, 5] > 0).all() else None


def fit_labels(
    annotation: Annotation,
    size_hw: tuple[int, int],
    references: PoseReferences,
    pose_camera: PoseCamera = "box",
    pose_labels: PoseLabels = "exact",
) -> ImageLabels:
    """Fits a pose to each face of an image whose landmarks are known and whose pose is not.

    Args:
        annotation: Boxes and landmarks.
        size_hw: Height and width of the image in pixels.
        references: Reference points that the poses refer to.
        pose_camera: Camera of the fit. "box": the annotated box's, as published, in single
            precision; "image": the image's in double precision, which describes the landmarks
            better. A face with head angles is fitted in the image's, as published, and its
            rotation is then the one that they give.
        pose_labels: "exact": a pose that the annotation carries is the label, whatever the
            landmarks are; other faces are fitted. "fitted": all faces are fitted.

    Returns:
        Labels of the faces in order, without those whose box has no area.

    Raises:
        ValueError: `pose_camera` or `pose_labels` is none of these.

    Source: EPnP, Lepetit, Moreno-Noguer and Fua, IJCV 2009, as Albiero et al., CVPR 2021, use it.
    Differs: a fit that fails or lies behind the camera marks the face as one without pose.
    """
    if pose_camera not in POSE_CAMERAS:
        raise ValueError(f"pose_camera must be one of {POSE_CAMERAS}, not {pose_camera!r}")
    if pose_labels not in POSE_LABELS:
        raise ValueError(f"pose_labels must be one of {POSE_LABELS}, not {pose_labels!r}")
    intrinsics = image_intrinsics(*size_hw)
    boxes = np.trunc(annotation.boxes_xyxy)
    keep = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    boxes = boxes[keep]
    landmarks = tuple(annotation.landmarks[face] for face in keep)
    carried = [annotation.poses[face] if pose_labels == "exact" else None for face in keep]
    is_carried = np.array([pose is not None for pose in carried], dtype=bool)
    known = annotation.has_landmarks[keep] | is_carried
    poses = np.full((len(keep), 2, 6), NO_POSE)
    without_fit = 0
    for face in np.flatnonzero(known):
        pose = carried[face]
        if pose is not None:
            posed = _carried(pose, boxes[face], intrinsics)
            without_fit += posed is None
            poses[face] = NO_POSE if posed is None else posed
            continue
        points_3d = references.points_68 if len(landmarks[face]) == 68 else references.points_5
        fitted = _fit_face(
            points_3d,
            landmarks[face],
            boxes[face],
            intrinsics,
            pose_camera,
            annotation.head_angles[keep[face]],
        )
        if fitted is None:
            without_fit += 1
        else:
            poses[face] = fitted
    return ImageLabels(
        poses_in_image=poses[:, 0],
        boxes_xyxy=boxes,
        poses_in_box=poses[:, 1],
        landmarks=landmarks,
        without_area=len(annotation) - len(keep),
        without_fit=without_fit,
    )
