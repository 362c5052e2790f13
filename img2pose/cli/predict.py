"""Finds faces in pictures: drawings of them and one JSON file with their poses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from img2pose.cli.detection_arguments import (
    add_detection_arguments,
    faces_in,
    load_detector_as_asked,
)
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.input_pictures import ReadablePictures, add_skip_unreadable_argument
from img2pose.cli.model_arguments import add_model_arguments
from img2pose.cli.output_folders import add_output_argument, output_folder
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.result_names import picture_suffix, unique_stems
from img2pose.files import check_output_folder, told_when_unwritable, write_json
from img2pose.images import find_images, write_picture
from img2pose.inference.predictions_file import ImageFaces
from img2pose.visualization import draw_faces

PREDICTIONS_FILE = "predictions.json"


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/predict.py",
        "Find the faces of pictures and their poses. Writes NAME_faces.jpg (or .png)"
        f" for each picture and {PREDICTIONS_FILE}: for each picture its path, size, camera,"
        " the reference points that poses refer to (their hash, and unless they are this"
        " project's the points) and faces with score, box, pose and Euler angles; --json prints"
        " these too.",
        "photo.jpg",
        "photo.jpg holiday/ --checkpoint best.pth --output_path out",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture, or folder of some")
    add_output_argument(parser)
    parser.add_argument(
        "--landmarks", action="store_true", help="also draw the 68 projected reference points"
    )
    add_skip_unreadable_argument(parser)
    add_detection_arguments(parser)
    add_model_arguments(parser)
    return parser


def drawing_paths(images: Sequence[Path], folder: Path) -> list[Path]:
    """Where the drawing of each picture goes: `NAME_faces.jpg`, `NAME_2_faces.jpg`, ...

    Names are unique even on file systems that ignore case, and no picture is overwritten.
    """
    stems = unique_stems(images, folder, lambda image: [f"_faces{picture_suffix(image)}"])
    return [
        folder / f"{stem}_faces{picture_suffix(image)}"
        for image, stem in zip(images, stems, strict=True)
    ]


def _entry(found: ImageFaces, drawing: Path) -> dict[str, Any]:
    return {**found.to_dict(euler=True), "drawing": drawing.name}


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    output = output_folder(args)
    images = find_images(args.images)
    check_output_folder(output)
    detector = load_detector_as_asked(args)
    pictures = ReadablePictures(images, skip_unreadable=args.skip_unreadable)
    drawings = drawing_paths(pictures.paths, output)
    entries: list[dict[str, Any]] = []
    progress = tqdm(
        zip(drawings, faces_in(pictures.paths, detector, args), strict=True),
        desc="detecting",
        unit="image",
        total=len(drawings),
        disable=None,
        file=sys.stderr,
    )
    with told_when_unwritable(output):
        for drawing, (image, picture, detections) in progress:
            write_picture(
                drawing,
                draw_faces(picture, detections, detector.references, landmarks=args.landmarks),
            )
            faces = ImageFaces(image, detections, detector.references)
            entries.append(_entry(faces, drawing))
        write_json(output / PREDICTIONS_FILE, entries, indent=1)
        pictures.write_report(output)
    results = {
        "images": len(entries),
        **pictures.counts(),
        "faces": sum(len(entry["faces"]) for entry in entries),
        "results": str(output / PREDICTIONS_FILE),
    }
    print_results(args, results | {"predictions": entries} if args.json else results)
    return 0
