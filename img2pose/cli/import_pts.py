"""Imports photographs with `.pts` landmarks: annotation JSONs and two lists of them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.data.annotations import Annotation, write_annotation, write_annotation_list
from img2pose.data.importers.pts import SAME_PHOTO_PATTERN, read_pts_folder, split_annotations
from img2pose.errors import InputError
from img2pose.files import check_output_folder, replace_when_complete


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = argparse.ArgumentParser(
        description="Turn a folder of images with .pts files of the same names (300-W, Helen,"
        " AFW) into annotation JSONs and the lists train.txt and val.txt.",
    )
    parser.add_argument(
        "--images_path",
        required=True,
        help="folder of the images and .pts files; later the --dataset_path of the converter",
    )
    parser.add_argument(
        "--output_path",
        required=True,
        help="folder for annotations/NAME.json, train.txt and val.txt; the lists name the JSONs"
        " as seen from the current folder",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--val_count", type=int, help="images for validation (default 100)")
    size.add_argument("--val_fraction", type=float, help="share of the images, 0 to 1, instead")
    parser.add_argument("--seed", type=int, default=42, help="draws another split (default 42)")
    parser.add_argument(
        "--same_photo",
        default=SAME_PHOTO_PATTERN,
        metavar="REGEX",
        help="image names that match with the same first group show one photograph and stay on"
        " the same side (default: %(default)s; empty: none)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace annotations and lists that are there"
    )
    return parser


def _val_count(count: int | None, fraction: float | None, images: int) -> int:
    if fraction is None:
        return 100 if count is None else count
    if not 0 <= fraction < 1:
        raise InputError(f"--val_fraction {fraction}: must be at least 0 and below 1")
    return round(fraction * images)


def _write(
    output: Path, train: Sequence[Annotation], val: Sequence[Annotation], targets: Sequence[Path]
) -> None:
    folder, train_list, val_list = targets
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        staged = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(
                    dir=output, prefix=".annotations.", suffix=".part", ignore_cleanup_errors=True
                )
            )
        )
        for path, part in ((train_list, train), (val_list, val)):
            complete = stack.enter_context(replace_when_complete(path))
            write_annotation_list(complete, [folder / _json_name(a) for a in part])
        names = [_json_name(annotation) for annotation in (*train, *val)]
        for name, annotation in zip(names, (*train, *val), strict=True):
            write_annotation(staged / name, annotation)
        folder.mkdir(exist_ok=True)
        for name in names:
            (staged / name).replace(folder / name)


def _json_name(annotation: Annotation) -> str:
    return f"{Path(annotation.image_path).stem}.json"


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    output = Path(args.output_path)
    check_output_folder(output)
    if (output / "annotations").is_file():
        raise InputError(f"{output / 'annotations'}: is a file; give another --output_path")
    targets = [output / "annotations", output / "train.txt", output / "val.txt"]
    for target in targets:
        if target.exists() and not args.overwrite:
            raise InputError(f"{target}: is there already; give --overwrite or another folder")
    annotations, unlabelled = read_pts_folder(
        args.images_path,
        progress=lambda paths: tqdm(
            paths, desc="reading", unit="image", disable=None, file=sys.stderr, leave=False
        ),
    )
    val_count = _val_count(args.val_count, args.val_fraction, len(annotations))
    train, val = split_annotations(annotations, val_count, args.seed, args.same_photo)
    _write(output, train, val, targets)
    print(f"images: {len(annotations)}")
    print(f"  for training: {len(train)} ({targets[1]})")
    print(f"  for validation: {len(val)} ({targets[2]})")
    print(f"  without a .pts file, left out: {unlabelled}")
    return 0
