"""COCO keypoint files whose category has 5 or 68 face points."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from img2pose.data.annotations import LANDMARK_COUNTS
from img2pose.data.importers.five_points import order_five_points
from img2pose.data.importers.label_set import (
    FaceList,
    LabelSet,
    face_list_images,
    images_folder,
)
from img2pose.errors import InputError
from img2pose.files import read_text

_COUNTS = (
    "faces with landmarks",
    "faces without",
    "crowds among them",
    "boxes without area, left out",
    "annotations of other categories, left out",
)


@dataclass(frozen=True)
class _Face:
    """One entry of the file's `annotations`; `landmarks` (P, 2), None where they are not known."""

    box_xyxy: list[float]
    landmarks: np.ndarray | None
    is_crowd: bool


def parse_faces(
    text: str, source: str | os.PathLike[str], category: str | None = None
) -> tuple[dict[str, FaceList], dict[str, int]]:
    """Reads the text of a COCO file.

    Args:
        text: JSON with `images` (`id`, `file_name`), `annotations` (`image_id`, `category_id`,
            `bbox` as left, top, width, height, and `keypoints` as x, y, visibility of each point)
            and `categories` (`id`, `name`, `keypoints`). Five points are eye, eye, nose, mouth
            corner, mouth corner; 68 are in iBUG's order.
        source: Where it comes from, for messages.
        category: Name of the faces' category, which may then be one without keypoints; None: each
            category with 5 or 68 keypoints.

    Returns:
        Faces by image path, images without faces among them; and counts. A face has no landmarks
        if one of them has visibility 0, or if it is a crowd (`iscrowd`).

    Raises:
        InputError: It is something else, or has no such category.
    """
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not a COCO file ({error}); mend it") from error
    tables = {name: _table(content, name, source) for name in ("images", "annotations")}
    points_of_category = _categories(_table(content, "categories", source), category, source)
    images: dict[str, FaceList] = {}
    by_id: dict[int | str, FaceList] = {}
    for index, image in enumerate(tables["images"]):
        where = f"{source}: images[{index}]"
        name, identity = image.get("file_name"), _identity(image.get("id"), where)
        if not isinstance(name, str) or name in images or identity in by_id:
            raise InputError(f"{where}: file_name and id expected, each for the first time")
        by_id[identity] = images[name] = FaceList()
    if not images:
        raise InputError(f"{source}: names no image")
    counts = dict.fromkeys(_COUNTS, 0)
    for index, entry in enumerate(tables["annotations"]):
        where = f"{source}: annotations[{index}]"
        faces = by_id.get(_identity(entry.get("image_id"), where))
        if faces is None:
            raise InputError(f"{where}: there is no image of its image_id")
        category_id = _identity(entry.get("category_id"), where)
        if category_id not in points_of_category:
            counts["annotations of other categories, left out"] += 1
            continue
        face = _face(entry, points_of_category[category_id], where)
        if face is None:
            counts["boxes without area, left out"] += 1
            continue
        faces.add(face.box_xyxy, face.landmarks)
        counts["faces without" if face.landmarks is None else "faces with landmarks"] += 1
        counts["crowds among them"] += face.is_crowd
    return images, counts


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _table(content: Any, name: str, source: str | os.PathLike[str]) -> list[dict[str, Any]]:
    table = content.get(name) if isinstance(content, dict) else None
    if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
        raise InputError(f'{source}: a COCO file with a list of objects "{name}" expected')
    return table


def _identity(value: Any, where: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f"{where}: an id must be a number or a string, not {str(value)[:40]!r}")
    return value


def _categories(
    table: list[dict[str, Any]], wanted: str | None, source: str | os.PathLike[str]
) -> dict[int | str, int]:
    """How many points each category of faces has, 0 where it has boxes only."""
    points: dict[int | str, int] = {}
    for index, category in enumerate(table):
        where = f"{source}: categories[{index}]"
        names = category.get("keypoints") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{where}: keypoints must be a list of names")
        if wanted is None and len(names) not in LANDMARK_COUNTS:
            continue
        if wanted is not None and category.get("name") != wanted:
            continue
        if len(names) not in (0, *LANDMARK_COUNTS):
            raise InputError(f"{where}: has {len(names)} keypoints, 5 or 68 can be used")
        noses = [place for place, name in enumerate(names) if "nose" in name.lower()]
        if len(names) == 5 and noses not in ([], [2]):
            raise InputError(
                f"{where}: keypoints must be eye, eye, nose, mouth corner, mouth corner, not"
                f" {', '.join(names)[:100]}"
            )
        points[_identity(category.get("id"), where)] = len(names)
    if not points:
        what = "with 5 or 68 keypoints" if wanted is None else f"named {wanted!r}"
        raise InputError(f"{source}: has no category {what}; name one of the file's by --category")
    return points


def _numbers(value: Any, count: int, where: str, wanted: str) -> list[float]:
    is_numbers = isinstance(value, list) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in value
    )
    if not is_numbers or len(value) != count:
        raise InputError(f"{where}: {wanted} expected, not {str(value)[:60]!r}")
    try:
        numbers = [float(number) for number in value]
    except OverflowError:
        numbers = [math.inf]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{where}: {wanted} must be finite")
    return numbers


def _face(entry: Mapping[str, Any], point_count: int, where: str) -> _Face | None:
    left, top, width, height = _numbers(
        entry.get("bbox"), 4, where, "bbox [left, top, width, height]"
    )
    if width <= 0 or height <= 0:
        return None
    box = [left, top, left + width, top + height]
    is_crowd = entry.get("iscrowd") in (1, True)
    # Detection-only entries of a keypoint category leave the key out.
    if is_crowd or not point_count or entry.get("keypoints") is None:
        return _Face(box, None, is_crowd)
    wanted = f"keypoints with x, y, visibility of {point_count} points"
    rows = np.array(_numbers(entry["keypoints"], 3 * point_count, where, wanted)).reshape(-1, 3)
    known = bool((rows[:, 2] > 0).all())
    return _Face(box, rows[:, :2] if known else None, is_crowd)


def read_label_set(
    images_path: str | os.PathLike[str],
    label_file: str | os.PathLike[str],
    *,
    category: str | None = None,
    swap_left_right: bool = False,
    allow_outside: bool = False,
) -> LabelSet:
    """Reads a COCO file, see `parse_faces`.

    Args:
        images_path: The folder that `file_name` is relative to.
        label_file: The file.
        category: Name of the faces' category; None: each with 5 or 68 keypoints.
        swap_left_right: See `order_five_points`.
        allow_outside: Images may lie outside the folder.

    Raises:
        InputError: The file cannot be read or is malformed, or left and right are exchanged.
    """
    folder, label_file = images_folder(images_path), Path(label_file)
    text = read_text(label_file, "a COCO file")
    faces, counts = parse_faces(text, label_file, category)
    counts |= order_five_points(faces.values(), label_file, swap_left_right)
    images = face_list_images(folder, label_file, faces, label_file.name, allow_outside)
    return LabelSet(images, label_file.name, counts)
