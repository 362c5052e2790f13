"""All the way from nothing to a judged model and its pictures, by a user's commands."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from img2pose.cli.commands import command_line
from img2pose.cli.demo_steps import (
    LOOKS,
    Demo,
    DemoFolder,
    DemoSettings,
    StepError,
    StepRecord,
)
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.make_synthetic_dataset import SHEET_FILE
from img2pose.cli.parsers import check_workers, command_parser, print_results
from img2pose.cli.predict import PREDICTIONS_FILE
from img2pose.config import TrainConfig, read_config
from img2pose.errors import InputError
from img2pose.files import check_output_folder, told_when_unwritable, write_json

DEMO_FILE = "demo.json"
_LEAST_COUNT, _LEAST_HELD_OUT = 8, 4
_FIGURES = (
    ("recall_at_50", "faces found (recall at IoU 0.5)", "{:.3f}"),
    ("recall_at_75", "faces found, box tighter (recall at IoU 0.75)", "{:.3f}"),
    ("false_positives_per_picture", "found where no face is, a picture", "{:.2f}"),
    ("rotation_error_deg_mean", "rotation error of those found, mean", "{:.1f} deg"),
    ("rotation_error_deg_median", "rotation error, median", "{:.1f} deg"),
    ("landmark_error_mean", "error of the 68 points over the eyes' distance, mean", "{:.3f}"),
    ("landmark_error_of_truth_mean", "  the same for the true pose of a rigid head", "{:.3f}"),
)


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/demo.py",
        "Draw faces, train a model on them from random weights, judge it on drawn faces that it"
        " has not seen, and draw what it finds: the commands of a whole project, each printed"
        " before it runs, in less than 12 minutes on two cores. A demo that was stopped goes on"
        " when the same command is given again; one that is done says what it reuses. Run it from"
        " the checkout.",
        "",
        "--count 800 --epochs 1 --output_path out/small_demo",
    )
    parser.add_argument(
        "--output_path",
        default="out/demo",
        help="folder for all that is made (default %(default)s)",
    )
    parser.add_argument(
        "--count", type=int, default=1400, help="pictures to train on (default %(default)s)"
    )
    parser.add_argument(
        "--held_out", type=int, default=100, help="pictures to judge on (default %(default)s)"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        help="times that the training sees each picture (default: as the configuration says)",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default="configs/demo.yaml",
        help="configuration of the training (default %(default)s)",
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        help="processes that draw, convert and load, 0 for none (default: each command's)",
    )
    return parser


def _checked_settings(args: argparse.Namespace) -> DemoSettings:
    for name, least in (("count", _LEAST_COUNT), ("held_out", _LEAST_HELD_OUT), ("epochs", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise InputError(f"--{name} {value}: give at least {least}")
    check_workers(args)
    if not Path(args.config).is_file():
        raise InputError(f"{args.config}: not found; run this from the checkout, or give --config")
    # What is wrong with it is better known before pictures are drawn.
    read_config(TrainConfig, args.config)
    return DemoSettings(args.count, args.held_out, args.epochs, args.config)


def _begin(folder: Path, settings: DemoSettings) -> dict[str, Any]:
    """Makes sure that what is in the folder is a part of this demo, and says so there.

    Returns:
        The settings, as the folder has them.

    Raises:
        InputError: It is not, or the folder cannot be written to.
    """
    check_output_folder(folder)
    path = folder / DEMO_FILE
    wanted = {**asdict(settings), "looks": " ".join(LOOKS)}
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["settings"]
            changed = [f"{n} {found[n]}, now {v}" for n, v in wanted.items() if found[n] != v]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: does not describe a demo; remove {folder} or give another --output_path"
            ) from error
        if changed:
            raise InputError(
                f"{path}: describes a demo of other settings ({'; '.join(changed)}); give those,"
                f" another --output_path, or remove {folder}"
            )
        return wanted
    others = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    if others:
        raise InputError(
            f"{folder}: holds {others[0]}, which is none of the demo's; give another --output_path"
        )
    with told_when_unwritable(path):
        write_json(path, {"settings": wanted}, indent=1)
    return wanted


def _column(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows)


def _figures_text(figures: Mapping[str, Any]) -> str:
    return _column(
        [
            (text, "-" if figures[name] is None else form.format(figures[name]))
            for name, text, form in _FIGURES
        ]
    )


def _times_text(records: Sequence[StepRecord], seconds: float) -> str:
    rows = [(record.name, f"{record.seconds:6.1f} s  {record.done}") for record in records]
    rows.append(("all of it (without make install)", f"{seconds:6.1f} s"))
    return _column(rows)


def _places(demo: Demo) -> list[tuple[str, str]]:
    folder, shown = demo.folder, demo.shown_pictures()[0].stem
    return [
        (str(folder.training.best), "the model, with its settings and pose statistics"),
        (str(folder.evaluation / "report.html"), "figures, curves and the worst faces"),
        (str(folder.evaluation / "contact_sheet.png"), "what it found in 12 of the pictures"),
        (str(folder.rendered / f"{shown}_sheet.jpg"), "what was drawn by the poses it found"),
        (str(folder.predictions / PREDICTIONS_FILE), "their boxes, scores, poses and angles"),
        (str(folder.train / SHEET_FILE), "pictures it was trained on, with their points"),
        (str(folder.store), "all of these; statistics of their poses lie beside it"),
        (str(folder.training.path), "config.yaml, losses (metrics.jsonl, tensorboard/), run.json"),
    ]


def _epochs(settings: DemoSettings) -> int:
    return settings.epochs or read_config(TrainConfig, settings.config).optim.epochs


def _expectation(demo: Demo) -> str:
    settings, report = demo.settings, demo.folder.evaluation / "report.html"
    return (
        f"What to expect: this model has seen {settings.count} drawn pictures,"
        f" {_epochs(settings)} times each, and no photograph. Their faces, and\nthose it is judged"
        " by, are larger, turned less and hidden less than make_synthetic_dataset.py draws them by"
        f"\ndefault. It shows the way and is not made for use. {report} has figures"
        " by size and turn of\nthe faces and the worst mistakes; README.md has trainings of half an"
        " hour and more, and what they reach on photographs."
    )


def next_commands(folder: DemoFolder, settings: DemoSettings) -> list[tuple[str, str]]:
    """What to do after the demo: a sentence and a command each."""
    best = str(folder.training.best)
    return [
        (
            "Faces in photographs of your own (a folder or files):",
            command_line(
                "scripts/predict.py",
                ["photographs", "--checkpoint", best, "--output_path", "out/photographs"],
            ),
        ),
        (
            "The curves of the training:",
            command_line(
                "scripts/plot_run.py",
                [str(folder.training.path), "--output_path", str(folder.path / "curves.png")],
            ),
        ),
        (
            "What the LMDB holds:",
            command_line(
                "scripts/inspect_lmdb.py",
                [str(folder.store), "--sheet", "12", "--output_path", str(folder.path / "records")],
            ),
        ),
        (
            "A better model: four times as long, from this one on",
            command_line(
                "train.py",
                ["--config", settings.config, "--train_source", str(folder.store)]
                + ["--pretrained_path", best, "--epochs", str(4 * _epochs(settings))]
                + ["--workspace", str(folder.path), "--prefix", "longer"],
            ),
        ),
    ]


def _text(demo: Demo, figures: Mapping[str, Any], seconds: float) -> str:
    following = [
        f"  {words}\n    {command}" for words, command in next_commands(demo.folder, demo.settings)
    ]
    return "\n".join(
        [
            "",
            f"What the model reaches on {figures['pictures']} drawn pictures that it has not seen,"
            f" {figures['faces']} faces (scores above {figures['score_threshold']:g} count):",
            _figures_text(figures),
            "",
            _expectation(demo),
            "",
            "Time:",
            _times_text(demo.records, seconds),
            "",
            "Where everything lies:",
            _column(_places(demo)),
            "",
            "What to do next (`source .venv/bin/activate` first):",
            *following,
        ]
    )


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    began = time.perf_counter()
    args = build_parser().parse_args(argv)
    settings = _checked_settings(args)
    folder = DemoFolder(Path(args.output_path))
    recorded = _begin(folder.path, settings)
    demo = Demo(folder, settings, args.num_workers)
    try:
        # With --json, stdout is for the results alone.
        with redirect_stdout(sys.stderr) if args.json else nullcontext():
            figures = demo.run()
    except StepError as error:
        if error.code > 2:
            print("the same command goes on from here", file=sys.stderr)
        return error.code
    seconds = time.perf_counter() - began
    results = {
        "figures": dict(figures),
        "steps": [asdict(record) for record in demo.records],
        "seconds": seconds,
        "checkpoint": str(folder.training.best),
        "results": str(folder.path),
    }
    with told_when_unwritable(folder.path / DEMO_FILE):
        write_json(folder.path / DEMO_FILE, {"settings": recorded, "results": results}, indent=1)
    print_results(args, results, _text(demo, figures, seconds))
    return 0
