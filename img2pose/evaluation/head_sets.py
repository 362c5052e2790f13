"""Head-pose benchmarks: which pictures, and the true pose of each face in them.

A set is read before any model is there (`HeadSet`); true poses that are fitted to points need the
model's reference face and follow (`fit_truths`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from img2pose.data.importers.label_set import LabelledImage, LeftOut
from img2pose.errors import InputError
from img2pose.evaluation.head_pose import MIN_CENTRAL_SCORE, HeadPoses
from img2pose.geometry import (
    boxes_from_points,
    euler_to_matrix,
    image_intrinsics,
    matrix_to_rotvec,
    pose_to_euler,
    rotvec_to_matrix,
    solve_pose,
)
from img2pose.images import image_size, read_image
from img2pose.references import PoseReferences

MAX_ANGLE_DEG = aflw2000.MAX_ANGLE_DEG
# Why a face is not judged.
_BEYOND = f"an angle beyond {MAX_ANGLE_DEG:.0f} degrees"
_NO_POINTS = "without 68 known points"
_NO_FIT = "no pose fits its 68 points"
_BAD = "picture or labels cannot be used"

_OVERLAP = (
    "of all detections, of any score, the one with the best IoU (sides counted inclusively) to the"
    " bounds of the 68 true points, scaled by 1.1 and 1.1, lengthened by 0.3 on the forehead's"
    " side, clipped to the picture; one that does not touch them (IoU 0) is none: not found"
)
_TRANSLATION = (
    "truth: EPnP (float64) of the 68 true points in the image's camera (focal length width +"
    " height), with the model's reference points; absolute differences in reference units"
)
_LEFT_OUT = (
    f"faces with an angle of the truth beyond {MAX_ANGLE_DEG:.0f} degrees, without 68 known points,"
    " or whose points no pose fits; pictures without labels"
)

POSE_PARA_PROTOCOL: Mapping[str, str] = {
    "rotation_truth": "pitch, yaw, roll of Pose_Para as they stand; the matrix from them",
    "selection": _OVERLAP,
    "translation": _TRANSLATION,
    "landmark_truth": "x and y of pt3d_68",
    "left_out": _LEFT_OUT,
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
    f" a score above {MIN_CENTRAL_SCORE}; where none has one, the first, which is the"
    " best scored; not found only where nothing is detected",
    "translation": "not judged: the truth is in millimetres, from a depth camera of its own, and"
    " a prediction in reference units, for an assumed focal length; no scale without the person's"
    " size relates the two",
    "landmark_truth": "the data set has none",
    "left_out": "frames without a pose file or without a picture",
}

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class HeadLabel:
    """What a data set says of one face.

    Attributes:
        image: The picture, relative to the set's folder.
        face: Its number in that picture.
        euler_deg: (3,) pitch, yaw, roll; None: to be fitted.
        rotation: (3, 3) in the image's camera; None: to be fitted.
        landmarks: (68, 2) pixels; None where the set has none.
        size_hw: Height and width of the picture, where there are landmarks.
    """

    image: str
    face: int = 0
    euler_deg: np.ndarray | None = None
    rotation: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    size_hw: tuple[int, int] | None = None


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
        image: The picture, or its label file where that could not be read.
        reason: Why; few reasons for many pictures.
        detail: What exactly was wrong with this one; may be empty.
    """

    image: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class HeadSet:
    """A benchmark as it was read.

    Attributes:
        folder: Where the pictures lie.
        labels: The faces, those of one picture together; at least one.
        left_out: What is not judged.
        truth_sha256: Hash of the names and label files that are used.
        protocol: What is the truth, and which detection is judged.
        counts: What else was not used, counted.
    """

    folder: Path
    labels: tuple[HeadLabel, ...]
    left_out: tuple[LeftOutHead, ...]
    truth_sha256: str
    protocol: Mapping[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def images(self) -> dict[str, Path]:
        """The pictures that have labels: names and files."""
        return {label.image: self.folder / label.image for label in self.labels}


def poses_of(truths: Sequence[HeadTruth]) -> HeadPoses:
    """True poses as arrays, in their order."""
    return HeadPoses(
        np.array([truth.euler_deg for truth in truths]).reshape(-1, 3),
        np.array([truth.rotation for truth in truths]).reshape(-1, 3, 3),
        _stacked([truth.translation for truth in truths]),
        _stacked([truth.landmarks for truth in truths]),
    )


def _stacked(values: list[np.ndarray | None]) -> np.ndarray | None:
    known = [value for value in values if value is not None]
    return np.array(known) if known else None


def _truth_of(label: HeadLabel, references: PoseReferences) -> HeadTruth | str:
    """The truth, or why there is none."""
    if label.landmarks is None or label.size_hw is None:
        if label.euler_deg is None or label.rotation is None:
            raise ValueError(f"{label.image}: a label needs landmarks or a rotation")
        return HeadTruth(label.image, label.face, label.euler_deg, label.rotation)
    try:
        pose = solve_pose(references.points_68, label.landmarks, image_intrinsics(*label.size_hw))
    except ValueError:
        return _NO_FIT
    # EPnP may also answer with a face behind the camera.
    if pose[5] <= 0:
        return _NO_FIT
    euler_deg, rotation = label.euler_deg, label.rotation
    if euler_deg is None or rotation is None:
        euler_deg, rotation = np.asarray(pose_to_euler(pose)), rotvec_to_matrix(pose[:3])
    if (np.abs(euler_deg) > MAX_ANGLE_DEG).any():
        return _BEYOND
    # Of the pose only the roll is read, for the side the forehead is on.
    turned = np.array([[*matrix_to_rotvec(rotation), *pose[3:]]])
    box = boxes_from_points(label.landmarks[None], turned, label.size_hw)[0]
    return HeadTruth(label.image, label.face, euler_deg, rotation, pose[3:], box, label.landmarks)


def fit_truths(
    heads: HeadSet, references: PoseReferences
) -> tuple[list[HeadTruth], list[LeftOutHead]]:
    """The faces to be judged, and all that is left out.

    Args:
        heads: The set.
        references: The model's, which poses are fitted with.

    Raises:
        InputError: Nothing is left to judge.
    """
    truths: list[HeadTruth] = []
    left_out = list(heads.left_out)
    for label in heads.labels:
        truth = _truth_of(label, references)
        if isinstance(truth, HeadTruth):
            truths.append(truth)
        else:
            left_out.append(LeftOutHead(label.image, truth, f"face {label.face}"))
    if not truths:
        raise _nothing_left(heads.folder, left_out)
    return truths, left_out


def _nothing_left(folder: Path, left_out: Sequence[LeftOutHead]) -> InputError:
    first = next((f"; first: {out.image}, {out.reason}" for out in left_out), "")
    return InputError(f"{folder}: no face is left to judge{first}")


class _Gathering:
    """Collects labels, and what is left out and why."""

    def __init__(self, folder: Path, skip_bad: bool) -> None:
        self.folder = folder
        self.skip_bad = skip_bad
        self.labels: list[HeadLabel] = []
        self.left_out: list[LeftOutHead] = []
        self._digest = hashlib.sha256()

    def read(self, image: str, read: Callable[[], Answer]) -> Answer | None:
        """What `read` gives; None where its picture is bad and bad ones are left out."""
        try:
            return read()
        except InputError as error:
            if not self.skip_bad:
                raise InputError(f"{error} (--skip_bad leaves such pictures out)") from error
            self.left_out.append(LeftOutHead(image, _BAD, str(error)))
            return None

    def add(self, label_file: Path, labels: Iterable[HeadLabel]) -> None:
        """Takes a picture's labels, and the file they were read from into the hash."""
        labels = list(labels)
        self.labels += labels
        for label in labels:
            self._digest.update(f"{label.image}\0{label.face}\n".encode("utf-8", "surrogateescape"))
        self._digest.update(label_file.read_bytes())

    def finish(self, protocol: Mapping[str, str]) -> HeadSet:
        """The benchmark.

        Raises:
            InputError: Nothing is left to judge.
        """
        if not self.labels:
            raise _nothing_left(self.folder, self.left_out)
        return HeadSet(
            self.folder,
            tuple(self.labels),
            tuple(self.left_out),
            self._digest.hexdigest(),
            protocol,
        )


def _check_points(points: np.ndarray, size_hw: tuple[int, int], where: str) -> None:
    low, high = points.min(0), points.max(0)
    # Landmark errors are divided by these.
    if (high <= low).any() or (points[36] == points[45]).all():
        raise InputError(f"{where}: its 68 points have no extent; mend or remove them")
    if (high <= 0).any() or (low >= size_hw[::-1]).any():
        raise InputError(f"{where}: its 68 points lie outside the picture; mend or remove them")


def _labels_of(annotation: Annotation, size_hw: tuple[int, int]) -> tuple[list[HeadLabel], int]:
    """The faces with 68 known points, and how many lack them."""
    labels = []
    for face, points in enumerate(annotation.landmarks):
        if len(points) != 68 or not annotation.has_landmarks[face]:
            continue
        _check_points(points, size_hw, f"{annotation.source}: face {face}")
        angles = annotation.head_angles[face]
        euler_deg = None if angles is None else np.rad2deg(angles)
        rotation = None if euler_deg is None else np.asarray(euler_to_matrix(euler_deg))
        labels.append(HeadLabel(annotation.image_path, face, euler_deg, rotation, points, size_hw))
    return labels, len(annotation) - len(labels)


def read_aflw2000(
    dataset_path: str | os.PathLike[str],
    *,
    skip_bad: bool = False,
    allow_outside: bool = False,
) -> HeadSet:
    """AFLW2000-3D as published: `Pose_Para` is the truth.

    Args:
        dataset_path: Folder of the pictures with a `.mat` file beside each.
        skip_bad: Leave out pictures that cannot be used instead of refusing them.
        allow_outside: Pictures may be links to files outside the folder.

    Raises:
        InputError: A picture or its labels are missing or malformed, or nothing is left.
    """
    folder = Path(dataset_path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give the data set's as --dataset_path")
    gathering = _Gathering(folder, skip_bad)
    label_set = aflw2000.read_label_set(folder, allow_outside=allow_outside)
    for image in label_set.images:

        def read(image: LabelledImage = image) -> list[HeadLabel] | LeftOut:
            annotation = image.read()
            if isinstance(annotation, LeftOut):
                return annotation
            return _labels_of(annotation, image_size(folder / image.image_path))[0]

        labels = gathering.read(image.image_path, read)
        if isinstance(labels, LeftOut):
            gathering.left_out.append(LeftOutHead(image.image_path, _BEYOND))
        elif labels is not None:
            gathering.add(image.label_file, labels)
    return replace(gathering.finish(POSE_PARA_PROTOCOL), counts=label_set.counts)


def read_annotated(
    json_list: str | os.PathLike[str],
    dataset_path: str | os.PathLike[str],
    *,
    skip_bad: bool = False,
    allow_outside: bool = False,
) -> HeadSet:
    """Annotated pictures, such as AFLW2000-3D's with points that were annotated again.

    Args:
        json_list: Names annotation files.
        dataset_path: The folder that their image paths are relative to.
        skip_bad: Leave out pictures that cannot be used instead of refusing them.
        allow_outside: Images may lie outside the folder.

    Raises:
        InputError: A picture or its labels are missing or malformed, one stands in the list twice,
            or nothing is left.
    """
    folder = Path(dataset_path)
    gathering = _Gathering(folder, skip_bad)
    seen: dict[str, Path] = {}
    for path in read_annotation_list(json_list, check_files=not skip_bad):

        def read(path: Path = path) -> tuple[str, list[HeadLabel], int]:
            annotation = read_annotation(path)
            image = resolve_image(folder, annotation.image_path, path, allow_outside)
            if not image.is_file():
                raise InputError(
                    f"{image}: no such image, named by {path}; is --dataset_path right?"
                )
            return annotation.image_path, *_labels_of(annotation, image_size(image))

        answer = gathering.read(str(path), read)
        if answer is None:
            continue
        image, labels, without_points = answer
        if image in seen:
            raise InputError(
                f"{path}: names the image of {seen[image]}; remove one from {json_list}"
            )
        seen[image] = path
        gathering.add(path, labels)
        gathering.left_out += [LeftOutHead(image, _NO_POINTS)] * without_points
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
    gathering.left_out += [
        LeftOutHead(biwi.image_name(name), "without a pose file") for name in frames.without_pose
    ]
    gathering.left_out += [
        LeftOutHead(biwi.pose_name(name), "without a picture") for name in frames.without_picture
    ]
    for name in frames.names:
        path = frames.folder / biwi.pose_name(name)

        def read(path: Path = path) -> biwi.BiwiPose:
            return biwi.read_pose(path)

        pose = gathering.read(biwi.image_name(name), read)
        if pose is None:
            continue
        rotvec = np.asarray(matrix_to_rotvec(pose.rotation))
        euler_deg = np.asarray(pose_to_euler(np.array([*rotvec, 0.0, 0.0, 0.0])))
        label = HeadLabel(biwi.image_name(name), 0, euler_deg, pose.rotation)
        gathering.add(path, [label])
    return gathering.finish(BIWI_PROTOCOL)


def without_unreadable_pictures(heads: HeadSet, pictures: Iterable[str]) -> HeadSet:
    """The set without the pictures that cannot be decoded; each one is tried.

    Args:
        heads: The set.
        pictures: Names of its pictures, maybe wrapped to show progress.

    Raises:
        InputError: Nothing is left.
    """
    bad: dict[str, LeftOutHead] = {}
    for name in pictures:
        try:
            read_image(heads.folder / name, upright=False)
        except InputError as error:
            bad[name] = LeftOutHead(name, _BAD, str(error))
    labels = tuple(label for label in heads.labels if label.image not in bad)
    left_out = (*heads.left_out, *bad.values())
    if not labels:
        raise _nothing_left(heads.folder, left_out)
    return replace(heads, labels=labels, left_out=left_out)
