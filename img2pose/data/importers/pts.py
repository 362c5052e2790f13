"""Photographs with landmarks in the 300-W `.pts` format (300-W, Helen, LFPW, AFW, iBUG)."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from img2pose.data.annotations import LANDMARK_COUNTS, Annotation
from img2pose.errors import InputError
from img2pose.images import IMAGE_SUFFIXES, read_image

SAME_PHOTO_PATTERN = r"(\d+)_\d+"


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
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a .pts file ({error})") from error
    return parse_pts(text, path)


def read_pts_folder(
    images_path: str | os.PathLike[str],
    progress: Callable[[Sequence[Path]], Iterable[Path]] = lambda paths: paths,
) -> tuple[list[Annotation], int]:
    """Reads a folder of images with a `.pts` file of the same stem each.

    The box of a face is the bounds of its points. Points are taken as they stand, although 300-W
    counts pixels from 1: so does the published conversion.

    Args:
        images_path: The folder; folders inside it are not read.
        progress: Wraps the files while they are read, such as a progress bar.

    Returns:
        One annotation a `.pts` file, by name, `image_path` being relative to the folder; and the
        number of images without a `.pts` file, which are left out.

    Raises:
        InputError: A file is malformed, an image is missing, ambiguous or unreadable, or there
            are no `.pts` files.
    """
    folder = Path(images_path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give the one with images and .pts files")
    pts_files: list[Path] = []
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".pts":
            pts_files.append(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            images.setdefault(path.stem, []).append(path)
    if not pts_files:
        raise InputError(f"{folder}: holds no .pts files; give the folder with images and .pts")
    annotations = []
    for pts_file in progress(pts_files):
        candidates = images.get(pts_file.stem, [])
        if len(candidates) != 1:
            found = "no image" if not candidates else f"{len(candidates)} images"
            raise InputError(
                f"{pts_file}: {found} of the same name beside it; keep exactly one of"
                f" {pts_file.stem}{{{','.join(sorted(IMAGE_SUFFIXES))}}}"
            )
        points = read_pts(pts_file)
        read_image(candidates[0], upright=False)
        box = np.concatenate([points.min(0), points.max(0)])
        annotations.append(Annotation(candidates[0].name, box[None], (points,), pts_file))
    unlabelled = sum(len(paths) for paths in images.values()) - len(annotations)
    return annotations, unlabelled


def split_annotations(
    annotations: Sequence[Annotation],
    val_count: int,
    seed: int,
    same_photo: str = SAME_PHOTO_PATTERN,
) -> tuple[list[Annotation], list[Annotation]]:
    """Draws a validation set; the same seed and names give the same split everywhere.

    Args:
        annotations: At least one more than `val_count`.
        val_count: Images for validation.
        seed: Draws another split.
        same_photo: Pattern of image names without suffix. Names that match it with the same first
            group come from one photograph, whose faces must not stand on both sides. The default
            is the naming of Helen and AFW; an empty pattern keeps nothing together.

    Returns:
        Annotations for training and for validation, each in the given order.

    Raises:
        InputError: The pattern or the count cannot be used.
    """
    if not 0 <= val_count < len(annotations):
        raise InputError(
            f"validation images: {val_count} of {len(annotations)} asked for; leave at least one"
            " for training"
        )
    try:
        pattern = re.compile(same_photo) if same_photo else None
    except re.error as error:
        raise InputError(f"same-photo pattern {same_photo!r}: {error}") from error
    if pattern is not None and pattern.groups < 1:
        raise InputError(f"same-photo pattern {same_photo!r}: has no group (in parentheses)")
    photos: dict[str, list[int]] = {}
    for index, annotation in enumerate(annotations):
        stem = Path(annotation.image_path).stem
        match = pattern.fullmatch(stem) if pattern is not None else None
        photo = f"photo {match.group(1)}" if match else f"image {annotation.image_path}"
        photos.setdefault(photo, []).append(index)

    # A hash ranks the same on every platform and Python, where a random generator need not.
    def rank(photo: str) -> str:
        return hashlib.sha256(f"{seed}:{photo}".encode()).hexdigest()

    chosen: set[int] = set()
    for photo in sorted(photos, key=rank):
        if len(chosen) + len(photos[photo]) <= val_count:
            chosen.update(photos[photo])
    if len(chosen) != val_count:
        raise InputError(
            f"validation images: {val_count} cannot be drawn without parting faces of one"
            f" photograph (nearest is {len(chosen)}); ask for another count or another"
            " same-photo pattern"
        )
    train = [a for k, a in enumerate(annotations) if k not in chosen]
    val = [a for k, a in enumerate(annotations) if k in chosen]
    return train, val
