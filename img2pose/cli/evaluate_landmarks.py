"""Judges a model against annotated landmarks."""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
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
from img2pose.evaluation.landmarks import (
    PROTOCOL,
    FaceResult,
    LandmarkEvaluation,
    LandmarkSummary,
    evaluate_faces,
    listed_pictures,
    read_listed_annotations,
    stored_pictures,
)
from img2pose.files import check_output_folder, replace_when_complete, write_json
from img2pose.inference.detector import Detector
from img2pose.types import FaceDetections
from img2pose.visualization import contact_sheet, draw_faces, draw_points, fit_into

_VERSIONED_PACKAGES = ("img2pose-torch", "torch", "torchvision", "numpy", "opencv-python-headless")
# Reported scores reach down to here; the lower, the longer the tail that counts in the AP.
_LOWEST_SCORE = 0.05
_SHEET_CELL = 480


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


def _open_pictures(
    args: argparse.Namespace,
) -> tuple[int, Iterator[tuple[Annotation, np.ndarray]]]:
    """How many pictures there are, and the pictures."""
    if args.lmdb is not None:
        if args.dataset_path is not None:
            raise InputError("--dataset_path: belongs to --json_list; leave it out with --lmdb")
        store = PoseStore(args.lmdb)
        return len(store), stored_pictures(store, args.lmdb)
    if args.dataset_path is None:
        raise InputError("--json_list: also give --dataset_path, the folder of the images")
    annotations = read_listed_annotations(args.json_list, args.dataset_path)
    return len(annotations), listed_pictures(annotations, args.dataset_path)


class _Sheet:
    """Collects drawings of evenly spaced pictures while these pass by."""

    def __init__(self, size: int, pictures: int) -> None:
        self.chosen = set(np.linspace(0, pictures - 1, min(size, pictures)).round().tolist())
        self.cells: list[np.ndarray] = []

    def see(
        self,
        index: int,
        annotation: Annotation,
        picture: np.ndarray,
        detections: FaceDetections,
        detector: Detector,
    ) -> None:
        if index not in self.chosen:
            return
        # Dots of 1.2 pixels once the picture is scaled to its cell.
        radius = max(1.0, 1.2 * max(picture.shape[:2]) / _SHEET_CELL)
        drawing = draw_faces(picture, detections, detector.references)
        for points, known in zip(annotation.landmarks, annotation.has_landmarks, strict=True):
            if known:
                drawing = draw_points(drawing, points, radius=radius)
        self.cells.append(fit_into(drawing, _SHEET_CELL))

    def write(self, path: Path) -> None:
        with replace_when_complete(path) as part:
            Image.fromarray(contact_sheet(self.cells, cell=_SHEET_CELL)).save(part)


def _detect(
    pictures: Iterable[tuple[Annotation, np.ndarray]],
    detector: Detector,
    score_threshold: float,
    sheet: _Sheet,
) -> Iterator[tuple[Annotation, FaceDetections]]:
    for index, (annotation, picture) in enumerate(pictures):
        detections = detector.predict(picture)
        sheet.see(index, annotation, picture, detections.above(score_threshold), detector)
        yield annotation, detections


def _write_faces(path: Path, faces: Sequence[FaceResult]) -> None:
    with replace_when_complete(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FaceResult.columns())
        writer.writeheader()
        writer.writerows(face.to_row() for face in faces)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _VERSIONED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


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
        "versions": _versions(),
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
    count, pictures = _open_pictures(args)
    detector = load_detector(args, score_threshold=min(args.score_threshold, _LOWEST_SCORE))
    sheet = _Sheet(args.sheet, count)
    progress = tqdm(
        pictures, total=count, desc="evaluating", unit="image", disable=None, file=sys.stderr
    )
    evaluation = evaluate_faces(
        _detect(progress, detector, args.score_threshold, sheet),
        detector.references,
        score_threshold=args.score_threshold,
    )
    report = _report(args, argv, detector, evaluation)
    _write_faces(output / "faces.csv", evaluation.faces)
    if sheet.cells:
        sheet.write(output / "contact_sheet.png")
    write_json(output / "summary.json", report, indent=1)
    print(_table(evaluation.summary))
    print(f"results: {output}")
    return 0
