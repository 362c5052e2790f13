"""Draws the curves of training runs, finished or in progress."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.output_folders import output_file
from img2pose.cli.parsers import command_parser, print_results
from img2pose.errors import InputError
from img2pose.files import replace_when_complete, told_when_unwritable
from img2pose.training.curves import draw_runs, read_run

_DOTS_PER_INCH = 120


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/plot_run.py",
        "Draw the curves of one or more training runs to one PNG: losses, rates and"
        " the figures of evaluators, each in a panel, each run in its colour.",
        "workspace/first workspace/second --output_path curves.png --fields loss,learning_rate",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folder of a run, or its metrics.jsonl"
    )
    parser.add_argument("--output_path", required=True, help="PNG to write")
    parser.add_argument(
        "--fields",
        metavar="NAME,...",
        help="panels to draw, as loss, loss_points or landmarks/recall_at_50; default: all",
    )
    parser.add_argument("--max_step", type=int, metavar="N", help="leave out what comes after")
    parser.add_argument(
        "--smooth",
        type=int,
        default=10,
        metavar="K",
        help="the training's line is the mean of the K logged points around each, the points"
        " themselves pale behind it (default: %(default)s; 1: no mean)",
    )
    parser.add_argument("--x", choices=("step", "epoch"), default="step", help="horizontal axis")
    return parser


def _fields(text: str | None) -> list[str] | None:
    if text is None:
        return None
    fields = [field.strip() for field in text.split(",")]
    if not all(fields):
        raise InputError(f"--fields {text}: a name is empty; give names with commas between them")
    return fields


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    fields = _fields(args.fields)
    if args.smooth < 1:
        raise InputError(f"--smooth {args.smooth}: give at least 1")
    if args.max_step is not None and args.max_step < 0:
        raise InputError(f"--max_step {args.max_step}: give at least 0")
    output = output_file(args.output_path, ".png")
    runs = {}
    for name in args.runs:
        run = read_run(Path(name), args.max_step)
        if run.folder in runs:
            raise InputError(f"{name}: is given twice; give each run once")
        runs[run.folder] = run
    figure = draw_runs(list(runs.values()), fields=fields, x=args.x, smooth=args.smooth)
    with told_when_unwritable(output), replace_when_complete(output) as part:
        figure.savefig(part, format="png", dpi=_DOTS_PER_INCH)
    print_results(args, {"curves": str(output)})
    return 0
