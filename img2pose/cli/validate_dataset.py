"""Checks a list of annotations or a store, and reports what is wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from img2pose.cli.dataset_figures import draw_error_histogram, face_cell
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import (
    add_workers_argument,
    check_workers,
    command_parser,
    print_results,
)
from img2pose.cli.reference_arguments import add_reference_arguments, load_references
from img2pose.data.checks.report import DatasetReport
from img2pose.data.checks.sources import AnnotationSource, Limits, Source, StoreSource
from img2pose.data.checks.workers import check_all
from img2pose.data.labels import POSE_CAMERAS
from img2pose.data.store import PoseStore
from img2pose.errors import InputError
from img2pose.files import (
    check_output_folder,
    replace_when_complete,
    told_when_unwritable,
    write_json,
    write_text,
)
from img2pose.references import PoseReferences
from img2pose.versions import package_versions
from img2pose.visualization import contact_sheet

REPORT_JSON, REPORT_TEXT = "report.json", "report.txt"
HISTOGRAM_FILE, WORST_FILE = "reprojection_histogram.png", "worst.png"
_DOTS_PER_INCH = 120
_CELL = 320
_COLUMNS = 6
_FOUND_WRONG = 2


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    limits = Limits()
    parser = command_parser(
        "scripts/validate_dataset.py",
        "Check a list of annotations, or a store made of one: files, duplicates,"
        " boxes, landmarks, left and right, poses. Prints a report and writes it as"
        f" {REPORT_TEXT} and {REPORT_JSON}, with {HISTOGRAM_FILE} (how well the rigid face fits"
        f" the landmarks) and {WORST_FILE} (the worst faces: annotated points green, those of the"
        " pose red). Exit code 0: no errors; 2: errors were found, or the input cannot be read.",
        "--json_list lists/train.txt --dataset_path images --output_path check",
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
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    add_workers_argument(
        parser,
        "worker processes (default %(default)s); with 0 a file that kills its reader ends the"
        " command",
    )
    parser.add_argument(
        "--pose_camera",
        choices=POSE_CAMERAS,
        default="box",
        help="with --json_list: camera that conversion will fit poses in, for their statistics"
        " (default %(default)s)",
    )
    parser.add_argument(
        "--worst",
        type=int,
        default=24,
        metavar="N",
        help=f"faces in {WORST_FILE} (default %(default)s; 0: no such file)",
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=5,
        metavar="N",
        help="examples of each finding in the text, at most 100 (default %(default)s);"
        f" {REPORT_JSON} always holds up to 100",
    )
    parser.add_argument(
        "--max_pixels",
        type=int,
        default=limits.max_pixels,
        help="pictures with more are errors and are not decoded (default %(default)s)",
    )
    parser.add_argument(
        "--min_side",
        type=int,
        default=limits.min_side,
        help="pictures with a shorter side draw a warning (default %(default)s)",
    )
    add_reference_arguments(parser)
    return parser


def _check_arguments(args: argparse.Namespace) -> None:
    check_workers(args)
    for name, least in (("worst", 0), ("examples", 0), ("max_pixels", 1), ("min_side", 0)):
        value = getattr(args, name)
        if value < least:
            raise InputError(f"--{name} {value}: give {least} or more")
    if args.lmdb is not None and args.dataset_path is not None:
        raise InputError("--dataset_path: belongs to --json_list; leave it out with --lmdb")
    if args.json_list is not None and args.dataset_path is None:
        raise InputError("--json_list: also give --dataset_path, the folder of the images")
    if args.dataset_path is not None and not Path(args.dataset_path).is_dir():
        raise InputError(
            f"{args.dataset_path}: is not a folder; give the images' as --dataset_path"
        )
    if args.lmdb is not None and not Path(args.lmdb).exists():
        raise InputError(f"{args.lmdb}: is not there; give the path of a store as --lmdb")


def _open_source(args: argparse.Namespace, references: PoseReferences) -> Source:
    limits = Limits(args.max_pixels, args.min_side)
    if args.lmdb is not None:
        return StoreSource(PoseStore(args.lmdb), references, limits)
    return AnnotationSource(
        Path(args.json_list), Path(args.dataset_path), references, args.pose_camera, limits
    )


def _check(source: Source, report: DatasetReport, num_workers: int) -> None:
    # Closing ends the worker processes, also after an error or an interrupt.
    with closing(check_all(source, num_workers)) as reports:
        for picture in tqdm(
            reports, "checking", len(source), unit="image", disable=None, file=sys.stderr
        ):
            report.add(picture)
    if isinstance(source, StoreSource):
        report.check_store(source)


def _worst_sheet(source: Source, report: DatasetReport) -> np.ndarray | None:
    cells = []
    for worst in report.worst:
        caption = f"{worst.error:.3f}  {Path(source.place(worst.index)).stem}  {worst.face}"
        picture = source.labelled_picture(worst.index)
        cells.append(face_cell(picture, worst.face, source.references, caption, _CELL))
    return contact_sheet(cells, _COLUMNS, _CELL) if cells else None


def _write(
    output: Path,
    report: DatasetReport,
    source: Source | None,
    text: str,
    described: dict[str, object],
) -> None:
    """Writes all files; they get their names together, once the last is complete."""
    sheet = None if source is None else _worst_sheet(source, report)
    worst = [
        {
            "place": "" if source is None else source.place(face.index),
            "face": face.face,
            "error": face.error,
        }
        for face in report.worst
    ]
    with ExitStack() as stack:
        names = [HISTOGRAM_FILE, REPORT_TEXT, REPORT_JSON]
        parts = {
            name: stack.enter_context(replace_when_complete(output / name))
            for name in ([WORST_FILE] if sheet is not None else []) + names
        }
        if sheet is not None:
            Image.fromarray(sheet).save(parts[WORST_FILE], format="png")
        figure = draw_error_histogram(report.reprojection_errors(), report.landmark_counts())
        figure.savefig(parts[HISTOGRAM_FILE], format="png", dpi=_DOTS_PER_INCH)
        write_text(parts[REPORT_TEXT], text + "\n")
        content = {**described, **report.to_dict(), "worst": worst, "versions": package_versions()}
        write_json(parts[REPORT_JSON], content, indent=1)
    if sheet is None:
        # An earlier check's would be taken for this one's.
        (output / WORST_FILE).unlink(missing_ok=True)


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    _check_arguments(args)
    output = Path(args.output_path)
    check_output_folder(output)
    for name in (REPORT_TEXT, REPORT_JSON, HISTOGRAM_FILE, WORST_FILE):
        if (output / name).is_dir():
            raise InputError(f"{output / name}: is a folder; move it away")
    references = load_references(args)
    report = DatasetReport(args.worst)
    source: Source | None = None
    try:
        source = _open_source(args, references)
    except InputError as error:
        if args.lmdb is None:
            raise
        message = " ".join(str(error).split()).removeprefix(f"{args.lmdb}: ")
        report.note("store_unreadable", args.lmdb, message)
    else:
        _check(source, report, args.num_workers)
    checked = args.lmdb if args.lmdb is not None else args.json_list
    wrong = bool(report.errors or (args.strict and report.warnings))
    verdict = "something is wrong" if wrong else "no errors"
    text = f"{checked}: {verdict}\n\n{report.to_text(args.examples)}"
    kind = "list" if args.lmdb is None else "lmdb"
    described: dict[str, object] = {
        "source": {"kind": kind, "path": checked, "dataset_path": args.dataset_path},
        "strict": args.strict,
        "wrong": wrong,
    }
    with told_when_unwritable(output):
        _write(output, report, source, text, described)
    results = {**described, **report.to_dict(), "results": str(output)}
    print_results(args, results, f"{text}\n\nresults: {output}")
    return _FOUND_WRONG if wrong else 0
