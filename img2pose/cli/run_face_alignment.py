"""Finds faces in pictures and cuts them out, upright and equally large, with the way back."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from img2pose.cli.detection_arguments import (
    add_detection_arguments,
    faces_in,
    load_detector_as_asked,
)
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.input_pictures import (
    ReadablePictures,
    add_skip_unreadable_argument,
    pictures_below,
    read_image_list,
)
from img2pose.cli.model_arguments import add_model_arguments
from img2pose.cli.output_folders import add_output_argument, earlier_results, output_folder
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.result_names import unique_stems
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.files import check_output_folder, told_when_unwritable, write_json
from img2pose.images import write_picture
from img2pose.inference.alignment import (
    CROP_PRESETS,
    TEMPLATE_SIZE,
    TEMPLATES,
    FaceCrop,
    align_faces,
    can_be_cut_out,
    checked_templates,
    crop_faces,
)
from img2pose.inference.predictions_file import ImageFaces
from img2pose.references import PoseReferences

log = logging.getLogger(__name__)

ALIGNMENTS_FILE = "alignments.json"
_DEFAULT_SIZE = 224
_LARGEST_SIZE = 4096
_DEFAULT_TEMPLATES = "five"
# The published command's names, and ours.
_ORDERS = {"confidence": "score", "position": "position", "size": "size"}
_CROP_NAME = "_face_"


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/run_face_alignment.py",
        "Cut the faces out of pictures. Writes"
        f" NAME{_CROP_NAME}0.png, ... for the faces of a picture NAME, into folders as those of"
        f" --images_path, and {ALIGNMENTS_FILE}: for each picture its path, size, camera and faces"
        " with score, box, pose, file of the crop, template, and the 3x3 matrices from pixels of"
        " the picture (upright) to those of the crop and back; --json prints these too.",
        "--images_path photos",
        "--images_path photos --output_path aligned --checkpoint best.pth --face_size 112",
        "--images_path photos --output_path squares --checkpoint best.pth --preset deca",
    )
    parser.add_argument(
        "--images_path",
        metavar="PATH",
        help="picture, or folder of some, also in folders in it; with --image_list, the folder"
        " that its paths are relative to (default: the current one)",
    )
    parser.add_argument(
        "--image_list", metavar="FILE", help="text file with the path of a picture a line"
    )
    add_output_argument(parser)
    add_skip_unreadable_argument(parser)
    crops = parser.add_argument_group("crops")
    crops.add_argument(
        "--face_size",
        type=int,
        metavar="PIXELS",
        help=f"side of the crops (default {_DEFAULT_SIZE}, or the preset's)",
    )
    crops.add_argument(
        "--max_faces",
        type=int,
        default=-1,
        help="most faces of a picture, the first ones in order; -1: all (default %(default)s)",
    )
    crops.add_argument(
        "--order_method",
        choices=tuple(_ORDERS),
        default="confidence",
        help="order of the faces of a picture: best, nearest to the middle or largest first"
        " (default %(default)s)",
    )
    crops.add_argument(
        "--templates",
        metavar="NAME|FILE",
        help="what the eyes, nose tip and mouth corners are laid on: five (by the direction a face"
        " looks in, as published; the default), arcface (one for all), or a JSON file of your own:"
        f' {{"NAME": [[x, y], ... five points in a square of {TEMPLATE_SIZE} pixels], ...}}',
    )
    crops.add_argument(
        "--box_scale",
        type=float,
        metavar="FACTOR",
        help="upright squares instead, of this side over the mean width and height of the 68"
        " projected points",
    )
    crops.add_argument(
        "--preset",
        choices=tuple(CROP_PRESETS),
        help="what a network takes. deca: --box_scale 1.375 --face_size 224; mica: --templates"
        " arcface --face_size 112",
    )
    add_detection_arguments(parser)
    parser.add_argument("--depth", help="depth of the ResNet (default: that of the weights)")
    add_model_arguments(parser)
    return parser


@dataclass(frozen=True)
class CropStyle:
    """How faces are cut out.

    Attributes:
        size: Side of the crops in pixels.
        templates: Name in `TEMPLATES`, or templates by name.
        scale: Of upright squares, which are cut out in place of templates (see `crop_faces`);
            None: templates it is.
    """

    size: int
    templates: str | Mapping[str, np.ndarray]
    scale: float | None

    def cut_out(
        self, picture: np.ndarray, found: FaceDetections, references: PoseReferences
    ) -> list[FaceCrop | None]:
        """Crops of all faces; None of those that reach behind the camera."""
        possible = can_be_cut_out(found.poses, references)
        poses = found.poses[possible]
        if self.scale is None:
            crops = align_faces(
                picture,
                poses,
                self.size,
                intrinsics=found.intrinsics,
                references=references,
                templates=self.templates,
            )
        else:
            crops = crop_faces(
                picture,
                poses,
                self.size,
                scale=self.scale,
                intrinsics=found.intrinsics,
                references=references,
            )
        remaining = iter(crops)
        return [next(remaining) if one else None for one in possible]


def read_templates(path: Path) -> dict[str, np.ndarray]:
    """Templates of a JSON file, by name five points (5, 2) in a square of 112 pixels.

    Raises:
        InputError: The file cannot be read or holds something else.
    """
    remedy = "give five, arcface or a JSON file of templates by name"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("is no object with templates by name")
        return checked_templates(values)
    except OSError as error:
        raise InputError(f"--templates {path}: cannot be read ({error.strerror}); {remedy}") from (
            error
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"--templates {path}: {error}; {remedy}") from error


def crop_style(args: argparse.Namespace) -> CropStyle:
    """What the flags of crops say together.

    Raises:
        InputError: They contradict each other, or a value is out of range.
    """
    templates: str | Mapping[str, np.ndarray] | None = args.templates
    scale: float | None = args.box_scale
    size = _DEFAULT_SIZE
    if sum(value is not None for value in (args.preset, templates, scale)) > 1:
        raise InputError("--preset, --templates, --box_scale: give one of them at most")
    if args.preset is not None:
        preset = CROP_PRESETS[args.preset]
        size, templates, scale = preset.size, preset.templates, preset.scale
    if templates is None:
        templates = _DEFAULT_TEMPLATES
    if args.face_size is not None:
        size = args.face_size
    if not 1 <= size <= _LARGEST_SIZE:
        raise InputError(f"--face_size {size}: must be between 1 and {_LARGEST_SIZE}")
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise InputError(f"--box_scale {scale}: must be above 0")
    if isinstance(templates, str) and templates not in TEMPLATES:
        templates = read_templates(Path(templates))
    return CropStyle(size, templates, scale)


def find_pictures(args: argparse.Namespace, output: Path) -> tuple[list[Path], Path | None]:
    """The pictures, and the folder whose structure the results mirror.

    Raises:
        InputError: There are none, or a path is wrong.
    """
    root = None if args.images_path is None else Path(args.images_path)
    if args.image_list is not None:
        if root is not None and not root.is_dir():
            raise InputError(f"{root}: is not a folder; give the one that --image_list is for")
        folder = root or Path()
        return read_image_list(Path(args.image_list), folder), folder
    if root is None:
        raise InputError("--images_path, --image_list: give pictures")
    if root.is_dir():
        return pictures_below(root, [output, *earlier_results()]), root
    if not root.is_file():
        raise InputError(f"{root}: no such image; check the path")
    return [root], None


def crop_stems(images: Sequence[Path], root: Path | None, output: Path) -> list[Path]:
    """What the paths of each picture's crops begin with, below OUTPUT_PATH.

    Pictures below `root` have results in the same folder below `output`, others in `output`. No
    two pictures share names, even where case does not count, and no picture is overwritten.
    """
    folders = []
    for image in images:
        inside = root is not None and image.resolve().is_relative_to(root.resolve())
        below = image.parent.resolve().relative_to(root.resolve()) if inside and root else Path()
        folders.append(below)
    # A picture that is called as a crop of another one would be.
    called_as_crops = [
        image.with_name(match[1])
        for image in images
        if (match := re.fullmatch(rf"(.+{_CROP_NAME})\d+", image.stem, re.IGNORECASE))
    ]
    stems = unique_stems(
        images,
        [output / folder for folder in folders],
        lambda _: [_CROP_NAME],
        called_as_crops,
    )
    return [folder / stem for folder, stem in zip(folders, stems, strict=True)]


def _entry(
    faces: ImageFaces, crops: Sequence[FaceCrop | None], names: Sequence[str]
) -> dict[str, Any]:
    entry = faces.to_dict()
    for index, (face, crop, name) in enumerate(zip(entry["faces"], crops, names, strict=True)):
        face["index"] = index
        face["crop"] = None if crop is None else name
        face["template"] = None if crop is None else crop.template
        for matrix in ("image_to_crop", "crop_to_image"):
            face[matrix] = None if crop is None else getattr(crop, matrix).tolist()
    return entry


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    style = crop_style(args)
    if args.max_faces < 1 and args.max_faces != -1:
        raise InputError(f"--max_faces {args.max_faces}: must be at least 1, or -1 for all")
    output = output_folder(args)
    images, root = find_pictures(args, output)
    check_output_folder(output)
    depth = {} if args.depth is None else {"depth": args.depth}
    detector = load_detector_as_asked(args, **depth)
    pictures = ReadablePictures(images, skip_unreadable=args.skip_unreadable)
    stems = crop_stems(pictures.paths, root, output)
    entries: list[dict[str, Any]] = []
    progress = tqdm(
        zip(stems, faces_in(pictures.paths, detector, args), strict=True),
        desc="aligning",
        unit="image",
        total=len(stems),
        disable=None,
        file=sys.stderr,
    )
    cut = 0
    with told_when_unwritable(output):
        for stem, (image, picture, found) in progress:
            found = found.sorted_by(_ORDERS[args.order_method])
            if args.max_faces != -1:
                found = found[: args.max_faces]
            crops = style.cut_out(picture, found, detector.references)
            names = [f"{stem.as_posix()}{_CROP_NAME}{index}.png" for index in range(len(found))]
            for index, (crop, name) in enumerate(zip(crops, names, strict=True)):
                if crop is None:
                    log.warning("%s: face %d reaches behind the camera: no crop", image, index)
                else:
                    write_picture(output / name, crop.image)
                    cut += 1
            faces = ImageFaces(image, found, detector.references)
            entries.append(_entry(faces, crops, names))
        write_json(output / ALIGNMENTS_FILE, entries, indent=1)
        pictures.write_report(output)
    results = {
        "images": len(entries),
        **pictures.counts(),
        "faces": cut,
        "results": str(output / ALIGNMENTS_FILE),
    }
    print_results(args, results | {"alignments": entries} if args.json else results)
    return 0
