"""BIWI's Kinect head poses in their original layout: `NN/frame_XXXXX_rgb.png`, `..._pose.txt`.

A pose file has the rotation matrix in three rows, a blank line, and the head's position in
millimetres, both in the depth camera: x right, y down, z away, the head's own axes likewise.

Source: Fanelli, Dantone, Gall, Fossati and Van Gool, IJCV 2013.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from img2pose.data.annotations import resolve_image
from img2pose.errors import InputError
from img2pose.files import read_text

IMAGE_SUFFIX = "_rgb.png"
POSE_SUFFIX = "_pose.txt"
_FRAME = re.compile(r"[0-9]+/frame_[0-9]+")
# The files round to six digits; what differs more from a rotation is none.
_ROTATION_TOLERANCE = 1e-2


@dataclass(frozen=True)
class BiwiFrames:
    """Frames of the data set.

    Attributes:
        folder: What holds the folders of the people.
        names: `NN/frame_XXXXX` of frames with picture and pose.
        without_pose: Those with a picture only.
        without_picture: Those with a pose only.
    """

    folder: Path
    names: tuple[str, ...]
    without_pose: tuple[str, ...] = ()
    without_picture: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class BiwiPose:
    """What a pose file says.

    Attributes:
        rotation: (3, 3), X_camera = R X_head + t.
        translation_mm: (3,).
    """

    rotation: np.ndarray
    translation_mm: np.ndarray


def image_name(frame: str) -> str:
    """A frame's picture, relative to the data set's folder."""
    return f"{frame}{IMAGE_SUFFIX}"


def pose_name(frame: str) -> str:
    """A frame's pose file, relative to the data set's folder."""
    return f"{frame}{POSE_SUFFIX}"


def find_frames(folder: str | os.PathLike[str], *, allow_outside: bool = False) -> BiwiFrames:
    """All frames below a folder; depth pictures, masks and calibrations are not looked at.

    Args:
        folder: What holds the folders `01`, `02`, ... of the people.
        allow_outside: Pictures may be links to files outside the folder.

    Raises:
        InputError: It is no folder, holds no frame, or a picture lies outside.
    """
    folder = _checked_folder(folder)
    pictures, poses = _frames_with(folder, IMAGE_SUFFIX), _frames_with(folder, POSE_SUFFIX)
    both = sorted(pictures & poses)
    if not both:
        raise InputError(
            f"{folder}: holds no NN/frame_XXXXX{IMAGE_SUFFIX} with a {POSE_SUFFIX} beside it; give"
            " the folder of the people's folders 01, 02, ..."
        )
    _check_places(folder, both, allow_outside)
    return BiwiFrames(
        folder, tuple(both), tuple(sorted(pictures - poses)), tuple(sorted(poses - pictures))
    )


def _frames_with(folder: Path, suffix: str) -> set[str]:
    """Names of the frames that have a file with this suffix."""
    names = (
        path.relative_to(folder).as_posix().removesuffix(suffix)
        for path in folder.glob(f"*/frame_*{suffix}")
        if path.is_file()
    )
    return {name for name in names if _FRAME.fullmatch(name)}


def listed_frames(
    folder: str | os.PathLike[str],
    frame_list: str | os.PathLike[str],
    *,
    allow_outside: bool = False,
) -> BiwiFrames:
    """The frames that a list names.

    Args:
        folder: See `find_frames`.
        frame_list: Text file, `NN/frame_XXXXX` a line; blank lines do not count.
        allow_outside: See `find_frames`.

    Raises:
        InputError: A line names no frame, one that is not there, or the same as another.
    """
    folder = _checked_folder(folder)
    names: dict[str, int] = {}
    text = read_text(frame_list, "a list of frames")
    for number, line in enumerate(text.split("\n"), start=1):
        name = line.strip().removesuffix(IMAGE_SUFFIX)
        if not name:
            continue
        where = f"{frame_list}: line {number}"
        if not _FRAME.fullmatch(name):
            raise InputError(f"{where}: NN/frame_XXXXX expected, not {line.strip()[:60]!r}")
        if name in names:
            raise InputError(f"{where}: {name} stands in line {names[name]} too; remove one")
        for file in (folder / image_name(name), folder / pose_name(name)):
            if not file.is_file():
                raise InputError(f"{where}: {file} is not there; is --dataset_path right?")
        names[name] = number
    if not names:
        raise InputError(f"{frame_list}: names no frame; write one NN/frame_XXXXX a line")
    _check_places(folder, names, allow_outside)
    return BiwiFrames(folder, tuple(names))


def read_pose(path: str | os.PathLike[str]) -> BiwiPose:
    """Reads a pose file.

    Raises:
        InputError: It is missing or does not hold a rotation and a position.
    """
    rows = [line.split() for line in read_text(path, "a pose").splitlines() if line.strip()]
    remedy = "replace the file or leave the frame out"
    if [len(row) for row in rows] != [3, 3, 3, 3]:
        raise InputError(
            f"{path}: three rows of three numbers and three more expected, not rows of"
            f" {', '.join(str(len(row)) for row in rows[:8]) or 'nothing'}; {remedy}"
        )
    try:
        numbers = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: holds something else than numbers; {remedy}") from error
    if not np.isfinite(numbers).all():
        raise InputError(f"{path}: has NaN or infinity; {remedy}")
    return BiwiPose(_nearest_rotation(numbers[:3], path, remedy), numbers[3])


def pose_text(pose: BiwiPose) -> str:
    """What a pose file says of a pose: rows that end with a blank, a blank line between."""
    rows = ["".join(f"{value!r} " for value in row) for row in pose.rotation.tolist()]
    position = "".join(f"{value!r} " for value in pose.translation_mm.tolist())
    return "\n".join([*rows, "", position, ""])


def _nearest_rotation(matrix: np.ndarray, path: str | os.PathLike[str], remedy: str) -> np.ndarray:
    left, stretches, right = np.linalg.svd(matrix)
    rotation: np.ndarray = left @ right
    if np.abs(stretches - 1).max() > _ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise InputError(f"{path}: its first three rows are no rotation; {remedy}")
    return rotation


def _checked_folder(path: str | os.PathLike[str]) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give the data set's as --dataset_path")
    return folder


def _check_places(folder: Path, names: Iterable[str], allow_outside: bool) -> None:
    for name in names:
        resolve_image(folder, image_name(name), folder / pose_name(name), allow_outside)
