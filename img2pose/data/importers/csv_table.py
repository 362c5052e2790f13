"""Tables of faces: CSV with one line a face.

Columns, in any order, separated by commas; angles in degrees, all else in pixels:

- `image_path`, relative to the images' folder;
- `left`, `top`, `right`, `bottom`: the box; all four empty: the image has no faces;
- `score`, if there is one;
- `x0`, `y0` ... `x4`, `y4`: eye, eye, nose, mouth corner, mouth corner, each pair beginning on the
  picture's left; or `x0`, `y0` ... `x67`, `y67` in iBUG's order. An empty cell or -1: not known;
- `pitch`, `yaw`, `roll`: head angles in degrees in 300W-LP's convention, which then give the
  rotation of the label. Empty cells: not known.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from img2pose.data.annotations import LANDMARK_COUNTS, UNKNOWN_COORDINATE
from img2pose.data.importers.five_points import order_five_points
from img2pose.data.importers.label_set import (
    FaceList,
    LabelSet,
    face_list_images,
    images_folder,
    parse_numbers,
)
from img2pose.errors import InputError
from img2pose.files import read_text

_PATH = "image_path"
_BOX = ("left", "top", "right", "bottom")
_SCORE = ("score",)
_ANGLES = ("pitch", "yaw", "roll")
_POINTS = {
    count: tuple(f"{axis}{k}" for k in range(count) for axis in "xy") for count in LANDMARK_COUNTS
}


@dataclass(frozen=True)
class _Columns:
    """Which of the groups of columns a table has; an absent one is empty."""

    points: tuple[str, ...]
    score: tuple[str, ...]
    angles: tuple[str, ...]


def parse_faces(
    text: str, source: str | os.PathLike[str]
) -> tuple[dict[str, FaceList], dict[str, int]]:
    """Reads the text of a table; this module's docstring has the columns.

    Returns:
        Faces by image path, images without faces among them; and counts.

    Raises:
        InputError: A column is missing or not known, or a cell cannot be used; the message names
            source and line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    images: dict[str, FaceList] = {}
    counts = {"faces with landmarks": 0, "faces without": 0, "boxes without area, left out": 0}
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        columns = _columns(names, source)
        for row in reader:
            where = f"{source}: line {reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                raise InputError(f"{where}: {len(names)} cells expected, not {len(row)}")
            cells = dict(zip(names, row, strict=True))
            _add_face(images, counts, cells, columns, where)
    except csv.Error as error:
        raise InputError(f"{source}: line {reader.line_num}: not CSV ({error})") from error
    if not images:
        raise InputError(f"{source}: names no image below its header")
    return images, counts


def _columns(names: Sequence[str], source: str | os.PathLike[str]) -> _Columns:
    present = set(names)
    missing = [name for name in (_PATH, *_BOX) if name not in present]
    if missing:
        raise InputError(
            f"{source}: lacks the column {missing[0]}; the first line must name the columns,"
            " separated by commas"
        )
    extra = present - {_PATH, *_BOX, *_SCORE}
    angles = _ANGLES if extra >= set(_ANGLES) else ()
    extra -= set(angles)
    points = next((group for group in _POINTS.values() if extra == set(group)), ())
    unknown = sorted(extra - set(points))
    if unknown or len(present) != len(names):
        raise InputError(
            f"{source}: {unknown[0] if unknown else 'a column'}"
            f" {'cannot be used' if unknown else 'stands twice'}; columns are {_PATH},"
            f" {', '.join(_BOX)}, then if known score, x0, y0 to x4, y4 or x67, y67, and"
            f" {', '.join(_ANGLES)}"
        )
    return _Columns(points, _SCORE if "score" in present else (), angles)


def _group(
    cells: Mapping[str, str], names: Sequence[str], where: str, *, partly: bool
) -> list[float] | None:
    """The numbers of a group of columns, None where cells are empty: all of them, or any."""
    texts = [cells[name].strip() for name in names]
    empty = texts.count("")
    if empty and (partly or empty == len(texts)):
        return None
    if empty:
        raise InputError(f"{where}: {', '.join(names)}: fill all of these cells or none")
    numbers = []
    for name, text in zip(names, texts, strict=True):
        (number, *more) = parse_numbers(text, f"{where}: {name}")
        if more:
            raise InputError(f"{where}: {name}: one number expected, not {text[:40]!r}")
        numbers.append(number)
    return numbers


def _add_face(
    images: dict[str, FaceList],
    counts: dict[str, int],
    cells: Mapping[str, str],
    columns: _Columns,
    where: str,
) -> None:
    image_path = cells[_PATH].strip()
    if not image_path:
        raise InputError(f"{where}: {_PATH} is empty")
    faces = images.setdefault(image_path, FaceList())
    box = _group(cells, _BOX, where, partly=False)
    points = _group(cells, columns.points, where, partly=True) if columns.points else None
    if points is not None and UNKNOWN_COORDINATE in points:
        points = None
    score = _group(cells, columns.score, where, partly=False) if columns.score else None
    angles = _group(cells, columns.angles, where, partly=False) if columns.angles else None
    if box is None:
        if points or score or angles:
            raise InputError(f"{where}: a face needs its box, {', '.join(_BOX)}")
        return
    left, top, right, bottom = box
    if right < left or bottom < top:
        raise InputError(f"{where}: the box ends before it begins; write left, top, right, bottom")
    if right == left or bottom == top:
        counts["boxes without area, left out"] += 1
        return
    counts["faces without" if points is None else "faces with landmarks"] += 1
    faces.add(
        box,
        None if points is None else np.array(points).reshape(-1, 2),
        None if score is None else score[0],
        None if angles is None else np.array([math.radians(angle) for angle in angles]),
    )


def read_label_set(
    images_path: str | os.PathLike[str],
    label_file: str | os.PathLike[str],
    *,
    swap_left_right: bool = False,
    allow_outside: bool = False,
) -> LabelSet:
    """Reads a table, see this module's docstring.

    Args:
        images_path: The folder that `image_path` is relative to.
        label_file: The table.
        swap_left_right: See `order_five_points`.
        allow_outside: Images may lie outside the folder.

    Raises:
        InputError: The table cannot be read or is malformed, or left and right are exchanged.
    """
    folder, label_file = images_folder(images_path), Path(label_file)
    faces, counts = parse_faces(read_text(label_file, "a CSV table"), label_file)
    counts |= order_five_points(faces.values(), label_file, swap_left_right)
    images = face_list_images(folder, label_file, faces, label_file.name, allow_outside)
    return LabelSet(images, label_file.name, counts)
