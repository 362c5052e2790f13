"""WIDER's images on disk: `EVENT/IMAGE.jpg` in one folder, all of them or those of a list."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from img2pose.errors import InputError
from img2pose.files import read_text
from img2pose.images import IMAGE_SUFFIXES


def find_wider_images(
    dataset_path: str | os.PathLike[str],
    dataset_list: str | os.PathLike[str] | None = None,
    events: Collection[str] | None = None,
    *,
    allow_missing: bool = False,
) -> dict[str, Path]:
    """The images to look at.

    Args:
        dataset_path: Folder with a folder an event (WIDER_val/images).
        dataset_list: Text with the images' paths relative to it; None for all that are there. See
            `images_of_list`.
        events: Only images of these; None for all.
        allow_missing: Images of the list may be missing.

    Returns:
        Files by `EVENT/IMAGE`, without suffix.

    Raises:
        InputError: Folder, list or an image is missing, or a name is unusable.
    """
    folder = Path(dataset_path)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give --dataset_path WIDER's images folder")
    if dataset_list is None:
        where, paths = folder, list(_paths_of_folder(folder))
    else:
        where, paths = Path(dataset_list), images_of_list(Path(dataset_list))
    if events is not None:
        there = {path.parts[0] for path in paths}
        if unknown := [event for event in events if event not in there]:
            raise InputError(f"{where}: has no image of the event {unknown[0]}; check --events")
        paths = [path for path in paths if path.parts[0] in events]
    if not paths:
        raise InputError(f"{where}: no image EVENT/IMAGE there; give WIDER's images folder")
    present = [path for path in paths if (folder / path).is_file()]
    if not present:
        raise InputError(
            f"{folder}: has none of the {len(paths)} images of {where}; is --dataset_path right?"
        )
    if len(present) < len(paths) and not allow_missing:
        found = set(present)
        missing = [path for path in paths if path not in found]
        raise InputError(
            f"{folder / missing[0]}: no such image ({len(missing)} of {len(paths)} of the list are"
            " missing); add them, choose events with --events, or leave them out with"
            " --allow_missing"
        )
    images: dict[str, Path] = {}
    for path in present:
        name = str(path.with_suffix(""))
        if name in images:
            raise InputError(f"{where}: {path}: an image of this name is there twice; remove one")
        images[name] = folder / path
    return images


def _paths_of_folder(folder: Path) -> Iterator[PurePosixPath]:
    for event in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        for path in sorted((folder / event).iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
                yield PurePosixPath(event, path.name)


def images_of_list(path: Path) -> list[PurePosixPath]:
    """Paths `EVENT/IMAGE.jpg` of a list.

    Args:
        path: A text with a path a line; WIDER's own box lists and RetinaFace's label files do too,
            whose numbers are not looked at.

    Raises:
        InputError: It cannot be read or is malformed; the message names the line.
    """
    lines = read_text(path, "a list of WIDER's images").split("\n")
    images: dict[PurePosixPath, None] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("#").strip()
        image = PurePosixPath(text)
        if not text or _are_numbers(text):
            continue
        if image.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(
                f"{path}: line {number}: neither an image's path nor numbers: {text[:60]!r}"
            )
        if image.is_absolute() or len(image.parts) != 2 or ".." in image.parts:
            raise InputError(
                f"{path}: line {number}: EVENT/IMAGE.jpg expected, not {text[:60]!r}; paths are"
                " relative to --dataset_path"
            )
        if image in images:
            raise InputError(f"{path}: line {number}: {text[:60]} is there twice; remove one")
        images[image] = None
    if not images:
        raise InputError(f"{path}: names no image; give one of WIDER's lists")
    return list(images)


def _are_numbers(text: str) -> bool:
    try:
        for word in text.split():
            float(word)
    except ValueError:
        return False
    return True
