"""Judges a model's head poses on BIWI."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.head_pose_evaluation import (
    HeadBenchmark,
    add_head_pose_arguments,
    run_head_pose_evaluation,
)
from img2pose.cli.parsers import command_parser
from img2pose.data.biwi import find_frames, listed_frames
from img2pose.evaluation.head_pose import AngleFigures
from img2pose.evaluation.head_report import PublishedFigures
from img2pose.evaluation.head_sets import HeadSet, read_biwi

SCRIPT = "scripts/evaluate_biwi.py"
MIN_SIZE = 700


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        SCRIPT,
        "Compare a model's head poses with those of BIWI's frames by img2pose's"
        f" protocol (shorter side {MIN_SIZE} pixels, 10 proposals a picture, the most central"
        " detection): Euler angles and geodesic errors, by yaw band, over the faces found and with"
        " the missed ones counted. Writes summary.json, report.html, faces.csv (a row a frame),"
        " left_out.csv and plots. Predictions are kept, and scored again without the model.",
        "--checkpoint best.pth --dataset_path biwi/hpdb --output_path out/biwi",
    )
    parser.add_argument(
        "--dataset_path",
        required=True,
        help="folder with the people's folders 01, 02, ... of frame_XXXXX_rgb.png and"
        " frame_XXXXX_pose.txt",
    )
    parser.add_argument(
        "--frame_list",
        help="text file that names the frames, NN/frame_XXXXX a line (default: all with a pose)",
    )
    add_head_pose_arguments(parser, MIN_SIZE)
    return parser


def _read(args: argparse.Namespace) -> HeadSet:
    if args.frame_list is None:
        frames = find_frames(args.dataset_path, allow_outside=args.allow_outside)
    else:
        frames = listed_frames(args.dataset_path, args.frame_list, allow_outside=args.allow_outside)
    return read_biwi(frames, skip_bad=args.skip_bad)


BENCHMARK = HeadBenchmark(
    "BIWI",
    SCRIPT,
    MIN_SIZE,
    PublishedFigures(13219, AngleFigures(4.567, 3.546, 3.244, 3.786)),
    _read,
)


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    return run_head_pose_evaluation(build_parser().parse_args(argv), argv, BENCHMARK)
