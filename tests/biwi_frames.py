"""A small BIWI: rendered heads in the data set's layout, whose poses are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from img2pose.data.biwi import BiwiPose, pose_text
from img2pose.geometry import rotvec_to_matrix
from tests.faces import render_head

SIZE_HW = (120, 160)
# A reference unit is about 105 mm.
UNIT_MM = 105.0


def biwi_poses(count: int, seed: int = 5) -> np.ndarray:
    """(count, 6) heads near the middle of the picture, turned by up to about 70 degrees."""
    rng = np.random.default_rng(seed)
    rotvecs = rng.uniform([-0.5, -1.2, -0.4], [0.5, 1.2, 0.4], (count, 3))
    depths = rng.uniform(6, 9, (count, 1))
    return np.hstack([rotvecs, rng.uniform(-0.1, 0.1, (count, 2)) * depths, depths])


def write_biwi(folder: Path, poses: np.ndarray, frames_each: int = 2) -> list[str]:
    """Writes `NN/frame_XXXXX_rgb.png` and `..._pose.txt`; returns the frames' names."""
    names = []
    for index, pose in enumerate(poses):
        name = f"{1 + index // frames_each:02d}/frame_{3 + index % frames_each:05d}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        # As in a laboratory: no pattern that detectors take for faces.
        wall = np.full((*SIZE_HW, 3), (200, 195, 185), dtype=np.uint8)
        image = render_head(pose, SIZE_HW, np.random.default_rng(index), wall)
        cv2.imwrite(str(folder / f"{name}_rgb.png"), image[..., ::-1])
        text = pose_text(BiwiPose(rotvec_to_matrix(pose[:3]), UNIT_MM * pose[3:]))
        (folder / f"{name}_pose.txt").write_text(text)
        names.append(name)
    return names
