"""Imports other data sets' labels: annotation JSONs and lists of them."""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from img2pose.cli.commands import program_name
from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import (
    LinesKept,
    add_json_argument,
    command_parser,
    examples_text,
    print_results,
)
from img2pose.data.annotations import (
    Annotation,
    annotation_content,
    read_annotation,
    write_annotation_list,
)
from img2pose.data.importers import aflw2000, coco, csv_table, pts, retinaface, w300lp, wider
from img2pose.data.importers.label_set import LabelledImage, LabelSet, LeftOut
from img2pose.data.importers.split import split_images
from img2pose.errors import InputError, OutputError
from img2pose.files import check_output_folder, replace_when_complete, write_text

_SCRIPT = "scripts/import_annotations.py"
_SKIPPED_SUFFIX = "_skipped.txt"


@dataclass(frozen=True)
class _Format:
    """A sub-command."""

    name: str
    summary: str
    read: Callable[[argparse.Namespace], LabelSet]
    example: str
    label_file: str | None = None
    same_photo: str = ""
    has_category: bool = False
    can_swap: bool = False


def _read_coco(args: argparse.Namespace) -> LabelSet:
    return coco.read_label_set(
        args.images_path,
        args.label_file,
        category=args.category,
        swap_left_right=args.swap_left_right,
        allow_outside=args.allow_outside,
    )


def _read_csv(args: argparse.Namespace) -> LabelSet:
    return csv_table.read_label_set(
        args.images_path,
        args.label_file,
        swap_left_right=args.swap_left_right,
        allow_outside=args.allow_outside,
    )


