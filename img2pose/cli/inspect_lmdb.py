"""Shows the records of a store as pictures and numbers."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import command_parser, print_results
from img2pose.cli.reference_arguments import add_reference_arguments, load_references
from img2pose.data.store import PoseStore, Record
from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.evaluation.sheets import evenly_spaced
from img2pose.files import check_output_folder, told_when_unwritable
from img2pose.geometry import image_intrinsics, pose_to_euler
from img2pose.images import decode_image, write_picture
from img2pose.references import PoseReferences
from img2pose.visualization import (
    Color,
    contact_sheet,
    draw_boxes,
    draw_caption,
    draw_faces,
    draw_points,
    fit_into,
)

UNPOSED_COLOR: Color = (255, 80, 220)
SHEET_FILE = "sheet.png"
_CELL = 480
_COLUMNS = 4
# Smaller pictures are drawn enlarged, so that lines do not hide them.
_LEAST_SIDE = 720


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/inspect_lmdb.py",
        "Show a store: a summary of it, or the numbers of single records, and their"
        " pictures with all labels. Boxes are yellow, or pink for faces without a pose; stored"
        " landmarks are green; the 68 reference points projected with the stored pose are light"
        " blue; the pose's axes are red (x), green (y) and blue (out of the face).",
        "datasets/train.lmdb --record 0 17 --output_path look",
    )
    parser.add_argument("lmdb", metavar="FILE", help="store of convert_json_list_to_lmdb.py")
    parser.add_argument(
        "--record",
        nargs="+",
        default=[],
        metavar="KEY_OR_INDEX",
        help="records to show, by key or else by place in the store's list",
    )
    parser.add_argument(
        "--sheet",
        type=int,
        default=0,
        metavar="N",
        help=f"draw N evenly spaced records to {SHEET_FILE}",
    )
    parser.add_argument(
        "--output_path",
        help="folder for record_KEY.png and the sheet; without it records are only printed",
    )
    add_reference_arguments(parser)
    return parser


def _find(store: PoseStore, wanted: str, indices: dict[str, int]) -> int:
    if wanted in indices:
        return indices[wanted]
    try:
        index = int(wanted)
    except ValueError:
        index = -1
    if not 0 <= index < len(store):
        raise InputError(
            f"{store.path}: has no record {wanted!r}; give one of its keys, or 0 to"
            f" {len(store) - 1}"
        )
    return index


def _picture(store: PoseStore, index: int, record: Record) -> np.ndarray:
    name = f"{store.path}: record {store.key(index)}"
    return decode_image(record.image_bytes, name, upright=False)


def draw_record(
    record: Record, pixels: np.ndarray, references: PoseReferences, least_side: int = _LEAST_SIDE
) -> np.ndarray:
    """The picture of a record with all its labels.

    Args:
        record: Labels.
        pixels: (H, W, 3) uint8 RGB, its picture.
        references: The reference face of the poses.
        least_side: A picture whose longer side is shorter is enlarged by a whole factor.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    height, width = pixels.shape[:2]
    factor = max(1, -(-least_side // max(height, width)))
    if factor > 1:
        size = (factor * width, factor * height)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    # Coordinates count from the middle of the first pixel.
    shift = (factor - 1) / 2
    enlarge = np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])
    boxes = factor * record.boxes_xyxy + shift
    posed = record.has_pose & np.isfinite(record.poses_in_image).all(1)
    detections = FaceDetections(
        poses=record.poses_in_image[posed],
        boxes=boxes[posed],
        scores=np.ones(int(posed.sum())),
        intrinsics=enlarge @ image_intrinsics(height, width),
        size_hw=(factor * height, factor * width),
    )
    drawing = draw_boxes(pixels, boxes[~posed], UNPOSED_COLOR)
    drawing = draw_faces(drawing, detections, references, scores=False, landmarks=True)
    for points in record.landmarks:
        if points.ndim == 2 and points.shape[1] == 2:
            known = points[(points != -1).all(1)]
            drawing = draw_points(drawing, factor * known + shift)
    return drawing


