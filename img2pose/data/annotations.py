"""Annotation files: one JSON an image, and text files that list them.

The JSON holds `{"image_path": ..., "bboxes": [[l, t, r, b(, score)]], "landmarks": [[[x, y]]]}`
with 5 or 68 landmarks a face; an image without faces has two empty lists. More keys may be added;
of those that list faces, null stands for what is not known of one:

- `"pose_para": [[pitch, yaw, roll], ...]` in radians as 300W-LP has them; further numbers of its
  `Pose_Para` are ignored, and a single face's may stand without the outer list;
- `"poses": [[rx, ry, rz, tx, ty, tz], ...]`, known poses of the project's own reference face in the
  camera assumed for the image, which need no fit;
- `"visibility": [share, ...]` of each face's area that nothing hides, 0 to 1;
- `"landmark_visibility": [[0 or 1, ...], ...]`, whether each landmark is seen;
- `"label_source"`, who or what made the labels.

Other keys are allowed and ignored.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from img2pose.errors import InputError
from img2pose.files import read_text, write_json, write_text

UNKNOWN_COORDINATE = -1.0
LANDMARK_COUNTS = (5, 68)


def unknown_landmarks() -> np.ndarray:
    """(5, 2) float64: the landmarks of a face that has a box and no more."""
    return np.full((5, 2), UNKNOWN_COORDINATE)


@dataclass(frozen=True, eq=False)
class Annotation:
    """The annotated faces of one image.

    Attributes:
        image_path: The image, relative to the data set's folder.
        boxes_xyxy: (N, 4) float64; left, top, right, bottom in pixels of the image.
        landmarks: N arrays (5, 2) or (68, 2) float64, x and y in pixels of the image; 5 points are
            the eye on the picture's left, the other, nose tip, the mouth corner on the picture's
            left, the other; 68 are in iBUG's order. A coordinate of -1 is unknown.
        source: The file that was read, or a name for messages.
        scores: Detection score a face, None where the file gives none.
        head_angles: (3,) float64 a face: pitch, yaw and roll in radians in the convention of
            300W-LP's `Pose_Para`; None where the file gives none.
        label_source: Who or what made the labels, None where the file does not say.
        poses: (6,) float64 a face: rotation vector (radians) and translation (reference units) of
            the default reference face in the image's assumed camera, known without a fit; None
            where the file gives none.
        visibility: Share of the face's area that is seen, 0..1, a face; None likewise.
        landmark_visibility: (P,) bool a face, as many as landmarks; None likewise.

    Raises:
        InputError: Lengths differ, a face has another number of landmarks, a number is not
            finite, a box ends before it begins, a pose lies behind the camera, or a share is not
            one.
    """

    image_path: str
    boxes_xyxy: np.ndarray
    landmarks: tuple[np.ndarray, ...]
    source: Path
    scores: tuple[float | None, ...] = ()
    head_angles: tuple[np.ndarray | None, ...] = ()
    label_source: str | None = None
    poses: tuple[np.ndarray | None, ...] = ()
    visibility: tuple[float | None, ...] = ()
    landmark_visibility: tuple[np.ndarray | None, ...] = ()

    def __post_init__(self) -> None:
        boxes = np.array(self.boxes_xyxy, dtype=np.float64)
        boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
        count = len(boxes)
        if boxes.shape != (count, 4):
            raise InputError(f"{self.source}: boxes must be (N, 4), not {boxes.shape}")
        landmarks = tuple(np.array(points, dtype=np.float64) for points in self.landmarks)
        if len(landmarks) != count:
            raise InputError(
                f"{self.source}: {count} bboxes but {len(landmarks)} sets of landmarks;"
                " give each face one of both"
            )
        scores = tuple(self.scores) or (None,) * count
        if len(scores) != count:
            raise InputError(f"{self.source}: {count} bboxes but {len(scores)} scores")
        head_angles = tuple(
            None if angles is None else np.array(angles, dtype=np.float64)
            for angles in self.head_angles or (None,) * count
        )
        if len(head_angles) != count:
            raise InputError(
                f"{self.source}: {count} bboxes but {len(head_angles)} pose_para; give each face"
                " one, or null"
            )
        for face, angles in enumerate(head_angles):
            if angles is not None and not (angles.shape == (3,) and np.isfinite(angles).all()):
                raise InputError(
                    f"{self.source}: face {face}: three finite angles in radians expected in"
                    " pose_para"
                )
        _check_image_path(self.image_path, self.source)
        for face, (box, points, score) in enumerate(zip(boxes, landmarks, scores, strict=True)):
            where = f"{self.source}: face {face}"
            if len(points) not in LANDMARK_COUNTS or points.shape != (len(points), 2):
                raise InputError(
                    f"{where}: 5 or 68 landmarks [x, y] expected, shape is {points.shape}"
                )
            finite = np.isfinite(box).all() and np.isfinite(points).all()
            if not finite or (score is not None and not math.isfinite(score)):
                raise InputError(f"{where}: has NaN or infinity; use -1 for unknown landmarks")
            if box[2] < box[0] or box[3] < box[1]:
                raise InputError(
                    f"{where}: box {box.tolist()} ends before it begins; write it as"
                    " left, top, right, bottom"
                )
        self._check_known(landmarks)
        object.__setattr__(self, "boxes_xyxy", boxes)
        object.__setattr__(self, "landmarks", landmarks)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "head_angles", head_angles)

    def _check_known(self, landmarks: tuple[np.ndarray, ...]) -> None:
        """Checks and completes what need not be known of faces: poses and visibility."""
        count = len(landmarks)
        for name in ("poses", "visibility", "landmark_visibility"):
            values = tuple(getattr(self, name)) or (None,) * count
            if len(values) != count:
                raise InputError(
                    f"{self.source}: {count} bboxes but {len(values)} {name}; give each face one,"
                    " or null"
                )
            object.__setattr__(self, name, values)
        poses = []
        for face, pose in enumerate(self.poses):
            numbers = None if pose is None else np.array(pose, dtype=np.float64)
            if numbers is not None and not (
                numbers.shape == (6,) and np.isfinite(numbers).all() and numbers[5] > 0
            ):
                raise InputError(
                    f"{self.source}: face {face}: poses need six finite numbers, rx, ry, rz, tx,"
                    " ty and tz before the camera (tz above 0)"
                )
            poses.append(numbers)
        object.__setattr__(self, "poses", tuple(poses))
        for face, share in enumerate(self.visibility):
            if share is not None and not 0 <= share <= 1:
                raise InputError(
                    f"{self.source}: face {face}: visibility {share} must be between 0 and 1"
                )
        seen = []
        for face, flags in enumerate(self.landmark_visibility):
            known = None if flags is None else np.asarray(flags)
            if known is not None and not (
                known.shape == (len(landmarks[face]),) and np.isin(known, (0, 1)).all()
            ):
                raise InputError(
                    f"{self.source}: face {face}: landmark_visibility needs a 0 or 1 for each of"
                    f" {len(landmarks[face])} landmarks"
                )
            seen.append(None if known is None else known.astype(bool))
        object.__setattr__(self, "landmark_visibility", tuple(seen))

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @property
    def has_landmarks(self) -> np.ndarray:
        """(N,) bool: all landmarks of the face are known, so a pose can be fitted."""
        known = [bool((points != UNKNOWN_COORDINATE).all()) for points in self.landmarks]
        return np.array(known, dtype=bool)


def _check_image_path(image_path: str, source: Path) -> None:
    try:
        usable = bool(image_path.strip()) and "\0" not in image_path
        image_path.encode("utf-8")
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InputError(f"{source}: image_path {image_path!r} is not a path; name the image file")


def resolve_image(
    root: str | os.PathLike[str],
    image_path: str,
    source: str | os.PathLike[str],
    allow_outside: bool = False,
) -> Path:
    """Where an annotation's image lies, which must be inside the data set's folder.

    Annotations may come from anybody, and what they name gets read and copied into stores. So the
    image's real place, links followed, must lie in the folder's real place. The folder itself may
    be a link; a link inside it may lead elsewhere inside; absolute paths and `..` will do as long
    as they end up inside.

    Args:
        root: The data set's folder, `--dataset_path`.
        image_path: As the annotation has it.
        source: The annotation, for messages.
        allow_outside: Take any place; the user said `--allow_outside`.

    Returns:
        `root / image_path`; whether anything is there is not said.

    Raises:
        InputError: It lies outside, or something other than a file is there.
    """
    _check_image_path(image_path, Path(source))
    path = Path(root) / image_path
    try:
        inside = allow_outside or path.resolve().is_relative_to(Path(root).resolve())
        odd = inside and path.exists() and not path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{source}: image {path} cannot be looked up ({error})") from error
    if not inside:
        raise InputError(
            f"{source}: image {image_path} lies outside {root}; mend image_path, or give"
            " --allow_outside if you trust the annotation"
        )
    if odd:
        raise InputError(f"{source}: image {path} is not a file; mend image_path")
    return path


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed; use -1 for unknown landmarks")


def _number(value: Any, where: str) -> float:
    # bool is a kind of int in Python, but not in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: a number expected, not {str(value)[:40]!r}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _rows(value: Any, widths: tuple[int, ...], where: str, wanted: str) -> list[list[float]]:
    if not isinstance(value, list):
        raise InputError(f"{where}: {wanted} expected, not {str(value)[:40]!r}")
    for row in value:
        if not isinstance(row, list) or len(row) not in widths:
            raise InputError(f"{where}: {wanted} expected, not {str(row)[:60]!r}")
    return [[_number(entry, where) for entry in row] for row in value]


def parse_annotation(text: str, source: str | os.PathLike[str]) -> Annotation:
    """Reads the text of an annotation file.

    Args:
        text: JSON.
        source: Where it comes from, for messages.

    Raises:
        InputError: It does not follow the schema; the message names source, face and remedy.
    """
    source = Path(source)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not a JSON annotation ({error}); mend or remove it") from error
    if not isinstance(value, dict):
        raise InputError(
            f"{source}: a JSON object with image_path, bboxes and landmarks expected,"
            f" not a {type(value).__name__}"
        )
    for key, kind, wanted in (
        ("image_path", str, "a string"),
        ("bboxes", list, "a list"),
        ("landmarks", list, "a list"),
    ):
        if key not in value:
            raise InputError(f'{source}: lacks the key "{key}"; add it')
        if not isinstance(value[key], kind):
            raise InputError(
                f'{source}: "{key}" must be {wanted}, not a {type(value[key]).__name__}'
            )
    boxes: list[list[float]] = []
    scores: list[float | None] = []
    for face, box in enumerate(value["bboxes"]):
        where = f"{source}: face {face}"
        (numbers,) = _rows([box], (4, 5), where, "a box [left, top, right, bottom(, score)]")
        boxes.append(numbers[:4])
        scores.append(numbers[4] if len(numbers) == 5 else None)
    landmarks = [
        np.array(_rows(points, (2,), f"{source}: face {face}", "landmarks [[x, y], ...]"))
        for face, points in enumerate(value["landmarks"])
    ]
    return Annotation(
        value["image_path"],
        np.array(boxes),
        tuple(landmarks),
        source,
        tuple(scores),
        _head_angles(value.get("pose_para"), source),
        _label_source(value.get("label_source"), source),
        _numbers_a_face(value, "poses", source),
        _share_a_face(value, source),
        _numbers_a_face(value, "landmark_visibility", source),
    )


def _head_angles(value: Any, source: Path) -> tuple[np.ndarray | None, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError(f"{source}: pose_para must be a list, not a {type(value).__name__}")
    if value and not any(isinstance(numbers, list) or numbers is None for numbers in value):
        value = [value]
    angles: list[np.ndarray | None] = []
    for face, numbers in enumerate(value):
        if numbers is None:
            angles.append(None)
            continue
        where = f"{source}: face {face}"
        if not isinstance(numbers, list) or len(numbers) < 3:
            raise InputError(f"{where}: pose_para [pitch, yaw, roll] in radians or null expected")
        angles.append(np.array([_number(number, where) for number in numbers[:3]]))
    return tuple(angles)


def _faces_of(value: dict[str, Any], key: str, source: Path) -> list[Any]:
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise InputError(f"{source}: {key} must be a list, not a {type(found).__name__}")
    return found


def _numbers_a_face(value: dict[str, Any], key: str, source: Path) -> tuple[np.ndarray | None, ...]:
    found: list[np.ndarray | None] = []
    for face, numbers in enumerate(_faces_of(value, key, source)):
        where = f"{source}: face {face}"
        if numbers is None:
            found.append(None)
            continue
        if not isinstance(numbers, list):
            raise InputError(f"{where}: {key} needs a list of numbers or null")
        found.append(np.array([_number(number, where) for number in numbers]))
    return tuple(found)


def _share_a_face(value: dict[str, Any], source: Path) -> tuple[float | None, ...]:
    return tuple(
        None if share is None else _number(share, f"{source}: face {face}")
        for face, share in enumerate(_faces_of(value, "visibility", source))
    )


def _label_source(value: Any, source: Path) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"{source}: label_source must be a string, not a {type(value).__name__}")


def read_annotation(path: str | os.PathLike[str]) -> Annotation:
    """Reads one annotation file.

    Raises:
        InputError: It cannot be read or does not follow the schema.
    """
    return parse_annotation(read_text(path, "an annotation"), path)


def write_annotation(path: str | os.PathLike[str], annotation: Annotation) -> None:
    """Writes one annotation file, whole or not at all; `read_annotation` gives it back."""
    write_json(path, annotation_content(annotation))


def annotation_content(annotation: Annotation) -> dict[str, Any]:
    """What an annotation file holds, ready for JSON."""
    boxes = [
        box if score is None else [*box, score]
        for box, score in zip(annotation.boxes_xyxy.tolist(), annotation.scores, strict=True)
    ]
    content: dict[str, Any] = {
        "image_path": annotation.image_path,
        "bboxes": boxes,
        "landmarks": [points.tolist() for points in annotation.landmarks],
    }
    if any(angles is not None for angles in annotation.head_angles):
        content["pose_para"] = [
            None if angles is None else angles.tolist() for angles in annotation.head_angles
        ]
    if any(pose is not None for pose in annotation.poses):
        content["poses"] = [None if pose is None else pose.tolist() for pose in annotation.poses]
    if any(share is not None for share in annotation.visibility):
        content["visibility"] = list(annotation.visibility)
    if any(seen is not None for seen in annotation.landmark_visibility):
        content["landmark_visibility"] = [
            None if seen is None else seen.astype(int).tolist()
            for seen in annotation.landmark_visibility
        ]
    if annotation.label_source is not None:
        content["label_source"] = annotation.label_source
    return content


def read_annotation_list(
    path: str | os.PathLike[str], *, check_files: bool = True
) -> tuple[Path, ...]:
    """Reads a text file that names annotation files, one a line; blank lines do not count.

    Args:
        path: The list.
        check_files: Refuse a list that names a file which is not there.

    Returns:
        The paths as written: relative ones are relative to the current folder.

    Raises:
        InputError: The list cannot be read, names nothing, or names a missing file.
    """
    entries = []
    for number, line in enumerate(read_text(path, "a list of annotations").split("\n"), start=1):
        if not line.strip():
            continue
        entry = Path(line.strip())
        if "\0" in line:
            raise InputError(f"{path}: line {number} is not a path; is it a text file?")
        if check_files and not entry.is_file():
            raise InputError(
                f"{path}: line {number}: {entry} is not there; paths are relative to the"
                f" current folder ({Path.cwd()})"
            )
        entries.append(entry)
    if not entries:
        raise InputError(f"{path}: names no annotation; write one JSON path a line")
    return tuple(entries)


def write_annotation_list(
    path: str | os.PathLike[str], entries: Iterable[str | os.PathLike[str]]
) -> None:
    """Writes a list file, whole or not at all.

    Args:
        path: The list.
        entries: Annotation files; relative ones must be so to the folder that commands run in.

    Raises:
        InputError: A path holds a line break, or begins or ends with white space.
    """
    lines = [os.fspath(entry) for entry in entries]
    for line in lines:
        # Reading takes a lone carriage return for a line break too.
        if line != line.strip() or "\n" in line or "\r" in line:
            raise InputError(f"{path}: cannot list {line!r}; rename it without white space there")
    write_text(path, "".join(f"{line}\n" for line in lines))
