"""Judges a model's head poses and landmarks on AFLW2000-3D."""

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
from img2pose.errors import InputError
from img2pose.evaluation.head_pose import AngleFigures, TranslationFigures
from img2pose.evaluation.head_report import PublishedFigures
from img2pose.evaluation.head_sets import HeadSet, read_aflw2000, read_annotated

SCRIPT = "scripts/evaluate_aflw2000.py"
MIN_SIZE = 400


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        SCRIPT,
        "Compare a model's head poses with those of AFLW2000-3D by img2pose's protocol"
        f" (shorter side {MIN_SIZE} pixels, 10 proposals a picture): Euler angles, geodesic,"
        " translation and landmark errors, by yaw band, over the faces found and with the missed"
        " ones counted. Writes summary.json, report.html, faces.csv (a row a face), left_out.csv"
        " and plots. Predictions are kept, and scored again without the model.",
        "--checkpoint best.pth --dataset_path AFLW2000 --output_path out/aflw2000",
    )
    parser.add_argument(
        "--dataset_path",
        required=True,
        help="folder of the pictures, with a .mat file beside each; with --json_list the folder"
        " that image_path is relative to",
    )
    parser.add_argument(
        "--truth",
        choices=["pose_para", "annotations"],
        default="pose_para",
        help="pose_para: the .mat files, as published; annotations: --json_list, such as"
        " annotations made anew (default %(default)s)",
    )
    parser.add_argument(
        "--json_list",
        help="text file that names one annotation JSON with 68 points a line, relative to the"
        " current folder; for --truth annotations",
    )
    add_head_pose_arguments(parser, MIN_SIZE)
    return parser


def _read(args: argparse.Namespace) -> HeadSet:
    bad = {"skip_bad": args.skip_bad, "allow_outside": args.allow_outside}
    if args.truth == "pose_para":
        if args.json_list is not None:
            raise InputError("--json_list: belongs to --truth annotations; give that too")
        return read_aflw2000(args.dataset_path, **bad)
    if args.json_list is None:
        raise InputError("--truth annotations: also give --json_list, the list of annotations")
    return read_annotated(args.json_list, args.dataset_path, **bad)


BENCHMARK = HeadBenchmark(
    "AFLW2000-3D",
    SCRIPT,
    MIN_SIZE,
    PublishedFigures(
        None,
        AngleFigures(3.426, 5.034, 3.278, 3.913),
        TranslationFigures(0.028, 0.038, 0.230, 0.099),
    ),
    _read,
)


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    return run_head_pose_evaluation(build_parser().parse_args(argv), argv, BENCHMARK)
