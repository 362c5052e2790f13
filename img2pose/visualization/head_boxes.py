"""Boxes in space around heads, which show where they look."""

from __future__ import annotations

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.references import PoseReferences, default_mesh
from img2pose.visualization.primitives import (
    OUTLINE_COLOR,
    Color,
    draw_line,
    fill_polygon,
    line_width,
)
from img2pose.visualization.scene import NEAR, FaceScene

FRONT_COLOR: Color = (255, 214, 10)
SIDE_COLOR: Color = (235, 120, 30)
_FILL_OPACITY = 0.18

# Corner k has the low or high x, y, z by the bits 1, 2, 4 of k; the front is the low z.
_FRONT = np.array([0, 1, 3, 2])
_BACK = _FRONT + 4
_FRONT_EDGES = np.stack([_FRONT, np.roll(_FRONT, -1)], axis=1)
_BACK_EDGES = _FRONT_EDGES + 4
_SIDE_EDGES = np.stack([_FRONT, _BACK], axis=1)


def head_box(references: PoseReferences) -> np.ndarray:
    """(8, 3) corners of a box from chin to crown and from the nose to the back of the head.

    Args:
        references: Its 68 points set the box's scale and place: the default head's box is scaled
            and shifted as its points are to these.
    """
    own, given = PoseReferences.default().points_68, references.points_68
    vertices = default_mesh().vertices
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    # The mesh reaches down the neck.
    high[1] = own[:, 1].max()
    scale = np.ptp(given, axis=0) / np.ptp(own, axis=0)
    low, high = ((side - own.min(axis=0)) * scale + given.min(axis=0) for side in (low, high))
    bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
    corners: np.ndarray = np.where(bits, high, low)
    return corners


def _in_front(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of segments (E, 3) that lie beyond the near plane."""
    swap = starts[:, 2] < ends[:, 2]
    far = np.where(swap[:, None], ends, starts)
    near = np.where(swap[:, None], starts, ends)
    far, near = far[far[:, 2] > 2 * NEAR], near[far[:, 2] > 2 * NEAR]
    span = np.maximum(far[:, 2] - near[:, 2], NEAR)
    share = np.clip((2 * NEAR - near[:, 2]) / span, 0, 1)[:, None]
    return far, near + share * (far - near)


def draw_pose_boxes(
    image: np.ndarray, detections: FaceDetections, references: PoseReferences
) -> np.ndarray:
    """Draws a box in space around each head, the farther ones first; the face's side is filled.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: Faces in pixels and camera of this image.
        references: The reference face of the poses.

    Returns:
        A new picture (H, W, 3).
    """
    picture = np.ascontiguousarray(image).copy()
    scene = FaceScene.of(detections)
    if not len(scene):
        return picture
    boxes = scene.place(head_box(references))
    focal = (scene.intrinsics[0, 0] + scene.intrinsics[1, 1]) / 2
    for face in np.argsort(-scene.translations[:, 2], kind="stable"):
        corners = boxes[face]
        pixels = focal * np.linalg.norm(corners[1] - corners[0]) / scene.translations[face, 2]
        width = max(1, min(line_width(picture.shape), round(pixels / 40)))
        center = corners.mean(axis=0)
        normal = corners[_FRONT].mean(axis=0) - center
        front_seen = -normal @ corners[_FRONT].mean(axis=0) > 0
        groups = [
            (_BACK_EDGES, SIDE_COLOR, max(1, width // 2)),
            (_SIDE_EDGES, SIDE_COLOR, width),
            (_FRONT_EDGES, FRONT_COLOR, width + 1),
        ]
        # What is nearer lies over the rest.
        for edges, color, own_width in groups if front_seen else groups[::-1]:
            if edges is _FRONT_EDGES:
                quad = scene.project(corners[_FRONT])
                if np.isfinite(quad).all():
                    fill_polygon(picture, quad, color, _FILL_OPACITY)
            starts, ends = map(scene.project, _in_front(*corners[edges.T]))
            # Outlined, the lines of the back would be as strong as those of the front.
            layers = [(OUTLINE_COLOR, own_width + 2)] if edges is _FRONT_EDGES else []
            for layer_color, layer_width in (*layers, (color, own_width)):
                for start, end in zip(starts, ends, strict=True):
                    draw_line(picture, start, end, layer_color, layer_width)
    return picture
