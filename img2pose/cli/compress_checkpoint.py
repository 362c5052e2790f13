"""Stores a checkpoint in fewer bytes, for inference, and says what that costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from img2pose.cli.detection_arguments import check_setting
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import (
    add_model_arguments,
    add_score_threshold_argument,
    load_detector,
)
from img2pose.cli.output_folders import output_file
from img2pose.cli.parsers import command_parser, print_results
from img2pose.errors import InputError
from img2pose.evaluation.model_differences import ModelDifferences, differences_of
from img2pose.files import (
    file_sha256,
    replace_when_complete,
    told_when_unwritable,
    write_json,
)
from img2pose.images import find_images
from img2pose.inference.detector import Detector
from img2pose.models.compact import COMPACT_WEIGHTS
from img2pose.models.weights import pack_compact_model


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/compress_checkpoint.py",
        "Store a checkpoint in fewer bytes: without the state that training continues from, and"
        " with large weights in 8 or 16 bits. All commands read it as any other checkpoint; a"
        " training may start from it by --pretrained_path. What holds of it without flags (sizes,"
        " score threshold, profile) can be set here. The same checkpoint and flags give the same"
        " bytes. A report goes to NAME.json beside it.",
        "--checkpoint best.pth --output_path compact.pth",
        "--checkpoint best.pth --output_path compact.pth --max_megabytes 25 --score_threshold 0.6"
        " --images photos/",
    )
    parser.add_argument("--output_path", required=True, help="file to write, NAME.pth")
    parser.add_argument(
        "--weights",
        choices=COMPACT_WEIGHTS,
        default="int8",
        help="of large weights: int8 with a scale for each output channel, or float16; int8 leaves"
        " those of small layers in float16 (default %(default)s)",
    )
    parser.add_argument(
        "--max_megabytes",
        type=float,
        help="refuse to write a larger file (a megabyte has 1,000,000 bytes)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="IMAGE",
        help="pictures, or folders of some: also compare the faces that are found in them before"
        " and after",
    )
    add_score_threshold_argument(parser)
    add_model_arguments(parser, checkpoint_required=True)
    return parser


def _check_size(part: Path, target: Path, max_megabytes: float | None) -> None:
    size = part.stat().st_size
    if max_megabytes is not None and size > max_megabytes * 1e6:
        raise InputError(
            f"{target}: not written, for it would have {size / 1e6:.2f} MB, more than"
            f" --max_megabytes {max_megabytes:g}; allow more, take int8 weights or a smaller model"
        )


def _compare(before: Detector, part: Path, pictures: Iterable[Path]) -> ModelDifferences:
    after = Detector.from_checkpoint(part, device=before.device)
    return differences_of((before.predict(path), after.predict(path)) for path in pictures)


def _describe(loss: ModelDifferences) -> list[str]:
    lines = [
        f"faces in {loss.pictures} pictures: {loss.faces_first} before, {loss.faces_second} after,"
        f" {loss.faces_both} in both" + (" (the same)" if loss.same_faces else ""),
    ]
    if loss.faces_both:
        lines += [
            f"boxes moved by: mean {loss.box_px_mean:.2f} px, at most {loss.box_px_max:.2f} px",
            f"rotations differ by: mean {loss.rotation_deg_mean:.3f} degrees,"
            f" at most {loss.rotation_deg_max:.3f}",
            f"translations differ by: mean {loss.translation_share_mean:.2%},"
            f" at most {loss.translation_share_max:.2%} of their length",
            f"scores differ by: at most {loss.score_max:.4f}",
        ]
    return lines


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    target = output_file(args.output_path, ".pth")
    report_path = target.with_suffix(".json")
    if report_path.is_dir():
        raise InputError(f"{report_path}: is a folder, where the report goes; give another name")
    if target.resolve() == Path(args.checkpoint).resolve():
        raise InputError(f"--output_path {target}: is the checkpoint itself; give another file")
    if args.max_megabytes is not None and not args.max_megabytes > 0:
        raise InputError(f"--max_megabytes {args.max_megabytes}: must be above 0")
    pictures = None if args.images is None else find_images(args.images)
    settings = {}
    if args.score_threshold is not None:
        check_setting("score_threshold", "face_score_threshold", args.score_threshold)
        settings["face_score_threshold"] = args.score_threshold
    before = load_detector(args, score_threshold=None, **settings)
    source_sha256 = file_sha256(args.checkpoint, "give a checkpoint")
    content = pack_compact_model(before.model, args.weights, source_sha256)
    loss = None
    with told_when_unwritable(target), replace_when_complete(target) as part:
        with open(part, "wb") as file:
            # An open file: the name of one would be written into it.
            torch.save(content, file)
        _check_size(part, target, args.max_megabytes)
        if pictures is not None:
            loss = _compare(before, part, pictures)
        report = {
            "path": str(target),
            "sha256": file_sha256(part, "make it readable"),
            "bytes": part.stat().st_size,
            "weights": args.weights,
            "source": str(args.checkpoint),
            "source_sha256": source_sha256,
            "source_bytes": Path(args.checkpoint).stat().st_size,
            "loss": None if loss is None else loss.to_dict(),
        }
        write_json(report_path, report, indent=1)
    lines = [
        f"bytes: {report['bytes']} (before {report['source_bytes']})",
        f"sha256: {report['sha256']}",
    ]
    if loss is not None:
        lines += _describe(loss)
    lines += [f"report: {report_path}", f"results: {target}"]
    print_results(args, report, "\n".join(lines))
    return 0
