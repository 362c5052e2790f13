"""Judges a model against annotated landmarks."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from img2pose.cli.commands import command_line
from img2pose.cli.evaluation_summary import evaluation_summary
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import (
    add_model_arguments,
    add_score_threshold_argument,
    check_score_threshold,
    load_detector,
)
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.prediction_arguments import add_prediction_arguments, predictions_for
from img2pose.config import ModelConfig
from img2pose.data.labels import POSE_CAMERAS
from img2pose.data.store import PoseStore
from img2pose.distributed import joined_processes
from img2pose.errors import InputError
from img2pose.evaluation.evaluators import LOWEST_SCORE
from img2pose.evaluation.landmark_report import figures_by_band, landmark_report
from img2pose.evaluation.landmarks import (
    LANDMARK_LIMIT,
    FaceResult,
    LandmarkSummary,
    judge_pictures,
    protocol,
    summarise,
)
from img2pose.evaluation.pictures import (
    ListedPictures,
    PictureSource,
    StoredPictures,
    truth_fingerprint,
)
from img2pose.evaluation.predicting import Predictor
from img2pose.evaluation.predictions import ModelNotes, PredictionCache
from img2pose.evaluation.report import write_report
from img2pose.evaluation.sheets import SHEET_CELL, evenly_spaced, prediction_cell
from img2pose.files import check_output_folder, told_when_unwritable, write_csv
from img2pose.images import write_picture
from img2pose.references import PoseReferences
from img2pose.visualization import contact_sheet

_SCRIPT = "scripts/evaluate_landmarks.py"


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        _SCRIPT,
        "Compare a model's faces with annotated landmarks: recall, false positives,"
        " rotation and landmark errors. Writes report.html, summary.json and faces.csv (a row for"
        " each annotated face), with --sheet also contact_sheet.png. Predictions are kept: scoring"
        " them again, with another --score_threshold or --truth_camera, needs no model. torchrun"
        " shares the pictures among several processes.",
        "--checkpoint best.pth --json_list lists/val.txt --dataset_path photographs"
        " --output_path out/landmarks --sheet 12",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--json_list",
        help="text file that names one annotation JSON a line, relative to the current folder;"
        " needs --dataset_path",
    )
    source.add_argument("--lmdb", help="store of convert_json_list_to_lmdb.py, in place of a list")
    parser.add_argument("--dataset_path", help="folder that the JSONs' image_path is relative to")
    parser.add_argument(
        "--allow_outside",
        action="store_true",
        help="take images that lie outside --dataset_path (absolute paths, .., links)",
    )
    parser.add_argument("--output_path", required=True, help="folder for the results")
    add_score_threshold_argument(parser)
    parser.add_argument(
        "--truth_camera",
        choices=POSE_CAMERAS,
        default="image",
        help="where the true pose is fitted to the landmarks: in the image's camera, or in the"
        " annotated box's, as published labels are (default %(default)s)",
    )
    parser.add_argument(
        "--sheet",
        type=int,
        default=0,
        metavar="N",
        help="also draw N evenly spaced pictures: found faces, and annotated landmarks in green",
    )
    add_model_arguments(parser, checkpoint_required=True)
    add_prediction_arguments(parser)
    return parser


def _open_pictures(args: argparse.Namespace) -> PictureSource:
    if args.lmdb is not None:
        if args.dataset_path is not None:
            raise InputError("--dataset_path: belongs to --json_list; leave it out with --lmdb")
        return StoredPictures(PoseStore(args.lmdb))
    if args.dataset_path is None:
        raise InputError("--json_list: also give --dataset_path, the folder of the images")
    return ListedPictures(args.json_list, args.dataset_path, args.allow_outside)


def _sheet_cells(
    pictures: PictureSource,
    cache: PredictionCache,
    references: PoseReferences,
    score_threshold: float,
    count: int,
) -> list[np.ndarray]:
    cells = []
    for index in evenly_spaced(count, len(pictures)):
        annotation, picture = pictures[index]
        found = cache[pictures.names[index]].as_detections().above(score_threshold)
        cells.append(prediction_cell(picture, annotation, found, references))
    return cells


def _table(summary: LandmarkSummary) -> str:
    def figure(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    rows = [
        ("pictures", str(summary.pictures)),
        ("faces with a pose", str(summary.faces)),
        ("  of these with 5 points", str(summary.faces_with_5_points)),
        ("faces without a pose (not judged)", str(summary.faces_without_pose)),
        ("faces not found (IoU 0.5)", str(summary.missed_at_50)),
        ("recall at IoU 0.5", figure(summary.recall_at_50, 4)),
        ("recall at IoU 0.75", figure(summary.recall_at_75, 4)),
        ("average precision at IoU 0.5", figure(summary.average_precision_at_50, 4)),
        ("false positives a picture", figure(summary.false_positives_per_picture, 3)),
        ("rotation error, mean (deg)", figure(summary.rotation_error_deg_mean, 2)),
        ("rotation error, median (deg)", figure(summary.rotation_error_deg_median, 2)),
        ("landmark error, mean", figure(summary.landmark_error_mean, 4)),
        ("landmark error, median", figure(summary.landmark_error_median, 4)),
        ("  left by the true pose, mean", figure(summary.landmark_error_of_truth_mean, 4)),
        (
            f"landmark errors above {LANDMARK_LIMIT:g}",
            figure(summary.landmark_failure_rate, 4),
        ),
        ("area under their curve to there", figure(summary.landmark_area_under_curve, 4)),
    ]
    return "\n".join(f"{name:<38}{value:>8}" for name, value in rows)


def _write_results(
    args: argparse.Namespace,
    pictures: PictureSource,
    cache: PredictionCache,
    model: ModelNotes,
    command: str,
    began: float,
) -> None:
    output = Path(args.output_path)
    threshold = args.score_threshold
    if threshold is None:
        # Predictions that were kept before models had a threshold of their own have none.
        own = model.config.get("face_score_threshold", ModelConfig.face_score_threshold)
        threshold = float(own)
    judged = judge_pictures(
        (
            (pictures.annotation(index), cache[name].as_detections())
            for index, name in enumerate(pictures.names)
        ),
        model.references,
        score_threshold=threshold,
        truth_camera=args.truth_camera,
    )
    evaluation = summarise(judged, threshold)
    cells = _sheet_cells(pictures, cache, model.references, threshold, args.sheet)
    summary = evaluation_summary(
        args,
        cache,
        model,
        figures=evaluation.summary.to_dict() | figures_by_band(evaluation.faces),
        protocol=protocol(args.truth_camera),
        data={
            "source": args.lmdb or args.json_list,
            "truth_sha256": truth_fingerprint(pictures),
            "truth_camera": args.truth_camera,
        },
        settings={},
        command=command,
        seconds=time.perf_counter() - began,
    )
    report = landmark_report(
        "Faces against annotated landmarks",
        f"{args.checkpoint} on {args.lmdb or args.json_list}: {len(pictures)} pictures,"
        f" {evaluation.summary.faces} faces; scores above {threshold:g} count",
        evaluation,
        judged,
        pictures,
        cache,
        model.references,
        summary,
    )
    with told_when_unwritable(output):
        faces = (face.to_row().values() for face in evaluation.faces)
        write_csv(output / "faces.csv", FaceResult.columns(), faces)
        if cells:
            write_picture(output / "contact_sheet.png", contact_sheet(cells, cell=SHEET_CELL))
    write_report(output / "report.html", report)
    summary.write(output / "summary.json")
    results = {**asdict(summary), "results": str(output)}
    print_results(args, results, f"{_table(evaluation.summary)}\nresults: {output}")


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    began = time.perf_counter()
    args = build_parser().parse_args(argv)
    if args.sheet < 0:
        raise InputError(f"--sheet {args.sheet}: give how many pictures to draw, 0 for none")
    check_score_threshold(args.score_threshold)
    command = command_line(_SCRIPT, sys.argv[1:] if argv is None else argv)
    lowest = LOWEST_SCORE
    if args.score_threshold is not None:
        lowest = min(args.score_threshold, LOWEST_SCORE)
    with joined_processes() as processes:
        with processes.one_error():
            check_output_folder(args.output_path)
            pictures = _open_pictures(args)
        cache, model = predictions_for(
            args,
            pictures,
            lambda: Predictor.of(load_detector(args, score_threshold=lowest, processes=processes)),
            lowest_score=lowest,
            detection={},
            processes=processes,
        )
    if processes.is_main:
        _write_results(args, pictures, cache, model, command, began)
    return 0
