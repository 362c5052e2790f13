"""Draws the golden pictures and the README's `docs/rendering.png` anew."""

from __future__ import annotations

import numpy as np
from PIL import Image

from img2pose.references import PoseReferences
from img2pose.visualization import (
    draw_depth,
    draw_landmarks,
    draw_overlay,
    draw_pncc,
    draw_pose_boxes,
    draw_wireframe,
)
from tests.golden.renderings import FOLDER, background, detections, photograph, products

SIZE_HW = (300, 384)


def readme_picture() -> np.ndarray:
    """Six products of the same scene, three in a row."""
    references = PoseReferences.default()
    faces, image = detections(SIZE_HW), photograph(SIZE_HW)
    rows = (
        (
            draw_overlay(background(SIZE_HW), faces),
            draw_wireframe(image, faces),
            draw_landmarks(image, faces, references),
        ),
        (draw_pose_boxes(image, faces, references), draw_depth(faces), draw_pncc(faces)),
    )
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


for name, picture in products().items():
    Image.fromarray(picture).save(FOLDER / f"{name}.png", optimize=True)
# Coarser shades pack better and look the same.
coarse = readme_picture() // 4 * 4 + 3
Image.fromarray(coarse).save(FOLDER.parents[2] / "docs" / "rendering.png", optimize=True)
