"""The pictures a command is given: found, and decoded once before anything is written."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from img2pose.errors import InputError
from img2pose.files import write_text
from img2pose.images import IMAGE_SUFFIXES, read_image

log = logging.getLogger(__name__)

UNREADABLE_FILE = "unreadable.txt"
_MOST_THREADS = 4


def add_skip_unreadable_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--skip_unreadable`."""
    parser.add_argument(
        "--skip_unreadable",
        action="store_true",
        help="leave out pictures that cannot be read, and list them with the reasons in"
        f" {UNREADABLE_FILE}; the answer is 0 if there was at least one other (default: the first"
        " one ends the command with 2 before anything is written)",
    )


def pictures_below(folder: Path, except_in: Iterable[Path]) -> list[Path]:
    """The pictures in a folder and in the folders in it, sorted, each file once.

    Args:
        folder: Searched; links to folders are not followed.
        except_in: Pictures in these folders, or below them, are left out, unless `folder` is one
            of them or below.

    Raises:
        InputError: There are none.
    """
    left_out = [path.resolve() for path in except_in]
    left_out = [path for path in left_out if not folder.resolve().is_relative_to(path)]
    found: dict[Path, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        resolved = path.resolve()
        if not any(resolved.is_relative_to(one) for one in left_out):
            found.setdefault(resolved, path)
    if not found:
        raise InputError(f"{folder}: no pictures in this folder; give one that holds some")
    return list(found.values())


def read_image_list(path: Path, folder: Path) -> list[Path]:
    """The pictures that a text file names, one a line, each once.

    Args:
        path: UTF-8 text; empty lines are passed over.
        folder: What relative paths are relative to.

    Raises:
        InputError: The list cannot be read, names nothing, or names what is no file.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}); give a list of pictures") from error
    found: dict[Path, Path] = {}
    for number, line in enumerate(lines, start=1):
        if not (name := line.strip()):
            continue
        image = folder / name
        if "\0" in name or not image.is_file():
            raise InputError(f"{path}: line {number}: {image}: no such image; check the path")
        found.setdefault(image.resolve(), image)
    if not found:
        raise InputError(f"{path}: names no image; write one path a line")
    return list(found.values())


class ReadablePictures:
    """Pictures of which each was decoded once, so that a run does not stop at a damaged one.

    Decoding is quick beside detection.

    Attributes:
        paths: Those that can be read, in their order.
        unreadable: The others with the reasons, one line each.

    Raises:
        InputError: One cannot be read and is not to be skipped, or none can be.
    """

    def __init__(self, images: Sequence[Path], *, skip_unreadable: bool) -> None:
        self._skip = skip_unreadable
        self.paths: list[Path] = []
        self.unreadable: list[str] = []
        pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
        try:
            for image, reason in zip(images, pool.map(_fault, images), strict=True):
                if reason is None:
                    self.paths.append(image)
                elif skip_unreadable:
                    log.warning("left out: %s", reason)
                    self.unreadable.append(reason)
                else:
                    raise InputError(reason)
        finally:
            pool.shutdown(cancel_futures=True)
        if not self.paths:
            raise InputError(f"none of the pictures can be read; first: {self.unreadable[0]}")

    def write_report(self, folder: Path) -> None:
        """Writes `unreadable.txt` if pictures may be skipped, empty if none were."""
        if self._skip:
            write_text(folder / UNREADABLE_FILE, "".join(f"{line}\n" for line in self.unreadable))

    def counts(self) -> dict[str, int]:
        """How many were skipped, if they may be; for the results that a command prints."""
        return {"unreadable": len(self.unreadable)} if self._skip else {}


def _fault(image: Path) -> str | None:
    try:
        read_image(image)
    except InputError as error:
        return " ".join(str(error).split())
    return None
