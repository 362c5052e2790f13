"""Head-pose benchmarks: which pictures, and the true pose of each face in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from img2pose.data import biwi
from img2pose.data.annotations import (
    Annotation,
    read_annotation,
    read_annotation_list,
    resolve_image,
)
from img2pose.data.importers import aflw2000
from img2pose.data.importers.label_set import LeftOut
from img2pose.errors import InputError
from img2pose.evaluation.head_pose import HeadPoses
from img2pose.geometry import (
    boxes_from_points,
    euler_to_matrix,
    image_intrinsics,
    matrix_to_rotvec,
    pose_to_euler,
    rotvec_to_matrix,
    solve_pose,
)
from img2pose.images import image_size
from img2pose.references import PoseReferences

MAX_ANGLE_DEG = aflw2000.MAX_ANGLE_DEG
_BEYOND = f"an angle beyond {MAX_ANGLE_DEG:.0f} degrees"

_OVERLAP = (
    "of all detections, of any score, the one with the best IoU (sides counted inclusively) to the"
    " bounds of the 68 true points, scaled by 1.1 and 1.1, lengthened by 0.3 on the forehead's"
    " side, clipped to the picture; one that does not touch them (IoU 0) is none: not found"
)
_TRANSLATION = (
    "truth: EPnP (float64) of the 68 true points in the image's camera (focal length width +"
    " height), with the model's reference points; absolute differences in reference units"
)
_ANGLES = (
    f"images are left out where an angle of the truth is beyond {MAX_ANGLE_DEG:.0f} degrees, and"
    " faces without 68 known points"
)

POSE_PARA_PROTOCOL: Mapping[str, str] = {
    "rotation_truth": "pitch, yaw, roll of Pose_Para as they stand; the matrix from them",
    "selection": _OVERLAP,
    "translation": _TRANSLATION,
    "landmark_truth": "x and y of pt3d_68",
    "left_out": _ANGLES,
}
ANNOTATIONS_PROTOCOL: Mapping[str, str] = {
    **POSE_PARA_PROTOCOL,
    "rotation_truth": "pose_para of the annotation where it has one; else the EPnP fit (float64)"
    " of the 68 annotated points in the image's camera, with the model's reference points, and its"
    " Euler angles",
    "landmark_truth": "the annotated points",
}
BIWI_PROTOCOL: Mapping[str, str] = {
    "rotation_truth": "the matrix of the pose file as it stands, in the depth camera: the turn"
    " between depth and colour camera is not taken into account, as published; its Euler angles",
    "selection": "the detection whose box centre is nearest to the picture's centre, of those with"
    " a score above 0.9; where none has one, the first, which is the best scored; not found only"
    " where nothing is detected",
    "translation": "not judged: the truth is in millimetres, from a depth camera of its own, and"
    " a prediction in reference units, for an assumed focal length; no scale without the person's"
    " size relates the two",
    "landmark_truth": "the data set has none",
    "left_out": "frames without a pose file",
}

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class HeadTruth:
    """One face to be judged.

    Attributes:
        image: The picture, relative to the set's folder.
        face: Its number in that picture.
        euler_deg: (3,) pitch, yaw, roll as the data set states them.
        rotation: (3, 3) in the image's camera.
        translation: (3,) reference units, None where the set has none to compare with.
        box_xyxy: (4,) pixels; None: the most central detection is judged.
        landmarks: (68, 2) pixels, None where the set has none.
    """

    image: str
    face: int
    euler_deg: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray | None = None
    box_xyxy: np.ndarray | None = None
    landmarks: np.ndarray | None = None


@dataclass(frozen=True)
class LeftOutHead:
    """What is not judged: a picture, or one face of it.

    Attributes:
        image: The picture.
        reason: Why; few reasons for many pictures.
        detail: What exactly was wrong with this one; may be empty.
    """

    image: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class HeadSet:
    """A benchmark.

    Attributes:
        folder: Where the pictures lie.
        truths: The faces, those of one picture together.
        left_out: What is not judged.
        truth_sha256: Hash of the names and label files that were used.
        protocol: What is the truth, and which detection is judged.
    """

    folder: Path
    truths: tuple[HeadTruth, ...]
    left_out: tuple[LeftOutHead, ...]
    truth_sha256: str
    protocol: Mapping[str, str]

    @property
    def images(self) -> tuple[str, ...]:
        """The pictures, each once."""
        return tuple(dict.fromkeys(truth.image for truth in self.truths))

    @property
    def poses(self) -> HeadPoses:
        """The truth as arrays, in the order of `truths`."""
        return HeadPoses(
            np.array([truth.euler_deg for truth in self.truths]).reshape(-1, 3),
            np.array([truth.rotation for truth in self.truths]).reshape(-1, 3, 3),
            _stacked([truth.translation for truth in self.truths]),
            _stacked([truth.landmarks for truth in self.truths]),
        )


def _stacked(values: list[np.ndarray | None]) -> np.ndarray | None:
    known = [value for value in values if value is not None]
    return np.array(known) if known else None


class _Gathering:
    """Collects truths, and what is left out and why."""

    def __init__(self, folder: Path, skip_bad: bool) -> None:
        self.folder = folder
        self.skip_bad = skip_bad
        self.truths: list[HeadTruth] = []
        self.left_out: list[LeftOutHead] = []
        self._digest = hashlib.sha256()

    def use_label_file(self, path: Path) -> None:
        """Takes a file that was read into the hash."""
        self._digest.update(path.read_bytes())

    def read(self, image: str, read: Callable[[], Answer]) -> Answer | None:
        """What `read` gives; None where its picture is bad and bad ones are left out."""
        try:
            return read()
        except InputError as error:
            if not self.skip_bad:
                raise InputError(f"{error} (--skip_bad leaves such pictures out)") from error
            self.left_out.append(LeftOutHead(image, "picture or labels cannot be used", str(error)))
            return None

    def finish(self, protocol: Mapping[str, str]) -> HeadSet:
        """The benchmark.

        Raises:
            InputError: Nothing is left to judge.
        """
        if not self.truths:
            reasons = "; ".join(sorted({f"{out.image}: {out.reason}" for out in self.left_out})[:3])
            raise InputError(f"{self.folder}: no face is left to judge ({reasons})")
        for truth in self.truths:
            self._digest.update(f"{truth.image}\0{truth.face}\n".encode())
        return HeadSet(
            self.folder,
            tuple(self.truths),
            tuple(self.left_out),
            self._digest.hexdigest(),
            protocol,
        )


def _fitted_pose(
    points: np.ndarray, intrinsics: np.ndarray, references: PoseReferences, where: str
) -> np.ndarray:
    try:
        pose: np.ndarray = solve_pose(references.points_68, points, intrinsics)
    except ValueError as error:
        raise InputError(f"{where}: no pose fits its 68 points; mend or remove them") from error
    # EPnP may also answer with a face behind the camera.
    if pose[5] <= 0:
        raise InputError(f"{where}: its 68 points fit no face in view; mend or remove them")
    return pose


def _truth_of_face(
    annotation: Annotation, face: int, size_hw: tuple[int, int], references: PoseReferences
) -> HeadTruth:
    where = f"{annotation.source}: face {face}"
    points = annotation.landmarks[face]
    # Landmark errors are divided by these.
    if np.ptp(points, axis=0).min() <= 0 or (points[36] == points[45]).all():
        raise InputError(f"{where}: its 68 points have no extent; mend or remove them")
    pose = _fitted_pose(points, image_intrinsics(*size_hw), references, where)
    angles = annotation.head_angles[face]
    euler_deg = np.asarray(pose_to_euler(pose)) if angles is None else np.rad2deg(angles)
    rotation = np.asarray(
        rotvec_to_matrix(pose[:3]) if angles is None else euler_to_matrix(euler_deg)
    )
    # Only its roll is read, for the side the forehead is on.
    turned = np.array([[*matrix_to_rotvec(rotation), *pose[3:]]])
    box = boxes_from_points(points[None], turned, size_hw)[0]
    if not (box[2:] > box[:2]).all():
        raise InputError(f"{where}: its 68 points lie outside the picture; mend or remove them")
    return HeadTruth(annotation.image_path, face, euler_deg, rotation, pose[3:], box, points)


def _add_faces(
    gathering: _Gathering,
    annotation: Annotation,
    size_hw: tuple[int, int],
    references: PoseReferences,
) -> None:
    image = annotation.image_path
    for face, points in enumerate(annotation.landmarks):
        if len(points) != 68 or not annotation.has_landmarks[face]:
            gathering.left_out.append(LeftOutHead(image, "without 68 known points", f"face {face}"))
            continue

        def read(face: int = face) -> HeadTruth:
            return _truth_of_face(annotation, face, size_hw, references)

        truth = gathering.read(image, read)
        if truth is None:
            continue
        if (np.abs(truth.euler_deg) > MAX_ANGLE_DEG).any():
            gathering.left_out.append(LeftOutHead(image, _BEYOND, f"face {face}"))
        else:
            gathering.truths.append(truth)


def read_aflw2000(
    dataset_path: str | os.PathLike[str],
    references: PoseReferences,
    *,
    skip_bad: bool = False,
    allow_outside: bool = False,
) -> HeadSet:
    """AFLW2000-3D as published: `Pose_Para` is the truth.

    Args:
        dataset_path: Folder of the pictures with a `.mat` file beside each.
        references: The model's; the true translation is fitted with them.
        skip_bad: Leave out pictures that cannot be used instead of refusing them.
        allow_outside: Pictures may be links to files outside the folder.

    Raises:
        InputError: A picture or its labels are missing or malformed, or nothing is left.
    """
    folder = Path(dataset_path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give the data set's as --dataset_path")
    gathering = _Gathering(folder, skip_bad)
    for image in aflw2000.read_label_set(folder, allow_outside=allow_outside).images:
        annotation = gathering.read(image.image_path, image.read)
        if annotation is None:
            continue
        gathering.use_label_file(image.label_file)
        if isinstance(annotation, LeftOut):
            gathering.left_out.append(LeftOutHead(image.image_path, _BEYOND))
            continue
        size_hw = image_size(folder / image.image_path)
        _add_faces(gathering, annotation, size_hw, references)
    return gathering.finish(POSE_PARA_PROTOCOL)


def read_annotated(
    json_list: str | os.PathLike[str],
    dataset_path: str | os.PathLike[str],
    references: PoseReferences,
    *,
    skip_bad: bool = False,
    allow_outside: bool = False,
) -> HeadSet:
    """Annotated pictures, such as AFLW2000-3D's with points that were annotated again.

    Args:
        json_list: Names annotation files.
        dataset_path: The folder that their image paths are relative to.
        references: The model's; poses are fitted with them.
        skip_bad: Leave out pictures that cannot be used instead of refusing them.
        allow_outside: Images may lie outside the folder.

    Raises:
        InputError: A picture or its labels are missing or malformed, one stands in the list twice,
            or nothing is left.
    """
    folder = Path(dataset_path)
    gathering = _Gathering(folder, skip_bad)
    seen: dict[str, Path] = {}
    for path in read_annotation_list(json_list):

        def read(path: Path = path) -> tuple[Annotation, tuple[int, int]]:
            annotation = read_annotation(path)
            image = resolve_image(folder, annotation.image_path, path, allow_outside)
            if not image.is_file():
                raise InputError(
                    f"{image}: no such image, named by {path}; is --dataset_path right?"
                )
            return annotation, image_size(image)

        answer = gathering.read(str(path), read)
        if answer is None:
            continue
        annotation, size_hw = answer
        if annotation.image_path in seen:
            raise InputError(
                f"{path}: names the image of {seen[annotation.image_path]}; remove one from"
                f" {json_list}"
            )
        seen[annotation.image_path] = path
        gathering.use_label_file(path)
        _add_faces(gathering, annotation, size_hw, references)
    return gathering.finish(ANNOTATIONS_PROTOCOL)


def read_biwi(frames: biwi.BiwiFrames, *, skip_bad: bool = False) -> HeadSet:
    """BIWI's frames; the matrices of the pose files are the truth.

    Args:
        frames: See `img2pose.data.biwi`.
        skip_bad: Leave out frames whose pose file cannot be used instead of refusing them.

    Raises:
        InputError: A pose file is malformed, or nothing is left.
    """
    gathering = _Gathering(frames.folder, skip_bad)
    for name in frames.without_pose:
        gathering.left_out.append(LeftOutHead(biwi.image_name(name), "frame without a pose file"))
    for name in frames.names:
        path = frames.folder / biwi.pose_name(name)

        def read(path: Path = path) -> biwi.BiwiPose:
            return biwi.read_pose(path)

        pose = gathering.read(biwi.image_name(name), read)
        if pose is None:
            continue
        gathering.use_label_file(path)
        rotvec = np.asarray(matrix_to_rotvec(pose.rotation))
        euler_deg = np.asarray(pose_to_euler(np.array([*rotvec, 0.0, 0.0, 0.0])))
        gathering.truths.append(HeadTruth(biwi.image_name(name), 0, euler_deg, pose.rotation))
    return gathering.finish(BIWI_PROTOCOL)


def without_images(heads: HeadSet, bad: Iterable[LeftOutHead]) -> HeadSet:
    """The set without pictures that turned out to be bad.

    Raises:
        InputError: Nothing is left.
    """
    bad = tuple(bad)
    names = {out.image for out in bad}
    kept = tuple(truth for truth in heads.truths if truth.image not in names)
    if not kept:
        raise InputError(f"{heads.folder}: no picture can be read; first: {bad[0].detail}")
    return HeadSet(heads.folder, kept, (*heads.left_out, *bad), heads.truth_sha256, heads.protocol)
