"""Reads annotated pictures one by one, from a list or a store, and says what is wrong with each."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from img2pose.data.annotations import Annotation, read_annotation, read_annotation_list
from img2pose.data.checks.faces import (
    HEAD_ANGLES_DIFFER_DEG,
    check_boxes,
    check_fits,
    check_points,
    fit_faces,
    landmarks_known,
    reprojection_errors,
    rotation_differences_deg,
)
from img2pose.data.checks.findings import Problem
from img2pose.data.labels import PoseCamera, fit_labels, has_pose
from img2pose.data.store import PoseStore, Record
from img2pose.errors import InputError
from img2pose.geometry import image_intrinsics, pose_image_to_box
from img2pose.images import DEFAULT_MAX_PIXELS, decode_image, let_pillow_read
from img2pose.references import PoseReferences

_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
_MAX_FILE_BYTES = 1 << 30
# A stored pose is fitted in the box's camera, which describes landmarks somewhat worse.
_OFF_LANDMARKS = {68: 0.25, 5: 0.5}
_REFIT_DIFFERS_DEG = 1.0
_BOX_POSE_WRONG_DEG = 10.0
_BOX_POSE_INEXACT_DEG = 0.1
# Difference of translations over the distance.
_BOX_POSE_WRONG_SHIFT = 0.1
_BOX_POSE_INEXACT_SHIFT = 0.001


@dataclass(frozen=True)
class Limits:
    """What counts as usual.

    Attributes:
        max_pixels: Pictures with more are not decoded.
        min_side: Pixels; pictures with a shorter one draw a warning.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    min_side: int = 32


def _rows(width: int) -> np.ndarray:
    return np.empty((0, width))


