"""Judges a model against annotated landmarks."""

from __future__ import annotations

import argparse
import csv
import hashlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import (
    add_model_arguments,
    add_score_threshold_argument,
    load_detector,
)
from img2pose.data.annotations import Annotation
from img2pose.data.store import PoseStore
from img2pose.errors import InputError
from img2pose.evaluation.evaluators import LOWEST_SCORE, LandmarkEvaluator
from img2pose.evaluation.landmarks import (
    PROTOCOL,
    FaceResult,
    LandmarkEvaluation,
    LandmarkSummary,
)
from img2pose.evaluation.pictures import ListedPictures, PictureSource, StoredPictures
from img2pose.evaluation.sheets import SHEET_CELL, evenly_spaced, prediction_cell
from img2pose.files import check_output_folder, replace_when_complete, write_json
from img2pose.inference.detector import Detector
from img2pose.types import FaceDetections
from img2pose.versions import package_versions
from img2pose.visualization import contact_sheet


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = argparse.ArgumentParser(
        description="Compare a model's faces with annotated landmarks: recall, false positives,"
        " rotation and landmark errors. Writes summary.json and faces.csv (a row for each"
        " annotated face), with --sheet also contact_sheet.png.",
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
        "--sheet",
        type=int,
        default=0,
        metavar="N",
        help="also draw N evenly spaced pictures: found faces, and annotated landmarks in green",
    )
    add_model_arguments(parser)
    return parser


def _open_pictures(args: argparse.Namespace) -> PictureSource:
    if args.lmdb is not None:
        if args.dataset_path is not None:
            raise InputError("--dataset_path: belongs to --json_list; leave it out with --lmdb")
        return StoredPictures(PoseStore(args.lmdb))
    if args.dataset_path is None:
        raise InputError("--json_list: also give --dataset_path, the folder of the images")
    return ListedPictures(args.json_list, args.dataset_path, args.allow_outside)


def _judge(
    evaluator: LandmarkEvaluator, detector: Detector, sheet_size: int
) -> tuple[LandmarkEvaluation, list[np.ndarray]]:
    """The evaluation, and drawings (cell, cell, 3) of evenly spaced pictures."""
    chosen = set(evenly_spaced(sheet_size, len(evaluator)))
    cells: list[np.ndarray] = []

    def draw_chosen(
        index: int, annotation: Annotation, picture: np.ndarray, found: FaceDetections
    ) -> None:
        if index in chosen:
            confident = found.above(evaluator.score_threshold)
            cells.append(prediction_cell(picture, annotation, confident, detector.references))

    progress = tqdm(
        range(len(evaluator)), desc="evaluating", unit="image", disable=None, file=sys.stderr
    )
    return evaluator.evaluate(evaluator.judge(detector, progress, draw_chosen)), cells


def _write_sheet(path: Path, cells: Sequence[np.ndarray]) -> None:
    with replace_when_complete(path) as part:
        Image.fromarray(contact_sheet(cells, cell=SHEET_CELL)).save(part)


def _write_faces(path: Path, faces: Sequence[FaceResult]) -> None:
    with replace_when_complete(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FaceResult.columns())
        writer.writeheader()
        writer.writerows(face.to_row() for face in faces)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _report(
    args: argparse.Namespace,
    argv: Sequence[str] | None,
    detector: Detector,
    evaluation: LandmarkEvaluation,
) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else argv
    config = detector.model.config
    return {
        "figures": evaluation.summary.to_dict(),
        "protocol": PROTOCOL,
        "min_size": config.min_size[-1],
        "max_size": config.max_size,
        "inference_profile": config.inference_profile,
        "lowest_score": detector.score_threshold,
        "checkpoint": args.checkpoint,
        "checkpoint_sha256": _sha256(args.checkpoint),
        "references_sha256": detector.references.sha256,
        "device": str(detector.device),
        "versions": package_versions(),
        "command": shlex.join(["scripts/evaluate_landmarks.py", *arguments]),
    }


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
    ]
    return "\n".join(f"{name:<36}{value:>10}" for name, value in rows)


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    if args.sheet < 0:
        raise InputError(f"--sheet {args.sheet}: give how many pictures to draw, 0 for none")
    if not 0 <= args.score_threshold <= 1:
        raise InputError(f"--score_threshold {args.score_threshold}: must be between 0 and 1")
    output = Path(args.output_path)
    check_output_folder(output)
    evaluator = LandmarkEvaluator(_open_pictures(args), args.score_threshold)
    detector = load_detector(args, score_threshold=min(args.score_threshold, LOWEST_SCORE))
    evaluation, cells = _judge(evaluator, detector, args.sheet)
    report = _report(args, argv, detector, evaluation)
    _write_faces(output / "faces.csv", evaluation.faces)
    if cells:
        _write_sheet(output / "contact_sheet.png", cells)
    write_json(output / "summary.json", report, indent=1)
    print(_table(evaluation.summary))
    print(f"results: {output}")
    return 0
