"""Finds faces in pictures: drawings of them and one JSON file with their poses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.model_arguments import (
    add_model_arguments,
    add_score_threshold_argument,
    load_detector,
)
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.result_names import picture_suffix, unique_stems
from img2pose.files import check_output_folder, write_json
from img2pose.geometry import pose_to_euler
from img2pose.images import find_images, read_image, write_picture
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
        "photo.jpg holiday/ --checkpoint best.pth --output_path out",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture, or folder of some")
    parser.add_argument("--output_path", required=True, help="folder for the results")
    add_score_threshold_argument(parser)
    parser.add_argument(
        "--landmarks", action="store_true", help="also draw the 68 projected reference points"
    )
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
    entry = {**found.to_dict(), "drawing": drawing.name}
    angles = np.asarray(pose_to_euler(found.detections.poses)).tolist()
    for face, (pitch, yaw, roll) in zip(entry["faces"], angles, strict=True):
        face["euler_aflw2000_deg"] = {"pitch": pitch, "yaw": yaw, "roll": roll}
    return entry


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    output = Path(args.output_path)
    images = find_images(args.images)
    check_output_folder(output)
    detector = load_detector(args, score_threshold=args.score_threshold)
    # Decoding is quick beside detection, and a damaged picture is better known before the rest.
    for image in images:
        read_image(image)
    drawings = drawing_paths(images, output)
    entries: list[dict[str, Any]] = []
    progress = tqdm(images, desc="detecting", unit="image", disable=None, file=sys.stderr)
    for image, drawing in zip(progress, drawings, strict=True):
        picture = read_image(image)
        detections = detector.predict(picture)
        write_picture(
            drawing,
            draw_faces(picture, detections, detector.references, landmarks=args.landmarks),
        )
        entries.append(_entry(ImageFaces(image, detections, detector.references), drawing))
    write_json(output / PREDICTIONS_FILE, entries, indent=1)
    faces = sum(len(entry["faces"]) for entry in entries)
    results = {
        "images": len(entries),
        "faces": faces,
        "results": str(output / PREDICTIONS_FILE),
    }
    print_results(args, results | {"predictions": entries} if args.json else results)
    return 0
