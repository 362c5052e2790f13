"""Draws a data set of synthetic photographs with exactly known poses."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import (
    add_workers_argument,
    check_workers,
    command_parser,
    print_results,
)
from img2pose.data.annotations import read_annotation
from img2pose.data.synthetic.figures import Wardrobe
from img2pose.data.synthetic.settings import HIDDEN_FACES, SyntheticSettings
from img2pose.data.synthetic.writer import (
    ANNOTATIONS_FOLDER,
    DATASET_FILE,
    IMAGES_FOLDER,
    SyntheticDataset,
    finish_dataset,
    make_dataset,
    remove_leftovers,
)
from img2pose.errors import InputError, OutputError
from img2pose.files import check_output_folder, read_text, write_json
from img2pose.images import find_images, read_image, write_picture
from img2pose.versions import package_versions
from img2pose.visualization.primitives import BOX_COLOR, GREEN, RED, draw_dots, draw_rectangle
from img2pose.visualization.sheets import contact_sheet

SHEET_FILE = "contact_sheet.jpg"
_SHEET_PICTURES, _SHEET_COLUMNS, _SHEET_CELL = 24, 6, 320
_DEFAULT = SyntheticSettings()
# Flags of shares and factors: name, what it says.
_SHARES = (
    ("negatives", "share of pictures without a face"),
    ("crowds", "share of the others with many small faces"),
    ("groups", "share of them with four to seven"),
    ("pairs", "share of them with two or three; the rest are portraits"),
    ("pose_spread", "factor on the spread of angles; below 1 faces are more frontal"),
    ("focal_share", "share of pictures whose focal length is not the one that poses assume"),
    ("min_face", "pixels of a face's box (longer side) that it needs to be labelled with a pose"),
    ("min_visible", "share of a face that must be seen for it to be labelled with a pose"),
    ("samples", "samples along a pixel's side"),
)
_WORN = ("glasses", "hats", "masks", "occluders", "beards", "hair")


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/make_synthetic_dataset.py",
        "Draw synthetic photographs of faces with exactly known poses: JPEGs,"
        " annotations with 68 points, poses and visibility, a list of them for"
        " convert_json_list_to_lmdb.py, dataset.json and a contact sheet. The same seed and"
        " settings give the same pictures whatever the number of workers. A run that was stopped"
        " goes on when the same command is given again.",
        "--count 2000 --seed 1 --out datasets/synthetic",
        "--count 2000 --seed 2 --out datasets/frontal --pose_spread 0.5 --backgrounds walls",
    )
    parser.add_argument("--count", type=int, required=True, help="pictures")
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default %(default)s)")
    parser.add_argument("--out", required=True, help="folder for the data set")
    parser.add_argument(
        "--size",
        default="320",
        help="of the pictures in pixels: one side, or height,width (default %(default)s)",
    )
    parser.add_argument(
        "--backgrounds",
        help="folder of pictures without faces to take three in four backgrounds from; all are"
        " made up without it",
    )
    for name, text in _SHARES:
        value = getattr(_DEFAULT, name)
        parser.add_argument(
            f"--{name}", type=float, default=value, help=f"{text} (default {value})"
        )
    parser.add_argument(
        "--max_yaw",
        type=float,
        default=_DEFAULT.max_yaw_deg,
        help="largest turn of a face to a side in degrees (default %(default)s)",
    )
    parser.add_argument(
        "--focal_range",
        default=",".join(map(str, _DEFAULT.focal_range)),
        help="range of the focal length over the assumed one, width + height, in those pictures"
        " (default %(default)s)",
    )
    parser.add_argument(
        "--hidden_faces",
        choices=HIDDEN_FACES,
        default=_DEFAULT.hidden_faces,
        help="what becomes of faces that are too small or too hidden: unposed lists them without"
        " landmarks, so that training paints them out (default); posed labels them all the same;"
        " left_out leaves them as background",
    )
    for name in _WORN:
        value = getattr(_DEFAULT.wardrobe, name)
        parser.add_argument(
            f"--{name}",
            type=float,
            default=value,
            help=f"share of heads with {name}"
            + (", where the person has any" if name in ("beards", "hair") else "")
            + f" (default {value})",
        )
    add_workers_argument(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a data set of other settings in --out"
    )
    return parser


def _numbers(text: str, flag: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise InputError(f"{flag} {text}: give {' or '.join(map(str, counts))} numbers")
    return numbers


def _settings(args: argparse.Namespace) -> SyntheticSettings:
    size = _numbers(args.size, "--size", (1, 2))
    if not all(side.is_integer() for side in size):
        raise InputError(f"--size {args.size}: give whole pixels")
    low, high = _numbers(args.focal_range, "--focal_range", (2,))
    try:
        return SyntheticSettings(
            size_hw=(int(size[0]), int(size[-1])),
            max_yaw_deg=args.max_yaw,
            focal_range=(low, high),
            hidden_faces=args.hidden_faces,
            wardrobe=Wardrobe(**{name: getattr(args, name) for name in _WORN}),
            **{name: getattr(args, name) for name, _ in _SHARES},
        )
    except InputError as error:
        raise InputError(f"--{error}") from error


def _begin(dataset: SyntheticDataset, overwrite: bool) -> None:
    """Makes sure that what is in the folder is a part of this data set."""
    folder, path = dataset.folder, dataset.folder / DATASET_FILE
    check_output_folder(folder)
    if path.exists():
        try:
            found = json.loads(read_text(path, "a data set's description"))
            same = {name: found.get(name) for name in dataset.identity()} == json.loads(
                json.dumps(dataset.identity())
            )
        except (ValueError, AttributeError):
            same = False
        if not same and not overwrite:
            raise InputError(
                f"{path}: describes a data set of another seed or other settings; give"
                " --overwrite or another --out"
            )
    else:
        same = not (folder / IMAGES_FOLDER).exists() and not (folder / ANNOTATIONS_FOLDER).exists()
        if not same and not overwrite:
            raise InputError(
                f"{folder}: holds {IMAGES_FOLDER} or {ANNOTATIONS_FOLDER} but no {DATASET_FILE};"
                " give --overwrite or another --out"
            )
    if not same:
        for name in (IMAGES_FOLDER, ANNOTATIONS_FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)
    remove_leftovers(dataset)
    write_json(path, dataset.describe(complete=False), indent=1)


def _draw_sheet(dataset: SyntheticDataset) -> None:
    """The first pictures with their landmarks: green ones are seen, red ones hidden."""
    cells = []
    for index in range(min(dataset.count, _SHEET_PICTURES)):
        pixels = read_image(dataset.image_path(index), upright=False)
        scale = _SHEET_CELL / max(pixels.shape[:2])
        size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
        picture = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        annotation = read_annotation(dataset.annotation_path(index))
        for face, seen in enumerate(annotation.landmark_visibility):
            if seen is None:
                draw_rectangle(picture, annotation.boxes_xyxy[face] * scale, BOX_COLOR, 1)
                continue
            points = (annotation.landmarks[face] + 0.5) * scale - 0.5
            draw_dots(picture, points[~seen], RED, 0.8)
            draw_dots(picture, points[seen], GREEN, 0.8)
        cells.append(picture)
    sheet = contact_sheet(cells, _SHEET_COLUMNS, _SHEET_CELL)
    write_picture(dataset.folder / SHEET_FILE, np.ascontiguousarray(sheet))


def _make(dataset: SyntheticDataset, num_workers: int) -> dict[str, Any]:
    """Makes all pictures; what to say of them.

    The first new picture, which waits for processes to start, does not count for the speed.
    """
    faces = posed = new = negatives = 0
    began = time.perf_counter()
    first_seconds = 0.0
    with closing(make_dataset(dataset, num_workers)) as made:
        progress = tqdm(made, "drawing", dataset.count, unit="image", disable=None, file=sys.stderr)
        with closing(progress):
            for one in progress:
                faces, posed = faces + one.faces, posed + one.posed_faces
                new, negatives = new + one.new, negatives + (one.faces == 0)
                if new == 1 and one.new:
                    first_seconds = time.perf_counter() - began
    seconds = time.perf_counter() - began - first_seconds
    return {
        "images": dataset.count,
        "new_images": new,
        "images_without_a_face": negatives,
        "faces": faces,
        "posed_faces": posed,
        "images_per_second": round((new - 1) / seconds, 2) if new > 1 else None,
    }


def _text(results: dict[str, Any]) -> str:
    lines = [
        f"{results['list']}",
        f"images: {results['images']}",
        f"  new: {results['new_images']}",
        f"  without a face: {results['images_without_a_face']}",
        f"faces: {results['faces']}",
        f"  with pose: {results['posed_faces']}",
        f"contact sheet: {results['contact_sheet']}",
    ]
    if results["images_per_second"] is not None:
        lines.append(f"images a second: {results['images_per_second']:.1f}")
    return "\n".join(lines)


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    check_workers(args)
    if args.count < 1:
        raise InputError(f"--count {args.count}: give at least 1")
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: give 0 or more")
    settings = _settings(args)
    files: tuple[Path, ...] = ()
    if args.backgrounds is not None:
        if not Path(args.backgrounds).is_dir():
            raise InputError(f"--backgrounds {args.backgrounds}: is not a folder")
        files = tuple(find_images([args.backgrounds]))
    dataset = SyntheticDataset(Path(args.out), args.count, args.seed, settings, files)
    try:
        _begin(dataset, args.overwrite)
        results = _make(dataset, args.num_workers)
        _draw_sheet(dataset)
        counted = ("images_without_a_face", "faces", "posed_faces")
        counts = {name: results[name] for name in counted}
        finish_dataset(dataset, **counts, versions=package_versions())
    except OSError as error:
        raise OutputError(
            f"{dataset.folder}: cannot be written ({error.strerror or error}); mend that and give"
            " the same command again: it goes on where it stopped"
        ) from error
    results["list"] = str(dataset.list_path)
    results["contact_sheet"] = str(dataset.folder / SHEET_FILE)
    print_results(args, results, _text(results))
    return 0
