"""Where results go, also if the user does not say."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from img2pose.errors import InputError
from img2pose.files import check_output_folder

_DEFAULT_NAME = "img2pose_out"


def add_output_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--output_path`, which `output_folder` reads."""
    parser.add_argument(
        "--output_path",
        help="folder for the results (default: a new one in the current folder,"
        f" {_DEFAULT_NAME}, or {_DEFAULT_NAME}_2 and so on where that is there)",
    )


def output_folder(args: argparse.Namespace) -> Path:
    """The folder that the user names, or one that is not there yet; it is not made."""
    if args.output_path is not None:
        return Path(args.output_path)
    return next(folder for folder in _default_folders() if not folder.exists())


def output_file(path: str, suffix: str) -> Path:
    """The one file that `--output_path` names, for commands that write one.

    Args:
        path: As given.
        suffix: What its name has to end in, whatever the case.

    Raises:
        InputError: The name ends in something else or is a folder's, or nothing can be written
            there.
    """
    target = Path(path)
    if target.suffix.lower() != suffix:
        raise InputError(f"--output_path {target}: the file's name must end in {suffix}")
    if target.is_dir():
        raise InputError(f"--output_path {target}: is a folder; give a file")
    check_output_folder(target.parent)
    return target


def earlier_results() -> list[Path]:
    """The folders that earlier calls took by default, in the current folder."""
    earlier: list[Path] = []
    for folder in _default_folders():
        if not folder.is_dir():
            return earlier
        earlier.append(folder)
    return earlier


def _default_folders() -> Iterator[Path]:
    yield Path(_DEFAULT_NAME)
    for number in count(2):
        yield Path(f"{_DEFAULT_NAME}_{number}")
