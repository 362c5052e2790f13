"""Writes a model as one ONNX file that needs neither torch nor any other file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from img2pose.cli.example_pictures import draw_example_pictures
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import add_model_arguments, checkpoint_path, load_detector
from img2pose.cli.output_folders import output_file
from img2pose.cli.parsers import command_parser, print_results
from img2pose.files import file_sha256
from img2pose.images import find_images, read_image
from img2pose.inference.agreement import Agreement

_WEIGHTS = ("float32", "float16")


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/export_onnx.py",
        "Write a model as one ONNX file: an RGB picture (H, W, 3) of 8 bits and any size in; boxes,"
        " scores and poses in its pixels and camera out. The file is compared with PyTorch on"
        " pictures before it appears; the figures go to NAME.json beside it.",
        "--checkpoint best.pth --output_path best.onnx --images photos/ --weights float16",
    )
    parser.add_argument("--output_path", required=True, help="file to write, NAME.onnx")
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="IMAGE",
        help="pictures, or folders of some, to compare on (default: five of the reference head)",
    )
    parser.add_argument(
        "--weights",
        choices=_WEIGHTS,
        default="float32",
        help="how weights are stored; float16 halves the file, and what is lost is measured"
        " (default %(default)s)",
    )
    parser.add_argument(
        "--score_threshold",
        type=float,
        default=0.05,
        help="faces with a greater score are compared; also what holds for the file where its"
        " user gives no other, 0 to 1 (default %(default)s)",
    )
    add_model_arguments(parser)
    return parser


def _describe(what: str, agreement: Agreement) -> str:
    return (
        f"{what}: {agreement.faces} faces of {agreement.pictures} pictures in both,"
        f" {agreement.only_first} only in PyTorch, {agreement.only_second} only in ONNX Runtime;"
        f" differences at most: poses {agreement.pose:.1e} (mean {agreement.pose_mean:.1e}),"
        f" scores {agreement.score:.1e}, boxes {agreement.box_px:.1e} px"
    )


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    target = output_file(args.output_path, ".onnx")
    # It needs packages that nothing else does.
    from img2pose.inference.export import export_onnx, report_path

    detector = load_detector(args, score_threshold=args.score_threshold)
    if args.images is None:
        pictures = draw_example_pictures()
    else:
        pictures = [read_image(path) for path in find_images(args.images)]
    report = export_onnx(
        detector.model,
        target,
        pictures=pictures,
        checkpoint_sha256=file_sha256(checkpoint_path(args), "give a checkpoint"),
        weights=args.weights,
    )
    lines = [_describe("float32 weights", report.agreement)]
    if report.loss is not None:
        lines.append(_describe("float16 weights", report.loss))
    lines += [
        f"bytes: {report.bytes} (with float32 weights {report.float32_bytes})",
        f"report: {report_path(target)}",
        f"results: {target}",
    ]
    print_results(args, report.to_dict(), "\n".join(lines))
    return 0