def _plain(values: np.ndarray) -> list[float | None]:
    """For JSON, which knows no NaN: what is not finite in a damaged record becomes null."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _describe(store: PoseStore, index: int, record: Record, pixels: np.ndarray) -> dict[str, Any]:
    faces = []
    for face, posed in enumerate(record.has_pose.tolist()):
        entry: dict[str, Any] = {
            "box": _plain(record.boxes_xyxy[face]),
            "landmarks": len(record.landmarks[face]) if record.landmarks[face].ndim else 0,
            "pose_in_image": None,
        }
        if posed:
            entry["pose_in_image"] = _plain(record.poses_in_image[face])
            entry["pose_in_box"] = _plain(record.poses_in_box[face])
            angles = _plain(np.asarray(pose_to_euler(record.poses_in_image[face])))
            entry["euler_aflw2000_deg"] = dict(zip(("pitch", "yaw", "roll"), angles, strict=True))
        faces.append(entry)
    info = store.info(index)
    return {
        "key": store.key(index),
        "index": index,
        "image_path": None if info is None else info.image_path,
        "label_source": None if info is None else info.label_source,
        "image_bytes": len(record.image_bytes),
        "size_hw": list(pixels.shape[:2]),
        "faces": faces,
    }


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _numbers(values: Sequence[float | None]) -> str:
    return " ".join(_number(value, ".4g") for value in values)


def _record_text(described: dict[str, Any]) -> str:
    height, width = described["size_hw"]
    lines = [
        f"record {described['key']}: {width} x {height}, {described['image_bytes']} bytes,"
        f" {len(described['faces'])} faces"
    ]
    if described["image_path"] is not None:
        lines.append(f"  {described['image_path']}, labels: {described['label_source'] or '?'}")
    for number, face in enumerate(described["faces"]):
        lines.append(f"  face {number}: box {_numbers(face['box'])}, {face['landmarks']} landmarks")
        if face["pose_in_image"] is None:
            lines.append("    without pose")
            continue
        angles = ", ".join(
            f"{k} {_number(v, '.1f')}" for k, v in face["euler_aflw2000_deg"].items()
        )
        lines.append(f"    pose in image {_numbers(face['pose_in_image'])}  ({angles} degrees)")
        lines.append(f"    pose in box   {_numbers(face['pose_in_box'])}")
    return "\n".join(lines)


def _summary(store: PoseStore) -> dict[str, Any]:
    path = store.path / "data.mdb" if store.path.is_dir() else store.path
    faces = posed = without = image_bytes = 0
    unreadable: list[str] = []
    indices = tqdm(range(len(store)), "reading", unit="record", disable=None, file=sys.stderr)
    for index in indices:
        try:
            record = store[index]
        except InputError as error:
            unreadable.append(str(error))
            continue
        faces += len(record)
        posed += int(record.has_pose.sum())
        without += len(record) == 0
        image_bytes += len(record.image_bytes)
    return {
        "lmdb": str(store.path),
        "file_bytes": path.stat().st_size,
        "records": len(store),
        "records_unreadable": len(unreadable),
        "first_unreadable": unreadable[0] if unreadable else None,
        "records_without_faces": without,
        "image_bytes": image_bytes,
        "faces": faces,
        "faces_with_pose": posed,
        "faces_without_pose": faces - posed,
        "note": None if store.meta is None else asdict(store.meta),
    }


def _summary_text(summary: dict[str, Any]) -> str:
    lines = []
    for name, value in summary.items():
        if name == "note":
            if value is None:
                lines.append("note: none, as in stores of the published converter")
            else:
                lines.append("note:")
                lines += [f"  {key.replace('_', ' ')}: {entry}" for key, entry in value.items()]
        elif value is not None:
            lines.append(f"{name.replace('_', ' ')}: {value}")
    return "\n".join(lines)


def _write_drawing(path: Path, drawing: np.ndarray) -> None:
    with told_when_unwritable(path):
        write_picture(path, drawing)


def _show_records(
    store: PoseStore, wanted: Sequence[str], references: PoseReferences, output: Path | None
) -> list[dict[str, Any]]:
    indices = {store.key(index): index for index in range(len(store))}
    described = []
    for index in dict.fromkeys(_find(store, name, indices) for name in wanted):
        record = store[index]
        pixels = _picture(store, index, record)
        entry = _describe(store, index, record, pixels)
        if output is not None:
            path = output / f"record_{_file_name(store.key(index))}.png"
            _write_drawing(path, draw_record(record, pixels, references))
            entry["drawing"] = str(path)
        described.append(entry)
    return described


def _file_name(key: str) -> str:
    # Keys of other writers may hold anything.
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in key)


def _draw_sheet(store: PoseStore, count: int, references: PoseReferences, path: Path) -> None:
    cells = []
    for index in evenly_spaced(count, len(store)):
        record = store[index]
        drawing = draw_record(record, _picture(store, index, record), references)
        cells.append(draw_caption(fit_into(drawing, _CELL), f"record {store.key(index)}"))
    if not cells:
        raise InputError(f"{store.path}: holds no records to draw")
    _write_drawing(path, contact_sheet(cells, _COLUMNS, _CELL))


def _check_references(store: PoseStore, references: PoseReferences) -> None:
    if store.meta is not None and store.meta.references_sha256 != references.sha256:
        print(
            f"warning: {store.path}: its poses refer to {store.meta.references_name}, other"
            " reference points than are drawn; give --threed_68_points and --threed_5_points",
            file=sys.stderr,
        )


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    if args.sheet < 0:
        raise InputError(f"--sheet {args.sheet}: give how many records to draw, 0 for none")
    if args.sheet and args.output_path is None:
        raise InputError("--sheet: also give --output_path, the folder for it")
    output = None if args.output_path is None else Path(args.output_path)
    if output is not None:
        check_output_folder(output)
    references = load_references(args)
    store = PoseStore(args.lmdb)
    _check_references(store, references)
    records = _show_records(store, args.record, references, output)
    summary = None if args.record else _summary(store)
    sheet = None
    if args.sheet and output is not None:
        sheet = output / SHEET_FILE
        _draw_sheet(store, args.sheet, references, sheet)
    lines = [] if summary is None else [_summary_text(summary)]
    for entry in records:
        lines.append(_record_text(entry))
        if "drawing" in entry:
            lines.append(f"  drawing: {entry['drawing']}")
    if sheet is not None:
        lines.append(f"sheet: {sheet}")
    content = {"records": records} if summary is None else summary
    results = {**content, "sheet": None if sheet is None else str(sheet)}
    print_results(args, results, "\n".join(lines))
    return 2 if summary is not None and summary["records_unreadable"] else 0