FORMATS = (
    _Format(
        "pts",
        "images with .pts files of the same names, 68 or 5 points (300-W, Helen, AFW)",
        lambda args: pts.read_label_set(args.images_path, allow_outside=args.allow_outside),
        "pts --images_path datasets/helen --output_path datasets/helen_lists --val_count 100",
        same_photo=pts.SAME_PHOTO_PATTERN,
    ),
    _Format(
        "300w_lp",
        "images with 300W-LP's .mat files (pt2d, Pose_Para), in folders of any depth",
        lambda args: w300lp.read_label_set(args.images_path, allow_outside=args.allow_outside),
        "300w_lp --images_path datasets/300W_LP --output_path datasets/300w_lp_lists"
        " --val_fraction 0.02",
        same_photo=w300lp.SAME_PHOTO_PATTERN,
    ),
    _Format(
        "aflw2000",
        "images with AFLW2000-3D's .mat files (pt3d_68, Pose_Para); those with an angle beyond 99"
        " degrees are left out",
        lambda args: aflw2000.read_label_set(args.images_path, allow_outside=args.allow_outside),
        "aflw2000 --images_path datasets/AFLW2000 --output_path datasets/aflw2000_lists"
        " --list_name test",
    ),
    _Format(
        "retinaface",
        "RetinaFace's label.txt for WIDER FACE: boxes, and 5 points where they are known",
        lambda args: retinaface.read_label_set(
            args.images_path, args.label_file, allow_outside=args.allow_outside
        ),
        "retinaface --images_path datasets/WIDER_train/images"
        " --label_file datasets/retinaface/train/label.txt --output_path datasets/wider_lists",
        label_file="label.txt",
    ),
    _Format(
        "wider",
        "WIDER FACE's box lists: faces without a pose",
        lambda args: wider.read_label_set(
            args.images_path, args.label_file, allow_outside=args.allow_outside
        ),
        "wider --images_path datasets/WIDER_val/images"
        " --label_file datasets/wider_face_split/wider_face_val_bbx_gt.txt"
        " --output_path datasets/wider_lists --list_name val",
        label_file="wider_face_train_bbx_gt.txt or ..._val_bbx_gt.txt",
    ),
    _Format(
        "coco",
        "a COCO keypoint file whose category has 5 or 68 face points",
        _read_coco,
        "coco --images_path datasets/mine --label_file datasets/mine/faces.json"
        " --output_path datasets/mine_lists --val_fraction 0.1",
        label_file="the JSON file",
        has_category=True,
        can_swap=True,
    ),
    _Format(
        "csv",
        "a table with one line a face",
        _read_csv,
        "csv --images_path datasets/mine --label_file datasets/mine/faces.csv"
        " --output_path datasets/mine_lists --val_fraction 0.1",
        label_file="the table; its columns: image_path, left, top, right, bottom (all four empty:"
        " an image without faces), then if known score, x0, y0 ... x4, y4 or ... x67, y67 (empty:"
        " not known), and pitch, yaw, roll in degrees as 300W-LP has them",
        can_swap=True,
    ),
)


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        _SCRIPT,
        "Turn the labels of another data set into annotation JSONs and lists of them:"
        " OUTPUT_PATH/annotations/FOLDER/NAME.json for FOLDER/NAME.jpg, and either train.txt and"
        " val.txt (--val_count, --val_fraction) or one list (--list_name).",
        FORMATS[0].example,
    )
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for kind in FORMATS:
        command = formats.add_parser(
            kind.name,
            help=kind.summary,
            description=f"Import {kind.summary}.",
            epilog=examples_text(program_name(_SCRIPT), kind.example),
            formatter_class=LinesKept,
        )
        command.set_defaults(kind=kind)
        add_json_argument(command)
        _add_arguments(command, kind)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, kind: _Format) -> None:
    parser.add_argument(
        "--images_path",
        required=True,
        help="folder of the images; later the --dataset_path of the converter",
    )
    if kind.label_file is not None:
        parser.add_argument("--label_file", required=True, help=kind.label_file)
    parser.add_argument(
        "--output_path",
        required=True,
        help="folder for annotations/ and the lists, which name the JSONs as seen from the current"
        " folder; lists that were imported before stay",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--val_count", type=int, help="draw so many images for validation")
    size.add_argument("--val_fraction", type=float, help="draw this share of them, 0 to 1")
    size.add_argument(
        "--list_name",
        default="train",
        help="draw nothing and name the only list so: the data set has its own split (default:"
        " %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=42, help="draws another split (default 42)")
    parser.add_argument(
        "--same_photo",
        default=kind.same_photo,
        metavar="REGEX",
        help="image names (without suffix) that match with the same first group show one"
        " photograph and stay on the same side of a split"
        f" (default: {kind.same_photo.replace('%', '%%') or 'none'}; empty: none)",
    )
    if kind.has_category:
        parser.add_argument(
            "--category",
            help="name of the faces' category, also one with boxes only (default: all with 5 or 68"
            " keypoints)",
        )
    if kind.can_swap:
        parser.add_argument(
            "--swap_left_right",
            action="store_true",
            help="the file's left eye and mouth corner are the person's: exchange them, since"
            " annotations count five points from the picture's left",
        )
    parser.add_argument(
        "--allow_outside",
        action="store_true",
        help="take images that lie outside --images_path (absolute paths, .., links)",
    )
    parser.add_argument(
        "--skip-bad",
        "--skip_bad",
        action="store_true",
        help="leave out images that are missing or whose labels cannot be used, and list them in"
        f" LIST{_SKIPPED_SUFFIX} (path, tab, reason) instead of stopping",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace annotations and lists that are there"
    )


def _val_count(count: int | None, fraction: float | None, images: int) -> int | None:
    """How many images to draw; None: there is no split to draw."""
    if fraction is None:
        return count
    if not 0 <= fraction < 1:
        raise InputError(f"--val_fraction {fraction}: must be at least 0 and below 1")
    return round(fraction * images)


def json_names(image_paths: Sequence[str]) -> dict[str, PurePosixPath]:
    """Where each image's JSON goes below `annotations/`: FOLDER/NAME.json for FOLDER/NAME.jpg.

    No two images share a name, even on file systems that ignore case: NAME.png beside NAME.jpg
    becomes NAME.png.json. Nothing lands outside, whatever the paths.

    Raises:
        InputError: A path names no file, or has a line break, which a list cannot hold.
    """
    taken: set[str] = set()
    names: dict[str, PurePosixPath] = {}
    for image_path in image_paths:
        parts = [part for part in PurePosixPath(image_path).parts if part not in ("/", "//", "..")]
        path = PurePosixPath(*parts)
        if not path.name or "\n" in str(path):
            raise InputError(f"image {image_path!r}: a list cannot hold this name; rename it")
        candidate = path.with_suffix(".json")
        number = 1
        while str(candidate).casefold() in taken:
            ending = ".json" if number == 1 else f"_{number}.json"
            candidate = path.with_name(path.name + ending)
            number += 1
        taken.add(str(candidate).casefold())
        names[image_path] = candidate
    return names


@dataclass
class _Reading:
    """What came of reading a label set's images."""

    image_paths: list[str] = field(default_factory=list)
    faces: int = 0
    faces_with_landmarks: int = 0
    images_without_faces: int = 0
    taken_over: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def add(self, annotation: Annotation) -> None:
        self.image_paths.append(annotation.image_path)
        self.faces += len(annotation)
        self.faces_with_landmarks += int(annotation.has_landmarks.sum())
        self.images_without_faces += not len(annotation)


def _taken_over(staged: Path, image: LabelledImage, images_path: Path) -> Annotation | None:
    """What an interrupted run made of label file and image as they are now, if it did."""
    try:
        made = staged.stat().st_mtime_ns
        sources = [image.label_file.stat(), (images_path / image.image_path).stat()]
        # A file that was copied over another keeps its own date, but not its time of change.
        if made <= max(max(status.st_mtime_ns, status.st_ctime_ns) for status in sources):
            return None
        return read_annotation(staged)
    except (OSError, ValueError):
        return None


def _stage(staged: Path, annotation: Annotation) -> None:
    """Writes a JSON that the next run can trust unless the machine itself went down.

    Waiting for the disk after each of a hundred thousand files would take longer than the rest.
    """
    staged.parent.mkdir(parents=True, exist_ok=True)
    part = staged.with_name(f"{staged.name}.part")
    part.write_text(json.dumps(annotation_content(annotation)) + "\n", encoding="utf-8")
    part.replace(staged)


def _read_images(
    label_set: LabelSet,
    names: dict[str, PurePosixPath],
    staging: Path,
    images_path: Path,
    skip_bad: bool,
) -> _Reading:
    """Reads all images; their JSONs appear in the staging folder one by one."""
    reading = _Reading()
    progress = tqdm(
        label_set.images, desc="reading", unit="image", disable=None, file=sys.stderr, leave=False
    )
    for image in progress:
        staged = staging / names[image.image_path]
        earlier = _taken_over(staged, image, images_path)
        if earlier is not None:
            reading.add(earlier)
            reading.taken_over += 1
            continue
        try:
            result = image.read()
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} (--skip-bad leaves such images out)") from error
            reading.skipped.append((image.image_path, str(error)))
            continue
        if isinstance(result, LeftOut):
            reading.left_out[result.reason] += 1
            continue
        _stage(staged, result)
        reading.add(result)
    return reading


@dataclass(frozen=True)
class _Outputs:
    """Files that the command makes."""

    folder: Path
    lists: tuple[Path, ...]
    skipped: Path | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> _Outputs:
        output = Path(args.output_path)
        draws = args.val_count is not None or args.val_fraction is not None
        names = ("train", "val") if draws else (args.list_name,)
        if any(not name or name != Path(name).name or name != name.strip() for name in names):
            raise InputError(f"--list_name {args.list_name!r}: give a file's name without .txt")
        return cls(
            output / "annotations",
            tuple(output / f"{name}.txt" for name in names),
            output / f"{names[0]}{_SKIPPED_SUFFIX}" if args.skip_bad else None,
        )

    def check(self, overwrite: bool) -> None:
        """Refuses what stands in the way, before anything is read."""
        check_output_folder(self.folder.parent)
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder}: is a file; give another --output_path")
        for target in (*self.lists, *([] if self.skipped is None else [self.skipped])):
            if target.is_dir():
                raise InputError(f"{target}: is a folder; give another --output_path")
            if target.exists() and not overwrite:
                raise InputError(f"{target}: is there already; give --overwrite or another folder")


