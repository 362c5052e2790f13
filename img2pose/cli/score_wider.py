"""Scores files of predictions by WIDER FACE's protocol."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.wider_arguments import add_scoring_arguments, chosen_events
from img2pose.evaluation.wider.curves import write_curve_points, write_curves
from img2pose.evaluation.wider.figures import figures, table
from img2pose.evaluation.wider.ground_truth import read_ground_truth
from img2pose.evaluation.wider.scoring import missing_images, score_predictions
from img2pose.evaluation.wider.submission import read_predictions
from img2pose.files import check_output_folder, told_when_unwritable

CURVES_FILE = "precision_recall.png"
POINTS_FILE = "precision_recall.csv"


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/score_wider.py",
        "Score predictions on WIDER FACE's validation set: average precision on the"
        " easy, medium and hard faces, as fractions.",
        "--predictions out/wider/submission --ground_truth eval_tools/ground_truth",
    )
    parser.add_argument(
        "--predictions",
        required=True,
        metavar="DIR|TAR",
        help="files EVENT/IMAGE.txt in a folder, a .tar or a .tar.gz",
    )
    parser.add_argument(
        "--ground_truth",
        required=True,
        metavar="DIR",
        help="folder with wider_face_val.mat, wider_easy_val.mat, wider_medium_val.mat and"
        " wider_hard_val.mat",
    )
    parser.add_argument(
        "--output_path",
        metavar="DIR",
        help=f"also write {CURVES_FILE} and {POINTS_FILE} to this folder",
    )
    add_scoring_arguments(parser)
    return parser


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    events = chosen_events(args)
    if args.output_path is not None:
        check_output_folder(args.output_path)
    truth = read_ground_truth(args.ground_truth)
    if events is not None:
        truth = truth.of_events(events)
    predictions = read_predictions(args.predictions, events)
    kind = f"{args.predictions}: predictions"
    missing_images(predictions, truth, allow_missing=args.allow_missing, kind=kind)
    score = score_predictions(predictions, truth, allow_missing=args.allow_missing)
    lines, results = [table(score)], figures(score)
    if args.output_path is not None:
        output = Path(args.output_path)
        with told_when_unwritable(output):
            write_curve_points(output / POINTS_FILE, score)
            write_curves(output / CURVES_FILE, score)
        lines.append(f"results: {output}")
        results["results"] = str(output)
    print_results(args, results, "\n".join(lines))
    return 0
