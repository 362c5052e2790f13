"""WIDER FACE's own box lists: boxes, no points, so no poses."""

from __future__ import annotations

import os
from pathlib import Path

from img2pose.data.importers.label_set import (
    FaceList,
    LabelSet,
    face_list_images,
    images_folder,
    parse_numbers,
)
from img2pose.errors import InputError
from img2pose.files import read_text

LABEL_SOURCE = "WIDER FACE"
# Left, top, width, height, blur, expression, illumination, invalid, occlusion, pose.
_NUMBERS_A_FACE = 10
_INVALID = 7


def parse_boxes(
    text: str, source: str | os.PathLike[str]
) -> tuple[dict[str, FaceList], dict[str, int]]:
    """Reads the text of a list such as `wider_face_train_bbx_gt.txt`.

    Args:
        text: Per image its path, the number of its faces, and a line of ten numbers for each,
            which begins with left, top, width and height. An image without faces has one line of
            zeros, which some copies of the list leave out.
        source: Where it comes from, for messages.

    Returns:
        Faces by image path, none with landmarks; and counts. Faces that WIDER marks as invalid
        stay: a box without a pose is learnt neither as a face nor as background.

    Raises:
        InputError: It is something else; the message names source and line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    lines = [(number, line) for number, line in lines if line]
    images: dict[str, FaceList] = {}
    counts = {"boxes": 0, "boxes marked invalid, kept": 0, "boxes without area, left out": 0}
    position = 0
    while position < len(lines):
        number, image_path = lines[position]
        where = f"{source}: line {number}"
        if _is_row(image_path) or image_path in images:
            raise InputError(f"{where}: an image's path expected once, not {image_path[:60]!r}")
        faces = images[image_path] = FaceList()
        count = _count(lines, position + 1, where)
        rows = lines[position + 2 : position + 2 + count]
        for row_number, row in rows:
            _add_face(faces, counts, row, f"{source}: line {row_number}")
        position += 2 + count
        # The line of zeros.
        if count == 0 and position < len(lines) and _is_row(lines[position][1]):
            position += 1
    if not images:
        raise InputError(f"{source}: names no image; is it one of WIDER's box lists?")
    return images, counts


def _is_row(line: str) -> bool:
    entries = line.split()
    return len(entries) == _NUMBERS_A_FACE and all(
        entry.removeprefix("-").isdecimal() for entry in entries
    )


def _count(lines: list[tuple[int, str]], position: int, where: str) -> int:
    text = lines[position][1] if position < len(lines) else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise InputError(f"{where}: the number of faces must follow, not {text[:40]!r}")
    if int(text) > len(lines) - position - 1:
        raise InputError(f"{where}: {text} faces are said to follow; the list ends before")
    return int(text)


def _add_face(faces: FaceList, counts: dict[str, int], row: str, where: str) -> None:
    numbers = parse_numbers(row, where)
    if len(numbers) != _NUMBERS_A_FACE:
        raise InputError(f"{where}: {_NUMBERS_A_FACE} numbers a face expected, not {row[:60]!r}")
    left, top, width, height = numbers[:4]
    if width <= 0 or height <= 0:
        counts["boxes without area, left out"] += 1
        return
    counts["boxes"] += 1
    counts["boxes marked invalid, kept"] += numbers[_INVALID] == 1
    faces.add([left, top, left + width, top + height])


def read_label_set(
    images_path: str | os.PathLike[str],
    label_file: str | os.PathLike[str],
    *,
    allow_outside: bool = False,
) -> LabelSet:
    """Reads a box list, see `parse_boxes`.

    Args:
        images_path: The folder that the list's paths are relative to (WIDER_train/images).
        label_file: The list.
        allow_outside: Images may lie outside the folder.

    Raises:
        InputError: The list cannot be read or is malformed.

    Source: Yang, Luo, Loy and Tang, WIDER FACE, CVPR 2016.
    """
    folder, label_file = images_folder(images_path), Path(label_file)
    text = read_text(label_file, "one of WIDER's box lists")
    faces, counts = parse_boxes(text, label_file)
    images = face_list_images(folder, label_file, faces, LABEL_SOURCE, allow_outside)
    return LabelSet(images, LABEL_SOURCE, counts)
