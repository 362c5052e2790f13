"""Photographs with landmarks in the 300-W `.pts` format (300-W, Helen, LFPW, AFW, iBUG)."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path

import numpy as np

from img2pose.data.annotations import LANDMARK_COUNTS, Annotation
from img2pose.data.importers.label_set import (
    LabelledImage,
    LabelSet,
    images_folder,
    labelled_size,
)
from img2pose.errors import InputError
from img2pose.files import read_text
from img2pose.images import IMAGE_SUFFIXES

LABEL_SOURCE = ".pts files"
SAME_PHOTO_PATTERN = r"(\d+)_\d+"
"""Names of Helen and AFW: a photograph's number, then a face's."""


def parse_pts(text: str, source: str | os.PathLike[str]) -> np.ndarray:
    """Reads the text of a `.pts` file.

    Args:
        text: `version: 1`, `n_points: 68`, then between braces one `x y` a line.
        source: Where it comes from, for messages.

    Returns:
        (68, 2) or (5, 2) float64, as they stand in the file.

    Raises:
        InputError: It is something else; the message names source and line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    lines = [(number, line) for number, line in lines if line]
    opening = next((k for k, (_, line) in enumerate(lines) if line == "{"), None)
    if opening is None or lines[-1][1] != "}":
        raise InputError(f"{source}: no points between braces; is it a 300-W .pts file?")
    header: dict[str, str] = {}
    for number, line in lines[:opening]:
        key, colon, value = line.partition(":")
        if not colon:
            raise InputError(f"{source}: line {number}: `name: value` expected, not {line[:40]!r}")
        header[key.strip().lower()] = value.strip()
    if "version" not in header or "n_points" not in header:
        raise InputError(f"{source}: lacks version or n_points before the brace")
    points = [_point(line, f"{source}: line {number}") for number, line in lines[opening + 1 : -1]]
    if header["n_points"] != str(len(points)):
        raise InputError(
            f"{source}: n_points says {header['n_points'][:20]!r}, the file holds {len(points)}"
        )
    if len(points) not in LANDMARK_COUNTS:
        raise InputError(f"{source}: 5 or 68 points expected, not {len(points)}")
    return np.array(points, dtype=np.float64)


def _point(line: str, where: str) -> list[float]:
    try:
        x, y = (float(entry) for entry in line.split())
    except ValueError as error:
        raise InputError(f"{where}: two numbers expected, not {line[:40]!r}") from error
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"{where}: {line[:40]!r} is not finite; mend or remove the file")
    return [x, y]


def read_pts(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads one `.pts` file, see `parse_pts`.

    Raises:
        InputError: It cannot be read or is something else.
    """
    return parse_pts(read_text(path, "a .pts file"), path)


def read_label_set(images_path: str | os.PathLike[str], *, allow_outside: bool = False) -> LabelSet:
    """Finds a folder's images with a `.pts` file of the same stem each.

    The box of a face is the bounds of its points. Points are taken as they stand, although 300-W
    counts pixels from 1: so does the published conversion.

    Args:
        images_path: The folder; folders inside it are not read, and names that begin with a dot do
            not count.
        allow_outside: Images may be links to files outside the folder.

    Returns:
        One image a `.pts` file, by name; images without one are counted.

    Raises:
        InputError: A `.pts` file's image is missing or ambiguous, or there are no `.pts` files.
    """
    folder = images_folder(images_path)
    pts_files: list[Path] = []
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        # Copies from a Mac have a hidden companion of each file.
        if path.name.startswith("."):
            continue
        if path.suffix.lower() == ".pts":
            pts_files.append(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            images.setdefault(path.stem, []).append(path)
    if not pts_files:
        raise InputError(f"{folder}: holds no .pts files; give the folder with images and .pts")
    labelled = []
    for pts_file in pts_files:
        candidates = images.get(pts_file.stem, [])
        if len(candidates) != 1:
            found = "no image" if not candidates else f"{len(candidates)} images"
            raise InputError(
                f"{pts_file}: {found} of the same name beside it; keep exactly one of"
                f" {pts_file.stem}{{{','.join(sorted(IMAGE_SUFFIXES))}}}"
            )
        name = candidates[0].name
        read = partial(_read_face, folder, name, pts_file, allow_outside)
        labelled.append(LabelledImage(name, pts_file, read))
    unlabelled = sum(len(paths) for paths in images.values()) - len(labelled)
    return LabelSet(labelled, LABEL_SOURCE, {"images without a .pts file, left out": unlabelled})


def _read_face(folder: Path, image_path: str, pts_file: Path, allow_outside: bool) -> Annotation:
    points = read_pts(pts_file)
    labelled_size(folder, image_path, pts_file, allow_outside)
    box = np.concatenate([points.min(0), points.max(0)])
    return Annotation(image_path, box[None], (points,), pts_file, label_source=LABEL_SOURCE)
