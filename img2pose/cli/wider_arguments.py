"""The flags that commands on WIDER FACE share."""

from __future__ import annotations

import argparse

from img2pose.errors import InputError


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--events` and `--allow_missing`."""
    parser.add_argument(
        "--events",
        nargs="+",
        metavar="EVENT",
        help="only images of these events count, as 19--Couple 4--Dancing (or with commas between);"
        " the figures are then not the benchmark's",
    )
    parser.add_argument(
        "--allow_missing",
        action="store_true",
        help="count images without predictions as images where nothing was found",
    )


def chosen_events(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The events of `--events`, None for all.

    Raises:
        InputError: A name is empty.
    """
    if args.events is None:
        return None
    names = [name.strip() for text in args.events for name in text.split(",")]
    if not all(names):
        raise InputError(f"--events {' '.join(args.events)}: a name is empty; name events only")
    return tuple(dict.fromkeys(names))
