"""A small AFLW2000-3D: rendered heads with `.mat` files, whose poses are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from img2pose.data.importers import aflw2000
from img2pose.geometry import image_intrinsics, pose_to_euler, project_points
from img2pose.references import PoseReferences
from tests.faces import render_head

SIZE_HW = (120, 120)


def write_aflw2000(folder: Path, poses: np.ndarray, references: PoseReferences) -> list[str]:
    """Writes `imageNNNNN.jpg` and `.mat`; returns the pictures' names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for index, pose in enumerate(poses):
        stem = folder / f"image{index:05d}"
        image = render_head(pose, SIZE_HW, np.random.default_rng(index))
        cv2.imwrite(str(stem.with_suffix(".jpg")), image[..., ::-1])
        points = project_points(references.points_68, pose[None], image_intrinsics(*SIZE_HW))[0]
        aflw2000.write_face(stem.with_suffix(".mat"), points, pose_to_euler(pose))
        names.append(f"{stem.name}.jpg")
    return names