@dataclass(eq=False)
class PictureReport:
    """What was found in one picture; small, so that all of them fit into memory.

    Attributes:
        place: The annotation file, or the record, in words.
        problems: Findings, without those that need other pictures.
        image_path: The picture's file, resolved; "" in a store.
        annotation_path: The annotation's file, resolved; "" in a store.
        digest: Of the picture file's bytes; b"" where it could not be read.
        decoded: The picture was read.
        boxes_xyxy: (N, 4) of the faces.
        poses_in_image: (N, 6) labels; NaN for faces without.
        poses_in_box: (N, 6), the same in the cameras of the boxes.
        errors: (N,) reprojection error of the label (in a list: of the best fit); NaN without.
        differences_deg: (N,) between a label's rotation and the best fit's; NaN without.
        landmark_counts: (N,) 5 or 68; 0 where they are unknown.
    """

    place: str
    problems: list[Problem] = field(default_factory=list)
    image_path: str = ""
    annotation_path: str = ""
    digest: bytes = b""
    decoded: bool = False
    boxes_xyxy: np.ndarray = field(default_factory=lambda: _rows(4))
    poses_in_image: np.ndarray = field(default_factory=lambda: _rows(6))
    poses_in_box: np.ndarray = field(default_factory=lambda: _rows(6))
    errors: np.ndarray = field(default_factory=lambda: np.empty(0))
    differences_deg: np.ndarray = field(default_factory=lambda: np.empty(0))
    landmark_counts: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))

    def add(self, check: str, detail: str, face: int | None = None) -> None:
        """Notes a finding."""
        self.problems.append(Problem(check, face, " ".join(detail.split())))


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture and the poses whose reprojection was judged, for drawing.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4).
        landmarks: N arrays (P, 2).
        poses_in_image: (N, 6); NaN where there is none.
    """

    pixels: np.ndarray
    boxes_xyxy: np.ndarray
    landmarks: tuple[np.ndarray, ...]
    poses_in_image: np.ndarray


class Source(Protocol):
    """Annotated pictures that can be checked; picklable, for worker processes."""

    path: Path
    kind: str
    references: PoseReferences

    def __len__(self) -> int:
        """Pictures."""

    def place(self, index: int) -> str:
        """What a picture is called in the report."""

    def check(self, index: int) -> PictureReport:
        """Everything that one picture tells; bad input is a finding, never an exception."""

    def labelled_picture(self, index: int) -> LabelledPicture:
        """The picture for drawing.

        Raises:
            InputError: It cannot be read.
        """


def _header(content: bytes, max_pixels: int) -> tuple[tuple[int, int], int]:
    """(H, W) and EXIF orientation, without decoding the pixels.

    Raises:
        Exception: Whatever Pillow answers to a damaged file.
    """
    let_pillow_read(max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        opened = Image.open(io.BytesIO(content))
    with opened as image:
        orientation = image.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
        return (image.height, image.width), orientation


def _check_picture(report: PictureReport, content: bytes, limits: Limits) -> tuple[int, int] | None:
    """Notes what is wrong with a picture file; (H, W) if it can be used."""
    report.digest = hashlib.blake2b(content, digest_size=16).digest()
    try:
        (height, width), orientation = _header(content, limits.max_pixels)
    except Image.DecompressionBombError as error:
        report.add("image_too_large", str(error))
        return None
    except Exception:
        # The decoder below names what is wrong; damaged EXIF data alone do no harm.
        height = width = 0
        orientation = _UPRIGHT
    if height * width > limits.max_pixels:
        report.add(
            "image_too_large",
            f"{width} x {height} = {height * width} pixels; limit {limits.max_pixels}",
        )
        return None
    try:
        pixels = decode_image(content, "picture", upright=False, max_pixels=limits.max_pixels)
    except InputError as error:
        report.add("image_unreadable", str(error).removeprefix("picture: "))
        return None
    report.decoded = True
    height, width = pixels.shape[:2]
    if min(height, width) < limits.min_side:
        report.add("image_small", f"{width} x {height}")
    if orientation != _UPRIGHT:
        report.add("image_not_upright", f"EXIF orientation {orientation}")
    return height, width


class AnnotationSource:
    """The annotations that a list names.

    Args:
        json_list: The list; names that are not there become findings.
        dataset_path: Folder that `image_path` is relative to.
        references: The reference face.
        pose_camera: Camera that poses would be fitted in by conversion.
        limits: What counts as usual.

    Raises:
        InputError: The list cannot be read or names nothing.
    """

    kind = "list"

    def __init__(
        self,
        json_list: Path,
        dataset_path: Path,
        references: PoseReferences,
        pose_camera: PoseCamera,
        limits: Limits,
    ) -> None:
        self.path = json_list
        self.dataset_path = dataset_path
        self.references = references
        self.pose_camera = pose_camera
        self.limits = limits
        self.entries = read_annotation_list(json_list, check_files=False)

    def __len__(self) -> int:
        return len(self.entries)

    def place(self, index: int) -> str:
        """The annotation file."""
        return str(self.entries[index])

    def check(self, index: int) -> PictureReport:
        """See `Source`."""
        entry = self.entries[index]
        report = PictureReport(str(entry), annotation_path=os.path.realpath(entry))
        try:
            annotation = read_annotation(entry)
        except InputError as error:
            report.add("annotation_unreadable", str(error).removeprefix(f"{entry}: "))
            return report
        path = self._image_path(annotation)
        report.image_path = os.path.realpath(path)
        # By name: links inside the folder may lead elsewhere.
        relative = os.path.relpath(path, self.dataset_path)
        if Path(relative).parts[:1] == (os.pardir,):
            report.add("image_outside_folder", annotation.image_path)
        report.boxes_xyxy = annotation.boxes_xyxy
        known = landmarks_known(annotation.landmarks)
        counts = [len(points) for points in annotation.landmarks]
        report.landmark_counts = np.where(known, counts, 0).astype(int)
        self._set_poses(report, np.full((len(annotation), 6), np.nan))
        content = _read_picture(report, path)
        size_hw = None if content is None else _check_picture(report, content, self.limits)
        if size_hw is not None:
            with np.errstate(all="ignore"):
                self._check_faces(report, annotation, known, size_hw)
        return report

    def _image_path(self, annotation: Annotation) -> Path:
        return self.dataset_path / annotation.image_path

    @staticmethod
    def _set_poses(report: PictureReport, unknown: np.ndarray) -> None:
        report.poses_in_image, report.poses_in_box = unknown, unknown.copy()
        report.errors, report.differences_deg = unknown[:, 0].copy(), unknown[:, 0].copy()

    def _check_faces(
        self,
        report: PictureReport,
        annotation: Annotation,
        known: np.ndarray,
        size_hw: tuple[int, int],
    ) -> None:
        boxes, landmarks = annotation.boxes_xyxy, annotation.landmarks
        fits = fit_faces(landmarks, known, size_hw, self.references)
        report.errors = fits.errors
        report.problems += check_boxes(boxes, size_hw)
        report.problems += check_points(boxes, landmarks, size_hw)
        report.problems += check_fits(landmarks, fits, size_hw, self.references)
        labels = fit_labels(annotation, size_hw, self.references, self.pose_camera)
        whole = np.trunc(boxes)
        kept = np.flatnonzero((whole[:, 2:] > whole[:, :2]).all(1))
        posed = has_pose(labels.poses_in_image)
        report.poses_in_image[kept[posed]] = labels.poses_in_image[posed]
        report.poses_in_box[kept[posed]] = labels.poses_in_box[posed]
        for face in kept[known[kept] & ~posed].tolist():
            report.add("no_pose_fits", f"in the {self.pose_camera}'s camera", face)
        report.differences_deg = rotation_differences_deg(report.poses_in_image, fits.poses)
        for face, angles in enumerate(annotation.head_angles):
            difference = report.differences_deg[face]
            if angles is not None and difference > HEAD_ANGLES_DIFFER_DEG:
                report.add("head_angles_differ", f"by {difference:.1f} degrees", face)

    def labelled_picture(self, index: int) -> LabelledPicture:
        """See `Source`."""
        annotation = read_annotation(self.entries[index])
        path = self._image_path(annotation)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error}); check the data again") from error
        pixels = decode_image(content, str(path), upright=False, max_pixels=self.limits.max_pixels)
        known = landmarks_known(annotation.landmarks)
        fits = fit_faces(annotation.landmarks, known, pixels.shape[:2], self.references)
        return LabelledPicture(pixels, annotation.boxes_xyxy, annotation.landmarks, fits.poses)


def _read_picture(report: PictureReport, path: Path) -> bytes | None:
    try:
        # Pipes and devices could be read for ever.
        if not path.is_file():
            reason = "is not a file" if path.exists() else "is not there"
            report.add("image_missing", f"{path} {reason}")
            return None
        if path.stat().st_size > _MAX_FILE_BYTES:
            report.add("image_too_large", f"{path} has {path.stat().st_size} bytes")
            return None
        return path.read_bytes()
    except OSError as error:
        report.add("image_unreadable", f"{path}: {error.strerror}")
        return None


class StoreSource:
    """The records of a store.

    Stored poses are judged as they are: their reprojection, their agreement with a refit to the
    stored landmarks, and that of the two cameras.

    Args:
        store: An opened store.
        references: The reference face; labels of another one are not judged by it.
        limits: What counts as usual.
    """

    kind = "lmdb"

    def __init__(self, store: PoseStore, references: PoseReferences, limits: Limits) -> None:
        self.path = store.path
        self.store = store
        self.references = references
        self.limits = limits
        meta = store.meta
        self.references_agree = meta is None or meta.references_sha256 == references.sha256
        self.pose_camera: PoseCamera = "box" if meta is None else meta.pose_camera

    def __len__(self) -> int:
        return len(self.store)

    def place(self, index: int) -> str:
        """The record's key."""
        return f"record {self.store.key(index)}"

    def check(self, index: int) -> PictureReport:
        """See `Source`."""
        report = PictureReport(self.place(index))
        try:
            record = self.store[index]
        except InputError as error:
            report.add("record_unreadable", str(error).removeprefix(f"{self.path}: "))
            return report
        known = landmarks_known(record.landmarks)
        counts = [len(points) if points.ndim else 0 for points in record.landmarks]
        report.boxes_xyxy = record.boxes_xyxy
        report.landmark_counts = np.where(known, counts, 0).astype(int)
        posed = record.has_pose
        report.poses_in_image = np.where(posed[:, None], record.poses_in_image, np.nan)
        report.poses_in_box = np.where(posed[:, None], record.poses_in_box, np.nan)
        report.errors = np.full(len(record), np.nan)
        report.differences_deg = np.full(len(record), np.nan)
        size_hw = _check_picture(report, record.image_bytes, self.limits)
        if size_hw is not None:
            with np.errstate(all="ignore"):
                self._check_faces(report, record, known, size_hw)
        return report

    def _check_faces(
        self, report: PictureReport, record: Record, known: np.ndarray, size_hw: tuple[int, int]
    ) -> None:
        usable = _usable_faces(report, record)
        # Faces that hold NaN are reported as such and judged no further.
        boxes = np.where(usable[:, None], record.boxes_xyxy, 0)
        for problem in check_boxes(boxes, size_hw) + check_points(boxes, record.landmarks, size_hw):
            if problem.face is None or usable[problem.face]:
                report.problems.append(problem)
        valid = usable & record.has_pose & _valid_poses(report, record, usable)
        report.poses_in_image[~valid] = np.nan
        report.poses_in_box[~valid] = np.nan
        _check_box_poses(report, record, valid, size_hw)
        if not self.references_agree:
            return
        fits = fit_faces(record.landmarks, known & usable, size_hw, self.references)
        report.problems += check_fits(record.landmarks, fits, size_hw, self.references)
        report.errors = reprojection_errors(
            record.landmarks,
            np.where(known[:, None], report.poses_in_image, np.nan),
            size_hw,
            self.references,
        )
        for face in np.flatnonzero(np.isfinite(report.poses_in_image).all(1) & known).tolist():
            error = report.errors[face]
            if not error <= _OFF_LANDMARKS[int(report.landmark_counts[face])]:
                detail = f"error {error:.3f} of the points' extent"
                report.add("pose_off_landmarks", detail, face)
        self._compare_with_refit(report, record, size_hw)

    def _compare_with_refit(
        self, report: PictureReport, record: Record, size_hw: tuple[int, int]
    ) -> None:
        """Fits again as the note says that the labels were."""
        compared = np.isfinite(report.poses_in_image).all(1) & (report.landmark_counts > 0)
        compared &= (record.boxes_xyxy[:, 2:] > record.boxes_xyxy[:, :2]).all(1)
        faces = np.flatnonzero(compared)
        if not len(faces):
            return
        annotation = Annotation(
            "record",
            record.boxes_xyxy[faces],
            tuple(record.landmarks[face] for face in faces),
            self.path,
        )
        labels = fit_labels(annotation, size_hw, self.references, self.pose_camera)
        if len(labels.poses_in_image) != len(faces):
            return
        refits = np.full_like(report.poses_in_image, np.nan)
        refits[faces] = np.where(
            has_pose(labels.poses_in_image)[:, None], labels.poses_in_image, np.nan
        )
        report.differences_deg = rotation_differences_deg(report.poses_in_image, refits)
        for face in np.flatnonzero(report.differences_deg > _REFIT_DIFFERS_DEG).tolist():
            detail = f"by {report.differences_deg[face]:.1f} degrees"
            report.add("pose_differs_from_refit", detail, face)

    def labelled_picture(self, index: int) -> LabelledPicture:
        """See `Source`."""
        record = self.store[index]
        pixels = decode_image(
            record.image_bytes,
            f"{self.path}: {self.place(index)}",
            upright=False,
            max_pixels=self.limits.max_pixels,
        )
        poses = np.where(record.has_pose[:, None], record.poses_in_image, np.nan)
        return LabelledPicture(pixels, record.boxes_xyxy, record.landmarks, poses)


