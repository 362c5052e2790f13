"""The flags that name other reference points, for commands on data."""

from __future__ import annotations

import argparse

from img2pose.errors import InputError
from img2pose.references import PoseReferences


def add_reference_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--threed_5_points` and `--threed_68_points`."""
    parser.add_argument(
        "--threed_5_points", help=".npy file (5, 3) of other reference points; with the next"
    )
    parser.add_argument(
        "--threed_68_points", help=".npy file (68, 3) of other reference points; with the last"
    )


def load_references(args: argparse.Namespace) -> PoseReferences:
    """The reference points that the flags name, else the project's own.

    Raises:
        InputError: Only one is given, or a file cannot be used.
    """
    points_5, points_68 = args.threed_5_points, args.threed_68_points
    if points_5 is None and points_68 is None:
        return PoseReferences.default()
    if points_5 is None or points_68 is None:
        raise InputError(
            "--threed_5_points and --threed_68_points belong together: give both or neither"
        )
    return PoseReferences.from_files(points_68=points_68, points_5=points_5)
