"""What the commands that judge head poses share; each benchmark has a command of its own."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from img2pose.cli.commands import command_line
from img2pose.cli.evaluation_summary import evaluation_summary
from img2pose.cli.model_arguments import add_model_arguments, load_detector
from img2pose.cli.parsers import print_results
from img2pose.cli.prediction_arguments import add_prediction_arguments, predictions_for
from img2pose.distributed import Processes, joined_processes
from img2pose.evaluation.evaluators import LOWEST_SCORE
from img2pose.evaluation.head_judging import JudgedHeads, judge_heads
from img2pose.evaluation.head_pose import PROTOCOL
from img2pose.evaluation.head_report import (
    PublishedFigures,
    angle_table,
    draw_plots,
    landmark_table,
    left_out_table,
    report_sections,
    translation_table,
    worst_cases,
    yaw_band_table,
)
from img2pose.evaluation.head_sets import (
    HeadSet,
    LeftOutHead,
    fit_truths,
    without_unreadable_pictures,
)
from img2pose.evaluation.pictures import PictureFiles
from img2pose.evaluation.predicting import Predictor
from img2pose.evaluation.predictions import ModelNotes, PredictionCache
from img2pose.evaluation.report import Report, Table, write_report
from img2pose.files import check_output_folder, told_when_unwritable, write_bytes, write_csv
from img2pose.images import read_image

# Proposals a level before suppression, and an image after it.
DETECTION: Mapping[str, Any] = {"rpn_pre_nms_test": 500, "rpn_post_nms_test": 10}
MAX_SIZE = 1400


@dataclass(frozen=True)
class HeadBenchmark:
    """A benchmark's command.

    Attributes:
        name: In the report.
        script: The command's, as in `commands.COMMANDS`.
        min_size: Shorter side of its protocol in pixels.
        published: What img2pose's authors state.
        read: Reads the data set that the flags name.
    """

    name: str
    script: str
    min_size: int
    published: PublishedFigures
    read: Callable[[argparse.Namespace], HeadSet]


def add_head_pose_arguments(parser: argparse.ArgumentParser, min_size: int) -> None:
    """Adds the flags that all head-pose commands have."""
    parser.add_argument("--output_path", required=True, help="folder for the results")
    parser.add_argument(
        "--allow_outside",
        action="store_true",
        help="take images that lie outside --dataset_path (absolute paths, .., links)",
    )
    parser.add_argument(
        "--skip-bad",
        "--skip_bad",
        action="store_true",
        help="leave out pictures that are damaged or whose labels cannot be used, and say which,"
        " instead of stopping; every picture is then decoded once more, first",
    )
    add_model_arguments(
        parser,
        checkpoint_required=True,
        min_size_help="shorter side that pictures are resized to (default: the protocol's,"
        " %(default)s)",
        max_size_help="longest longer side of these (default: %(default)s)",
    )
    add_prediction_arguments(parser)
    parser.set_defaults(min_size=str(min_size), max_size=str(MAX_SIZE))


def run_head_pose_evaluation(
    args: argparse.Namespace, argv: Sequence[str] | None, benchmark: HeadBenchmark
) -> int:
    """Predicts, unless that was done, judges and writes the results.

    Args:
        args: Parsed flags.
        argv: The command line, None: the process's.
        benchmark: Whose command it is.

    Returns:
        The exit code.

    Raises:
        InputError: Bad input.
        OutputError: The results cannot be written.
    """
    began = time.perf_counter()
    command = command_line(benchmark.script, sys.argv[1:] if argv is None else argv)
    with joined_processes() as processes:
        with processes.one_error():
            check_output_folder(args.output_path)
            heads = benchmark.read(args)
            if args.skip_bad:
                quiet = None if processes.is_main else True
                names = tqdm(heads.images, desc="decoding", unit="image", disable=quiet)
                heads = without_unreadable_pictures(heads, names)
        cache, model = _predict(args, heads, processes)
    if processes.is_main:
        _write_results(args, benchmark, heads, cache, model, command, began)
    return 0


def _predict(
    args: argparse.Namespace, heads: HeadSet, processes: Processes
) -> tuple[PredictionCache, ModelNotes]:
    def load() -> Predictor:
        detector = load_detector(
            args, score_threshold=LOWEST_SCORE, processes=processes, **DETECTION
        )
        return Predictor.of(detector)

    return predictions_for(
        args,
        PictureFiles(heads.images),
        load,
        lowest_score=LOWEST_SCORE,
        detection=DETECTION,
        processes=processes,
    )


def _write_results(
    args: argparse.Namespace,
    benchmark: HeadBenchmark,
    heads: HeadSet,
    cache: PredictionCache,
    model: ModelNotes,
    command: str,
    began: float,
) -> None:
    references = model.references
    truths, left_out = fit_truths(heads, references)
    found = {name: cache[name].as_detections() for name in heads.images}
    judged = judge_heads(truths, found, references)
    plots = draw_plots(judged)
    cases = worst_cases(
        judged, lambda name: read_image(heads.images[name], upright=False), references
    )
    protocol = _protocol(benchmark, args, heads)
    summary = evaluation_summary(
        args,
        cache,
        model,
        figures=judged.summary.to_dict() | {"found_at_iou_50": judged.found_at_iou_50},
        protocol=protocol,
        data={
            "name": benchmark.name,
            "truth_sha256": heads.truth_sha256,
            "left_out": _counted(left_out) | dict(heads.counts),
        },
        settings=DETECTION,
        command=command,
        seconds=time.perf_counter() - began,
    )
    output = Path(args.output_path)
    left_out_by_reason = left_out_table(left_out, heads.counts)
    report = Report(
        f"Head poses: {benchmark.name}",
        f"{args.checkpoint} on {args.dataset_path}",
        _key_figures(judged, summary.seconds),
        report_sections(
            judged,
            benchmark.published,
            left_out_by_reason,
            list(plots.values()),
            cases,
            protocol,
        ),
        summary.facts(),
    )
    with told_when_unwritable(output):
        faces = judged.rows()
        write_csv(output / "faces.csv", list(faces[0]), (face.values() for face in faces))
        write_csv(
            output / "left_out.csv",
            ("image", "reason", "detail"),
            ((head.image, head.reason, head.detail) for head in left_out),
        )
        for name, plot in plots.items():
            write_bytes(output / f"{name}.png", plot.png)
    write_report(output / "report.html", report)
    summary.write(output / "summary.json")
    text = _figures_text(benchmark, judged, left_out_by_reason, summary.seconds)
    results = {**asdict(summary), "results": str(output)}
    print_results(args, results, f"{text}\nresults: {output}")


def _counted(left_out: Sequence[LeftOutHead]) -> dict[str, int]:
    return dict(Counter(out.reason for out in left_out))


def _protocol(benchmark: HeadBenchmark, args: argparse.Namespace, heads: HeadSet) -> dict[str, str]:
    return {
        "pictures": f"shorter side {args.min_size} pixels (published: {benchmark.min_size}), longer"
        f" at most {args.max_size}; EXIF orientation not applied, since labels refer to stored"
        " pixels",
        "proposals": f"{DETECTION['rpn_pre_nms_test']} a level before suppression,"
        f" {DETECTION['rpn_post_nms_test']} an image after it, as published",
        "detections": f"all with a score above {LOWEST_SCORE}, as published",
        **heads.protocol,
        **PROTOCOL,
        "seconds": "of a prediction, in batches of"
        f" {args.batch_size}, as measured when it was made; pictures are read meanwhile",
    }


def _median_milliseconds(seconds: Mapping[str, float | None]) -> str:
    return f"{1e3 * (seconds['inference_median'] or 0.0):.1f}"


def _key_figures(judged: JudgedHeads, seconds: Mapping[str, float | None]) -> list[tuple[str, str]]:
    summary = judged.summary
    only, counted = summary.found_only, summary.missed_counted
    figures = [("faces found", f"{summary.faces - summary.missed} of {summary.faces}")]
    if only.euler_deg is not None and counted.euler_deg is not None:
        figures += [
            ("mean angle error, found (deg)", f"{only.euler_deg.mean:.3f}"),
            ("the same, missed counted (deg)", f"{counted.euler_deg.mean:.3f}"),
            ("geodesic error, found (deg)", f"{only.rotation_deg_mean:.3f}"),
        ]
    if only.landmarks_by_box is not None:
        figures.append(("landmark error, found (of the box)", f"{only.landmarks_by_box.mean:.4f}"))
    return [*figures, ("milliseconds a picture, median", _median_milliseconds(seconds))]


def _table_text(table: Table) -> list[str]:
    texts = [[table.text(i, cell) for i, cell in enumerate(row)] for row in table.rows]
    lines = [list(table.columns), *texts]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    shown = ["", table.title]
    for line in lines:
        cells = [
            f"{cell:>{width}}" if table.is_numeric(column) else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        shown.append("  ".join(cells).rstrip())
    return shown


def _figures_text(
    benchmark: HeadBenchmark,
    judged: JudgedHeads,
    left_out: Table,
    seconds: Mapping[str, float | None],
) -> str:
    summary = judged.summary
    at_iou = judged.found_at_iou_50
    lines = [
        f"{benchmark.name}: {summary.faces} faces, {summary.missed} not found"
        + ("" if at_iou is None else f", {at_iou} found at IoU 0.5")
    ]
    for table in (
        angle_table(summary, benchmark.published),
        translation_table(summary, benchmark.published),
        landmark_table(summary),
        yaw_band_table(summary),
        left_out,
    ):
        if table is not None:
            lines += _table_text(table)
    lines.append(f"\nmilliseconds a picture, median: {_median_milliseconds(seconds)}")
    return "\n".join(lines)
