"""AFLW2000-3D: 2000 photographs, `.mat` files with 68 points in space and head angles."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import scipy.io

from img2pose.data.annotations import Annotation
from img2pose.data.importers.label_set import (
    LabelledImage,
    LabelSet,
    LeftOut,
    annotation_with_angles,
    images_beside,
    images_folder,
    labelled_size,
)
from img2pose.data.importers.mat import read_mat
from img2pose.files import replace_when_complete

LABEL_SOURCE = "AFLW2000-3D"
MAX_ANGLE_DEG = 99.0


def read_label_set(images_path: str | os.PathLike[str], *, allow_outside: bool = False) -> LabelSet:
    """Finds the images of AFLW2000-3D, in folders inside folders too.

    A face has the first two rows of `pt3d_68` (3, 68) as points, the angles of `Pose_Para` (1, 7),
    and a box as in 300W-LP. An image with an angle beyond 99 degrees reads as `LeftOut`, as the
    usual protocol has it.

    Args:
        images_path: The folder.
        allow_outside: Images may be links to files outside the folder.

    Raises:
        InputError: It holds no image with a `.mat` file.

    Source: Zhu, Lei, Liu, Shi and Li, CVPR 2016.
    """
    folder = images_folder(images_path)
    pairs, counts = images_beside(folder, ".mat")
    images = [
        LabelledImage(name, mat_file, partial(_read_face, folder, name, mat_file, allow_outside))
        for name, mat_file in pairs
    ]
    return LabelSet(images, LABEL_SOURCE, counts)


def _read_face(
    folder: Path, image_path: str, mat_file: Path, allow_outside: bool
) -> Annotation | LeftOut:
    arrays = read_mat(mat_file, {"pt3d_68": (3, 68), "Pose_Para": (1, 7)})
    size_hw = labelled_size(folder, image_path, mat_file, allow_outside)
    if (np.abs(np.rad2deg(arrays["Pose_Para"][0, :3])) > MAX_ANGLE_DEG).any():
        return LeftOut(f"images with an angle beyond {MAX_ANGLE_DEG:.0f} degrees, left out")
    points = arrays["pt3d_68"][:2].T
    return annotation_with_angles(
        image_path, points, arrays["Pose_Para"], size_hw, mat_file, LABEL_SOURCE
    )


def write_face(
    mat_file: str | os.PathLike[str], landmarks: np.ndarray, euler_deg: np.ndarray
) -> None:
    """Writes what `read_label_set` reads of a face; the numbers it passes over are 0.

    Args:
        mat_file: Beside the picture, with its name.
        landmarks: (68, 2) pixels.
        euler_deg: (3,) pitch, yaw, roll.
    """
    content = {
        "pt3d_68": np.vstack([landmarks.T, np.zeros((1, 68))]),
        "Pose_Para": np.array([[*np.deg2rad(euler_deg), 0.0, 0.0, 0.0, 0.0]]),
    }
    with replace_when_complete(mat_file) as part, part.open("wb") as file:
        scipy.io.savemat(file, content)
