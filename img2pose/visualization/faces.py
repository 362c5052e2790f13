"""Boxes, scores, axes and landmarks of faces, as lines and dots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.geometry import project_points
from img2pose.references import PoseReferences
from img2pose.visualization.primitives import (
    BLUE,
    BOX_COLOR,
    GREEN,
    LANDMARK_COLOR,
    OUTLINE_COLOR,
    RED,
    TRUTH_COLOR,
    Color,
    draw_dots,
    draw_label,
    draw_line,
    draw_rectangle,
    font_size_for,
    line_width,
)

# Reference units; what lies nearer to the camera's plane is not drawn.
_MIN_DEPTH = 1e-3


def _draw_axes(
    picture: np.ndarray, pose: np.ndarray, intrinsics: np.ndarray, length: float, width: int
) -> None:
    ends_in_face = length * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, -1]], np.float64)
    origin, *tips = project_points(ends_in_face, pose[None], intrinsics)[0]
    if not np.isfinite([origin, *tips]).all():
        return
    # The axis that points at the viewer lies over the others.
    for tip, color in zip(tips, (RED, GREEN, BLUE), strict=True):
        draw_line(picture, origin, tip, OUTLINE_COLOR, width + 2)
        draw_line(picture, origin, tip, color, width)
        draw_dots(picture, tip[None], color, 1.2 * width)


def _is_drawable(detections: FaceDetections, length: float) -> np.ndarray:
    in_front: np.ndarray = detections.poses[:, 5] > length + _MIN_DEPTH
    in_front &= np.isfinite(detections.poses).all(-1) & np.isfinite(detections.boxes).all(-1)
    return in_front


def draw_faces(
    image: np.ndarray,
    detections: FaceDetections,
    references: PoseReferences,
    *,
    axes: bool = True,
    boxes: bool = True,
    scores: bool = True,
    landmarks: bool = False,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Draws faces, the farther ones first, so that nearer ones lie over them.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        references: The reference face of the poses.
        axes: The face's own axes from its origin (in the middle of the head), each half as long as
            the face is wide: x red, toward the picture's right in a frontal face; y green, toward
            the chin; -z blue, out of the face toward where it looks (+z points into the head).
        boxes: The faces' boxes.
        scores: Each score, with two digits, over its box.
        landmarks: The 68 reference points projected with the pose.
        labels: Text of each face in place of its score.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    length = float(np.ptp(references.points_68[:, 0])) / 2
    width = line_width(picture.shape)
    drawable = _is_drawable(detections, length)
    for face in np.argsort(-detections.poses[:, 5], kind="stable"):
        pose, box = detections.poses[face], detections.boxes[face]
        if not drawable[face]:
            continue
        face_size = float((box[2:] - box[:2]).mean())
        # Lines thinner than a thirtieth of the face leave small faces visible.
        face_width = max(1, min(width, round(face_size / 30)))
        if boxes:
            draw_rectangle(picture, box, BOX_COLOR, face_width)
        if landmarks:
            points = project_points(references.points_68, pose[None], detections.intrinsics)[0]
            draw_dots(picture, points, LANDMARK_COLOR, max(1.0, 0.008 * face_size))
        if axes:
            _draw_axes(picture, pose, detections.intrinsics, length, face_width)
        if scores:
            font_size = font_size_for(picture.shape, face_size)
            text = f"{detections.scores[face]:.2f}" if labels is None else labels[face]
            draw_label(picture, text, box, font_size, BOX_COLOR)
    return picture


def draw_boxes(image: np.ndarray, boxes_xyxy: np.ndarray, color: Color = BOX_COLOR) -> np.ndarray:
    """Draws boxes.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4) pixels; those that are not finite are left out.
        color: RGB.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    width = line_width(picture.shape)
    for box in boxes_xyxy[np.isfinite(boxes_xyxy).all(-1)]:
        face_size = float((box[2:] - box[:2]).mean())
        draw_rectangle(picture, box, color, max(1, min(width, round(face_size / 30))))
    return picture


def draw_points(
    image: np.ndarray,
    points: np.ndarray,
    color: Color = TRUTH_COLOR,
    radius: float | None = None,
) -> np.ndarray:
    """Draws dots.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (..., 2) pixels; those that are not finite are left out.
        color: RGB.
        radius: Pixels; by default it grows with the extent of the points, such as a face's.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    flat = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    flat = flat[np.isfinite(flat).all(-1)]
    if len(flat):
        extent = float(np.ptp(flat, axis=0).max())
        draw_dots(picture, flat, color, max(1.0, 0.008 * extent) if radius is None else radius)
    return picture