def _usable_faces(report: PictureReport, record: Record) -> np.ndarray:
    """(N,) bool: the faces all of whose numbers are finite."""
    numbers = (record.boxes_xyxy, record.poses_in_image, record.poses_in_box)
    finite = np.array([np.isfinite(value).all(1) for value in numbers]).all(0)
    finite &= np.array([np.isfinite(points).all() for points in record.landmarks], dtype=bool)
    for face in np.flatnonzero(~finite).tolist():
        report.add("values_not_finite", "the face is not judged further", face)
    usable: np.ndarray = finite
    return usable


def _valid_poses(report: PictureReport, record: Record, usable: np.ndarray) -> np.ndarray:
    """(N,) bool: faces whose two poses are both known and in front of the camera."""
    in_image, in_box = record.has_pose, has_pose(record.poses_in_box)
    depths = np.stack([record.poses_in_image[:, 5], record.poses_in_box[:, 5]], 1)
    valid: np.ndarray = in_image & in_box & (depths > 0).all(1)
    for face in np.flatnonzero(usable & (in_image | in_box) & ~valid).tolist():
        detail = f"depths {depths[face, 0]:.4g} in the image, {depths[face, 1]:.4g} in the box"
        report.add("pose_invalid", detail, face)
    return valid


def _check_box_poses(
    report: PictureReport, record: Record, valid: np.ndarray, size_hw: tuple[int, int]
) -> None:
    """Compares stored poses in boxes with those that the poses in the image give."""
    with_area = (record.boxes_xyxy[:, 2:] > record.boxes_xyxy[:, :2]).all(1)
    faces = np.flatnonzero(valid & with_area)
    if not len(faces):
        return
    stored = record.poses_in_box[faces]
    expected = pose_image_to_box(
        record.poses_in_image[faces], record.boxes_xyxy[faces], image_intrinsics(*size_hw)
    )
    angles = rotation_differences_deg(stored, expected)
    distance = np.linalg.norm(expected[:, 3:], axis=1)
    shifts = np.linalg.norm(stored[:, 3:] - expected[:, 3:], axis=1) / distance
    for face, angle, shift in zip(faces.tolist(), angles, shifts, strict=True):
        detail = f"rotation by {angle:.2f} degrees, translation by {shift:.1%} of its length"
        if angle > _BOX_POSE_WRONG_DEG or shift > _BOX_POSE_WRONG_SHIFT:
            report.add("box_pose_wrong", detail, face)
        elif angle > _BOX_POSE_INEXACT_DEG or shift > _BOX_POSE_INEXACT_SHIFT:
            report.add("box_pose_inexact", detail, face)