def _staging_folder(args: argparse.Namespace) -> Path:
    """Where JSONs wait for the last: the same for the same labels, so that a run can go on."""
    settings = {
        key: str(Path(value).absolute()) if key in ("images_path", "label_file") else value
        for key, value in sorted(vars(args).items())
        if key
        in ("format", "images_path", "label_file", "category", "swap_left_right", "allow_outside")
    }
    digest = hashlib.sha256(json.dumps(settings).encode("utf-8", "surrogateescape")).hexdigest()
    return Path(args.output_path) / f".annotations.{digest[:12]}.part"


def _publish(
    outputs: _Outputs,
    parts: Sequence[Sequence[str]],
    names: dict[str, PurePosixPath],
    staging: Path,
    skipped: Sequence[tuple[str, str]],
    overwrite: bool,
) -> None:
    """Moves the JSONs to their place; the lists appear last, when all they name is there."""
    wanted = [names[image_path] for part in parts for image_path in part]
    for name in wanted:
        target = outputs.folder / name
        # One that is there as it should be is of a run that was stopped here.
        if target.exists() and not overwrite and not filecmp.cmp(target, staging / name, False):
            raise InputError(
                f"{target}: is there already with other labels; give --overwrite or another folder"
            )
    with ExitStack() as stack:
        for path, part in zip(outputs.lists, parts, strict=True):
            complete = stack.enter_context(replace_when_complete(path))
            write_annotation_list(complete, [outputs.folder / names[image] for image in part])
        if outputs.skipped is not None:
            lines = [f"{path}\t{' '.join(reason.split())}\n" for path, reason in skipped]
            complete = stack.enter_context(replace_when_complete(outputs.skipped))
            write_text(complete, "".join(lines))
        for name in wanted:
            target = outputs.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(target)
        if hasattr(os, "sync"):
            os.sync()
    shutil.rmtree(staging, ignore_errors=True)


