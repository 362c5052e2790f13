"""The 68 points of iBUG's scheme with the lines that join them."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.references import FaceMesh, PoseReferences
from img2pose.visualization.primitives import (
    LANDMARK_COLOR,
    OUTLINE_COLOR,
    Color,
    draw_dots,
    draw_line,
    line_width,
)
from img2pose.visualization.scene import FaceScene

IBUG_STROKES: dict[str, tuple[int, ...]] = {
    "jaw": tuple(range(17)),
    "brow_left": tuple(range(17, 22)),
    "brow_right": tuple(range(22, 27)),
    "nose_bridge": tuple(range(27, 31)),
    "nose_base": tuple(range(31, 36)),
    "eye_left": (*range(36, 42), 36),
    "eye_right": (*range(42, 48), 42),
    "lip_outer": (*range(48, 60), 48),
    "lip_inner": (*range(60, 68), 60),
}
"""Points in the order of each line; left and right are the picture's."""

STROKE_ENDS = np.array([pair for stroke in IBUG_STROKES.values() for pair in pairwise(stroke)])
"""(63, 2) the two points of each straight piece."""

POINT_COLOR: Color = (255, 255, 255)
Hidden = Literal["dim", "leave_out", "show"]
_DIM_OPACITY = 0.35


def draw_landmarks(
    image: np.ndarray,
    detections: FaceDetections,
    references: PoseReferences,
    mesh: FaceMesh | None = None,
    *,
    hidden: Hidden = "dim",
    color: Color = LANDMARK_COLOR,
) -> np.ndarray:
    """Draws the 68 points of each face and iBUG's lines between them.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        references: The reference face of the poses.
        mesh: What hides points; None: the face of `default_mesh`, which fits the default
            references only.
        hidden: What becomes of points behind a face, their own or another, and of lines to them:
            drawn faintly, left out, or drawn like the others.
        color: RGB of the lines.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    scene = FaceScene.of(detections, mesh)
    if not len(scene):
        return picture
    points = scene.place(references.points_68)
    projected = scene.project(points)
    shown = np.isfinite(projected).all(axis=-1)
    visible = shown if hidden == "show" else scene.is_visible(points)
    farthest_first = np.argsort(-scene.translations[:, 2], kind="stable")
    if hidden == "dim":
        faint = picture.copy()
        for face in farthest_first:
            _draw_face(faint, projected[face], shown[face], color)
        picture = _blend(picture, faint, _DIM_OPACITY)
    for face in farthest_first:
        _draw_face(picture, projected[face], visible[face], color)
    return picture


def _blend(below: np.ndarray, above: np.ndarray, opacity: float) -> np.ndarray:
    mixed: np.ndarray = (below * (1 - opacity) + above * opacity).round().astype(np.uint8)
    return mixed


def _draw_face(picture: np.ndarray, points: np.ndarray, drawn: np.ndarray, color: Color) -> None:
    """Draws the points (68, 2) that `drawn` (68,) names and the lines between two of them."""
    extent = float(np.ptp(points[drawn], axis=0).max()) if drawn.any() else 0.0
    width = max(1, min(line_width(picture.shape), round(extent / 60)))
    pieces = STROKE_ENDS[drawn[STROKE_ENDS].all(axis=1)]
    # Outlines would drown small faces.
    layers = [(OUTLINE_COLOR, width + 2)] if extent > 90 else []
    for layer_color, layer_width in (*layers, (color, width)):
        for start, end in points[pieces]:
            draw_line(picture, start, end, layer_color, layer_width)
    draw_dots(picture, points[drawn], POINT_COLOR, max(0.8, 0.009 * extent))
