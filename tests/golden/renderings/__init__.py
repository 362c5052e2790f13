"""One picture of each product: three faces that hide each other before a made-up background.

`python -m tests.golden.renderings` draws them anew, after a change that is meant to move them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.geometry import boxes_from_points, image_intrinsics, project_points
from img2pose.references import PoseReferences
from img2pose.visualization import (
    contact_sheet,
    draw_caption,
    draw_dense_points,
    draw_depth,
    draw_faces,
    draw_landmarks,
    draw_overlay,
    draw_pncc,
    draw_pose_boxes,
    draw_wireframe,
    face_textures,
    fit_into,
    texture_atlas,
)

FOLDER = Path(__file__).parent
SIZE_HW = (216, 288)
POSES = (
    (0.10, 0.30, 0.05, -0.60, 0.45, 7.2),
    (0.02, -0.60, -0.12, 0.85, 0.40, 8.2),
    (-0.10, 0.05, 0.25, 0.10, -0.75, 10.5),
)


def background(size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """(H, W, 3) uint8: squares of two colours that run into each other."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]] * 12 // size_hw[0]
    image = np.stack([70 + 6 * y, 96 + 4 * x, 128 - 3 * y], axis=-1) + 10 * ((x + y) % 2)[..., None]
    return image.astype(np.uint8)


def detections(size_hw: tuple[int, int] = SIZE_HW) -> FaceDetections:
    """The three faces; the first hides parts of the others."""
    camera = image_intrinsics(*size_hw)
    poses = np.array(POSES)
    points = project_points(PoseReferences.default().points_68, poses, camera)
    boxes = boxes_from_points(points, poses, size_hw)
    return FaceDetections(poses, boxes, np.array([0.98, 0.95, 0.90]), camera, size_hw)


def photograph(size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """(H, W, 3) uint8: the faces in skin colours before the background."""
    return draw_overlay(background(size_hw), detections(size_hw), color=(224, 172, 146))


def products() -> Mapping[str, np.ndarray]:
    """Each product's picture by its name."""
    references, faces, image = PoseReferences.default(), detections(), photograph()
    drawn = {
        "overlay": draw_overlay(background(), faces),
        "wireframe": draw_wireframe(image, faces),
        "landmarks": draw_landmarks(image, faces, references),
        "dense": draw_dense_points(image, faces),
        "depth": draw_depth(faces),
        "pncc": draw_pncc(faces),
        "axes": draw_faces(image, faces, references, boxes=False, scores=False),
        "box": draw_pose_boxes(image, faces, references),
        "uv": texture_atlas(face_textures(image, faces, size=128)),
    }
    cells = [draw_caption(fit_into(drawn[name], 150), name, 10) for name in ("overlay", "pncc")]
    return {**drawn, "sheet": contact_sheet(cells, columns=2, cell=150)}