def _counts(label_set: LabelSet, reading: _Reading) -> dict[str, int]:
    counts = {
        "faces": reading.faces,
        "  with landmarks": reading.faces_with_landmarks,
        "  without": reading.faces - reading.faces_with_landmarks,
        "images without faces": reading.images_without_faces,
        **{f"in the labels: {what}": count for what, count in label_set.counts.items()},
        **reading.left_out,
        "images skipped": len(reading.skipped),
    }
    if reading.taken_over:
        counts["taken over from a run that was stopped"] = reading.taken_over
    return counts


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    outputs = _Outputs.of(args)
    outputs.check(args.overwrite)
    _val_count(args.val_count, args.val_fraction, 0)
    label_set: LabelSet = args.kind.read(args)
    names = json_names([image.image_path for image in label_set.images])
    output, staging = Path(args.output_path), _staging_folder(args)
    output_is_new = not output.exists()
    try:
        reading = _read_images(label_set, names, staging, Path(args.images_path), args.skip_bad)
        if not reading.image_paths:
            reason = f"; first problem: {reading.skipped[0][1]}" if reading.skipped else ""
            raise InputError(f"{args.images_path}: no image with labels remains{reason}")
        val_count = _val_count(args.val_count, args.val_fraction, len(reading.image_paths))
        parts: tuple[list[str], ...] = (reading.image_paths,)
        if val_count is not None:
            parts = split_images(reading.image_paths, val_count, args.seed, args.same_photo)
        _publish(outputs, parts, names, staging, reading.skipped, args.overwrite)
    except InputError:
        # Bad input leaves nothing; an interrupted run leaves what it has read, to go on from.
        shutil.rmtree(output if output_is_new else staging, ignore_errors=True)
        raise
    except OSError as error:
        raise OutputError(
            f"{error.filename or output}: cannot be written ({error.strerror or error}); make room"
            " and give the same command again"
        ) from error
    images = len(reading.image_paths)
    lists = {str(path): len(part) for path, part in zip(outputs.lists, parts, strict=True)}
    counts = _counts(label_set, reading)
    lines = [f"images: {images}", *(f"  in {path}: {count}" for path, count in lists.items())]
    lines += [f"{what}: {count}" for what, count in counts.items()]
    results = {
        "images": images,
        "lists": lists,
        "counts": {what.strip(): count for what, count in counts.items()},
    }
    print_results(args, results, "\n".join(lines))
    return 0
