"""RetinaFace's label file for WIDER FACE: boxes, and five points where they could be annotated."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from img2pose.data.annotations import UNKNOWN_COORDINATE
from img2pose.data.importers.label_set import (
    FaceList,
    LabelSet,
    face_list_images,
    images_folder,
    parse_numbers,
)
from img2pose.errors import InputError
from img2pose.files import read_text

LABEL_SOURCE = "RetinaFace"
_BOX_ONLY, _WITH_POINTS = 4, 20


def parse_faces(
    text: str, source: str | os.PathLike[str]
) -> tuple[dict[str, FaceList], dict[str, int]]:
    """Reads the text of a label file.

    Args:
        text: `# path` lines, each followed by its faces, one a line: left, top, width, height, five
            times x, y and a flag, and a last number (blur); or the box alone, as in the file of
            WIDER's validation set.
        source: Where it comes from, for messages.

    Returns:
        Faces by image path; those with an unknown coordinate (-1) have no landmarks. And counts.

    Raises:
        InputError: It is something else; the message names source and line.
    """
    images: dict[str, FaceList] = {}
    faces: FaceList | None = None
    counts = {"faces with 5 points": 0, "faces without": 0, "boxes without area, left out": 0}
    for number, line in enumerate(text.split("\n"), start=1):
        line, where = line.strip(), f"{source}: line {number}"
        if line.startswith("#"):
            image_path = line[1:].strip()
            if not image_path or image_path in images:
                raise InputError(f"{where}: names no image, or one for the second time")
            faces = images[image_path] = FaceList()
            continue
        if not line:
            continue
        numbers = parse_numbers(line, where)
        if faces is None or len(numbers) not in (_BOX_ONLY, _WITH_POINTS):
            raise InputError(
                f"{where}: `# path`, then per face 4 or 20 numbers expected, not {line[:40]!r}"
            )
        left, top, width, height = numbers[:4]
        if width <= 0 or height <= 0:
            counts["boxes without area, left out"] += 1
            continue
        points = _points(numbers)
        counts["faces without" if points is None else "faces with 5 points"] += 1
        faces.add([left, top, left + width, top + height], points)
    if not images:
        raise InputError(f"{source}: names no image; is it RetinaFace's label.txt?")
    return images, counts


def _points(numbers: list[float]) -> np.ndarray | None:
    if len(numbers) == _BOX_ONLY:
        return None
    points = np.array(numbers[4:19]).reshape(5, 3)[:, :2]
    return None if (points == UNKNOWN_COORDINATE).any() else points


def read_label_set(
    images_path: str | os.PathLike[str],
    label_file: str | os.PathLike[str],
    *,
    allow_outside: bool = False,
) -> LabelSet:
    """Reads a label file, see `parse_faces`.

    Args:
        images_path: The folder that the file's paths are relative to (WIDER_train/images).
        label_file: The file.
        allow_outside: Images may lie outside the folder.

    Raises:
        InputError: The file cannot be read or is malformed.

    Source: Deng et al., RetinaFace, CVPR 2020.
    """
    folder, label_file = images_folder(images_path), Path(label_file)
    text = read_text(label_file, "RetinaFace's label.txt")
    faces, counts = parse_faces(text, label_file)
    images = face_list_images(folder, label_file, faces, LABEL_SOURCE, allow_outside)
    return LabelSet(images, LABEL_SOURCE, counts)
