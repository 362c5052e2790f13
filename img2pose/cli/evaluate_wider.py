"""`evaluate_wider.py`: a model's faces on WIDER FACE, as files to submit, and their score."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2pose.cli.commands import command_line
from img2pose.cli.evaluation_summary import evaluation_summary
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import add_model_arguments, load_detector
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.prediction_arguments import add_prediction_arguments, predictions_for
from img2pose.cli.score_wider import CURVES_FILE, POINTS_FILE
from img2pose.cli.wider_arguments import add_scoring_arguments, chosen_events
from img2pose.config import config_from_mapping
from img2pose.distributed import Processes, joined_processes
from img2pose.errors import InputError
from img2pose.evaluation.evaluators import LOWEST_SCORE
from img2pose.evaluation.pictures import PictureFiles
from img2pose.evaluation.predicting import Predictor
from img2pose.evaluation.predictions import ModelNotes, Prediction, PredictionCache
from img2pose.evaluation.report import Report, Section, Summary, Table, write_report
from img2pose.evaluation.wider.curves import write_curve_points, write_curves
from img2pose.evaluation.wider.figures import figures, table
from img2pose.evaluation.wider.ground_truth import WiderTruth, event_of, read_ground_truth
from img2pose.evaluation.wider.images import find_wider_images
from img2pose.evaluation.wider.passes import (
    PUBLISHED_MIN_SIZES,
    PUBLISHED_VOTE_IOU,
    PassSettings,
    find_boxes,
)
from img2pose.evaluation.wider.report import score_sections
from img2pose.evaluation.wider.scoring import (
    PROTOCOL,
    WiderScore,
    missing_images,
    score_predictions,
)
from img2pose.evaluation.wider.submission import (
    files_in_folder,
    read_predictions,
    write_predictions,
)
from img2pose.files import check_output_folder, told_when_unwritable
from img2pose.images import read_image

SUBMISSION_FOLDER = "submission"
TITLE = "WIDER FACE, validation"

_SCRIPT = "evaluate_wider.py"


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        _SCRIPT,
        "Find the faces of WIDER FACE's images. Writes the files to submit"
        f" (OUTPUT_PATH/{SUBMISSION_FOLDER}/EVENT/IMAGE.txt), summary.json and report.html, with"
        f" --ground_truth also the average precisions, {CURVES_FILE} and {POINTS_FILE}. Goes on"
        " where it stopped when the same command is started again; torchrun's processes share the"
        " images.",
        "--checkpoint best.pth --dataset_path WIDER_val/images"
        " --ground_truth eval_tools/ground_truth --output_path out/wider --min_size 800",
    )
    parser.add_argument("--dataset_path", required=True, help="WIDER_val/images")
    parser.add_argument(
        "--dataset_list",
        metavar="FILE",
        help="text file with the paths of the images in it, as wider_face_val_bbx_gt.txt (default:"
        " all that are there)",
    )
    parser.add_argument("--output_path", required=True, help="folder for the results")
    parser.add_argument(
        "--ground_truth",
        metavar="DIR",
        help="also score: folder with wider_face_val.mat, wider_easy_val.mat, wider_medium_val.mat"
        " and wider_hard_val.mat",
    )
    add_scoring_arguments(parser)
    parser.add_argument(
        "--nms_threshold",
        help="IoU from which boxes are merged: by box voting over several sizes (default"
        f" {PUBLISHED_VOTE_IOU}), with one size by the model's own suppression (default: the"
        " checkpoint's)",
    )
    parser.add_argument("--depth", help="depth of the ResNet (default: that of the weights)")
    add_model_arguments(
        parser,
        checkpoint_required=True,
        min_size_help="shorter sides to look at the images with; several are also mirrored and"
        " merged by box voting (default: %(default)s)",
        max_size_help="longest longer side (default: no limit)",
    )
    add_prediction_arguments(parser)
    parser.set_defaults(min_size=", ".join(map(str, PUBLISHED_MIN_SIZES)))
    return parser


def _settings(args: argparse.Namespace) -> PassSettings:
    names = ("min_size", "max_size", "nms_threshold")
    return config_from_mapping(PassSettings, {name: getattr(args, name) for name in names}, "flags")


@dataclass(frozen=True, eq=False)
class _Work:
    """What there is to do, checked before hours go into it.

    Attributes:
        images: Files by `EVENT/IMAGE`.
        truth: Of their events; None without `--ground_truth`.
        settings: The passes.
    """

    images: Mapping[str, Path]
    truth: WiderTruth | None
    settings: PassSettings


def _plan(args: argparse.Namespace) -> _Work:
    settings = _settings(args)
    events = chosen_events(args)
    submission = Path(args.output_path) / SUBMISSION_FOLDER
    check_output_folder(submission)
    images = find_wider_images(
        args.dataset_path, args.dataset_list, events, allow_missing=args.allow_missing
    )
    for name, path in files_in_folder(submission):
        if name not in images:
            raise InputError(
                f"{path}: of an image that is not among these; remove {submission} or give another"
                " --output_path"
            )
    truth = None
    if args.ground_truth is not None:
        truth = read_ground_truth(args.ground_truth).of_events({event_of(name) for name in images})
        missing_images(images, truth, allow_missing=args.allow_missing, kind="images")
    return _Work(images, truth, settings)


def _predict(
    args: argparse.Namespace, work: _Work, processes: Processes
) -> tuple[PredictionCache, ModelNotes]:
    settings = work.settings
    overrides: dict[str, Any] = {} if args.depth is None else {"depth": args.depth}
    if not settings.are_merged and settings.nms_threshold is not None:
        overrides["nms_threshold"] = settings.nms_threshold

    def load() -> Predictor:
        detector = load_detector(
            args, score_threshold=LOWEST_SCORE, processes=processes, **overrides
        )

        def detect(pictures: Sequence[np.ndarray]) -> list[Prediction]:
            found = find_boxes(detector, pictures, settings)
            return [
                Prediction(boxes, scores, (picture.shape[0], picture.shape[1]))
                for picture, (boxes, scores) in zip(pictures, found, strict=True)
            ]

        return Predictor(detect, ModelNotes.of(detector))

    return predictions_for(
        args,
        PictureFiles(work.images),
        load,
        lowest_score=LOWEST_SCORE,
        detection=settings.to_dict(),
        processes=processes,
    )


def _read_or_none(images: Mapping[str, Path], name: str) -> np.ndarray | None:
    return read_image(images[name], upright=False) if name in images else None


def _write_results(
    args: argparse.Namespace,
    work: _Work,
    cache: PredictionCache,
    model: ModelNotes,
    command: str,
    began: float,
) -> None:
    output = Path(args.output_path)
    submission = output / SUBMISSION_FOLDER
    with told_when_unwritable(submission):
        for name in work.images:
            write_predictions(submission, name, cache[name].boxes, cache[name].scores)
    sections: list[Section] = []
    score: WiderScore | None = None
    if work.truth is not None:
        # The files themselves are scored: what is submitted is what has these figures.
        predictions = read_predictions(submission)
        score = score_predictions(predictions, work.truth, allow_missing=args.allow_missing)
        sections = score_sections(
            score, predictions, work.truth, lambda name: _read_or_none(work.images, name)
        )
        with told_when_unwritable(output):
            write_curve_points(output / POINTS_FILE, score)
            write_curves(output / CURVES_FILE, score)
    summary = _summary(args, work, cache, model, score, command, time.perf_counter() - began)
    protocol = Table("", ("what", "how"), [list(item) for item in summary.protocol.items()])
    report = Report(
        TITLE,
        f"{args.checkpoint} on {args.dataset_path}",
        _key_figures(summary.figures),
        [*sections, Section("Protocol", tables=[protocol])],
        summary.facts(),
    )
    write_report(output / "report.html", report)
    summary.write(output / "summary.json")
    lines = [] if score is None else [table(score)]
    lines += [f"files to submit: {submission}", f"results: {output}"]
    results = {**asdict(summary), "submission": str(submission), "results": str(output)}
    print_results(args, results, "\n".join(lines))


def _key_figures(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = []
    for name, value in values.items():
        if name.startswith("average_precision_"):
            text = "-" if value is None else f"{value:.5f}"
            shown.append((f"AP {name.removeprefix('average_precision_')}", text))
    return [*shown, ("images", str(values["images"])), ("boxes found", str(values["predictions"]))]


def _summary(
    args: argparse.Namespace,
    work: _Work,
    cache: PredictionCache,
    model: ModelNotes,
    score: WiderScore | None,
    command: str,
    seconds: float,
) -> Summary:
    protocol = {
        "passes": work.settings.description(),
        "detections": f"all with a score above {LOWEST_SCORE}, in each pass",
    }
    boxes = sum(len(cache[name]) for name in work.images)
    return evaluation_summary(
        args,
        cache,
        model,
        figures=(
            {"images": len(work.images), "predictions": boxes} if score is None else figures(score)
        ),
        protocol=protocol if score is None else protocol | PROTOCOL,
        data={
            "dataset_list": args.dataset_list,
            "events": sorted({event_of(name) for name in work.images}),
            "ground_truth": args.ground_truth,
            "ground_truth_sha256": None if work.truth is None else work.truth.sha256,
        },
        settings=work.settings.to_dict(),
        command=command,
        seconds=seconds,
    )


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    began = time.perf_counter()
    args = build_parser().parse_args(argv)
    command = command_line(_SCRIPT, sys.argv[1:] if argv is None else argv)
    with joined_processes() as processes:
        with processes.one_error():
            work = _plan(args)
        cache, model = _predict(args, work, processes)
    if processes.is_main:
        _write_results(args, work, cache, model, command, began)
    return 0
