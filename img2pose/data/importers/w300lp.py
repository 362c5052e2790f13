"""300W-LP: photographs and profile views made from them, `.mat` files with points and angles."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from img2pose.data.annotations import Annotation
from img2pose.data.importers.label_set import (
    LabelledImage,
    LabelSet,
    annotation_with_angles,
    images_beside,
    images_folder,
    labelled_size,
)
from img2pose.data.importers.mat import read_mat

LABEL_SOURCE = "300W-LP"
SAME_PHOTO_PATTERN = r"(\D+\d+)(?:_\d+)*"
"""`AFW_134212_1_0`: data set and photograph, then the face and the number of the view."""


def read_label_set(images_path: str | os.PathLike[str], *, allow_outside: bool = False) -> LabelSet:
    """Finds the images of 300W-LP, in folders inside folders too.

    A face has the 68 points of `pt2d` (2, 68), the angles of `Pose_Para` (1, 7), and the box that
    `annotation_with_angles` makes. `.mat` files without an image beside them, which 300W-LP has
    among its landmarks and code, are counted and not opened.

    Args:
        images_path: The folder.
        allow_outside: Images may be links to files outside the folder.

    Raises:
        InputError: It holds no image with a `.mat` file.

    Source: Zhu, Lei, Liu, Shi and Li, CVPR 2016; labels as Albiero et al., CVPR 2021, make them.
    """
    folder = images_folder(images_path)
    pairs, counts = images_beside(folder, ".mat")
    images = [
        LabelledImage(name, mat_file, partial(_read_face, folder, name, mat_file, allow_outside))
        for name, mat_file in pairs
    ]
    return LabelSet(images, LABEL_SOURCE, counts)


def _read_face(folder: Path, image_path: str, mat_file: Path, allow_outside: bool) -> Annotation:
    arrays = read_mat(mat_file, {"pt2d": (2, 68), "Pose_Para": (1, 7)})
    size_hw = labelled_size(folder, image_path, mat_file, allow_outside)
    return annotation_with_angles(
        image_path, arrays["pt2d"].T, arrays["Pose_Para"], size_hw, mat_file, LABEL_SOURCE
    )
