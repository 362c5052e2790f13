"""A small AFLW2000-3D: rendered heads with `.mat` files, whose poses are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import scipy.io

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
        angles = np.deg2rad(pose_to_euler(pose))
        content = {
            "pt3d_68": np.vstack([points.T, np.ones((1, 68))]),
            "Pose_Para": np.array([[*angles, 0, 0, 0, 1]]),
        }
        scipy.io.savemat(stem.with_suffix(".mat"), content)
        names.append(f"{stem.name}.jpg")
    return names
