"""From annotation lists to stores: labels are fitted in parallel, and a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from img2pose.data.annotations import Annotation, read_annotation, resolve_image
from img2pose.data.labels import ImageLabels, PoseCamera, PoseLabels, fit_labels
from img2pose.data.records import SCHEMA_VERSION, Record, RecordInfo, StoreMeta
from img2pose.data.store_writer import StoreWriter
from img2pose.data.unfinished_store import UnfinishedStore
from img2pose.data.worker_processes import interrupts_wait, items_at_once, map_in_processes
from img2pose.errors import InputError, OutputError
from img2pose.images import decode_image
from img2pose.references import PoseReferences

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_CHUNK = 8
_LINES_A_COMMIT = 256
# To be raised when the same files and settings come to give other records.
_LABELLING = 1

NO_FACE = "no face annotated"
NO_AREA = "no box has an area"
NO_LANDMARKS = "no face with known landmarks"
NO_FIT = "no pose fits the landmarks"

Progress = Callable[[Iterable[_T], str, int, int], Iterable[_T]]
"""Wraps an iterable to show its progress: what, the work's name, its length, how much is done."""


def _silent(work: Iterable[_T], name: str, total: int, done: int) -> Iterable[_T]:
    return work


@dataclass(frozen=True)
class ConversionSettings:
    """What decides, with the files themselves, what a store holds.

    Attributes:
        dataset_path: Folder that the annotations' image paths are relative to.
        references: The face that is fitted.
        references_name: What to call it in messages.
        pose_camera: Camera that poses are fitted in.
        keep_negatives: Keep images without a posed face.
        skip_unusable: Leave out images and annotations that cannot be used.
        allow_outside: Take images outside of the folder.
        pose_labels: Whether poses that annotations carry are taken, or fitted anew.
    """

    dataset_path: Path
    references: PoseReferences
    references_name: str
    pose_camera: PoseCamera = "box"
    keep_negatives: bool = False
    skip_unusable: bool = False
    allow_outside: bool = False
    pose_labels: PoseLabels = "exact"

    def fingerprint(self, paths: Sequence[Path], progress: Progress[Path] = _silent) -> str:
        """Hash of the settings, the list, the annotations' contents and the images' sizes.

        Args:
            paths: The annotation files.
            progress: Shows how far it is.
        """
        values = {
            "schema_version": SCHEMA_VERSION,
            "labelling": _LABELLING,
            "dataset_path": os.fspath(self.dataset_path.absolute()),
            "references": self.references.sha256,
            "references_name": self.references_name,
            "pose_camera": self.pose_camera,
            "keep_negatives": self.keep_negatives,
            "skip_unusable": self.skip_unusable,
            "allow_outside": self.allow_outside,
            "pose_labels": self.pose_labels,
        }
        digest = hashlib.sha256(json.dumps(values).encode())
        for path in progress(paths, "comparing", len(paths), 0):
            try:
                content = path.read_bytes() if path.is_file() else b"no file"
            except (OSError, ValueError) as error:
                content = type(error).__name__.encode()
            parts = (os.fsencode(path), content, self._image_bytes(content))
            digest.update(b"".join(len(part).to_bytes(8, "little") + part for part in parts))
        return digest.hexdigest()

    def _image_bytes(self, annotation: bytes) -> bytes:
        try:
            image_path = json.loads(annotation.removeprefix(b"\xef\xbb\xbf"))["image_path"]
            return str((self.dataset_path / image_path).stat().st_size).encode()
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return b"none"


@dataclass(frozen=True, eq=False)
class _Converted:
    """What became of one line of the list: a record or not, and what was left out."""

    record: Record | None = None
    info: RecordInfo | None = None
    faces: int = 0
    without_area: int = 0
    without_fit: int = 0
    why_no_pose: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Conversion:
    """The work on one annotation; picklable, so that worker processes can do it."""

    dataset_path: Path
    references: PoseReferences
    pose_camera: PoseCamera
    keep_negatives: bool
    allow_outside: bool
    pose_labels: PoseLabels

    def __call__(self, annotation_path: Path) -> _Converted:
        try:
            return self._convert(annotation_path)
        except InputError as error:
            return _Converted(problem=str(error))

    def _convert(self, annotation_path: Path) -> _Converted:
        annotation = read_annotation(annotation_path)
        image_path = resolve_image(
            self.dataset_path, annotation.image_path, annotation_path, self.allow_outside
        )
        image_bytes, size_hw = _read_image(image_path, annotation_path)
        labels = fit_labels(
            annotation, size_hw, self.references, self.pose_camera, self.pose_labels
        )
        record = Record(
            image_bytes,
            labels.poses_in_image,
            labels.boxes_xyxy,
            labels.poses_in_box,
            labels.landmarks,
        )
        why_no_pose = None if record.has_pose.any() else _why_no_pose(annotation, labels)
        return _Converted(
            record=record if why_no_pose is None or self.keep_negatives else None,
            info=RecordInfo(annotation.image_path, size_hw, annotation.label_source),
            faces=len(record),
            without_area=labels.without_area,
            without_fit=labels.without_fit,
            why_no_pose=why_no_pose,
        )


def _why_no_pose(annotation: Annotation, labels: ImageLabels) -> str:
    if not len(annotation):
        return NO_FACE
    if not len(labels.landmarks):
        return NO_AREA
    return NO_FIT if labels.without_fit else NO_LANDMARKS


def _read_image(path: Path, annotation_path: Path) -> tuple[bytes, tuple[int, int]]:
    """The file's bytes and its pixels' height and width, after a trial decoding.

    Landmarks refer to pixels as they are stored: an orientation in the EXIF data is not applied.
    """
    try:
        image_bytes = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{annotation_path}: image {path} is not there; image_path is relative to"
            " --dataset_path"
        ) from error
    except OSError as error:
        raise InputError(f"{annotation_path}: image {path} cannot be read ({error})") from error
    # The decoder that training reads it with.
    pixels = decode_image(image_bytes, f"{annotation_path}: image {path}", upright=False)
    return image_bytes, (pixels.shape[0], pixels.shape[1])


@dataclass(frozen=True)
class LeftOut:
    """An image, or some faces of one, that is not in the store.

    Attributes:
        annotation_path: The annotation file.
        reason: Why.
        whole_image: Whether the image is missing, not only some of its faces.
        unusable: Whether the image or annotation could not be used at all.
    """

    annotation_path: str
    reason: str
    whole_image: bool = True
    unusable: bool = False


@dataclass
class Tally:
    """What became of a list's lines.

    Attributes:
        lines: Lines dealt with.
        images: Records made.
        faces: Faces in them.
        posed_faces: Those with a pose.
        without_area: Boxes left out because they have no area.
        without_fit: Faces whose landmarks no pose fits.
        negatives: Images without a posed face, kept or dropped.
        negative_faces: Faces in them.
        left_out: What the store does not hold, in the list's order.
        timed_lines: Lines converted after the first ones, which waited for processes to start.
        seconds: What it took for them.
    """

    lines: int = 0
    images: int = 0
    faces: int = 0
    posed_faces: int = 0
    without_area: int = 0
    without_fit: int = 0
    negatives: int = 0
    negative_faces: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    timed_lines: int = 0
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float | None:
        """Speed of this process once its workers ran; None where it converted too little."""
        return self.timed_lines / self.seconds if self.timed_lines else None

    @property
    def skipped(self) -> list[LeftOut]:
        """Images and annotations that could not be used."""
        return [entry for entry in self.left_out if entry.unusable]

    @property
    def dropped(self) -> list[LeftOut]:
        """Images without a posed face, and boxes without area, that are not in the store."""
        return [entry for entry in self.left_out if not entry.unusable]

    @property
    def dropped_images_by_reason(self) -> Counter[str]:
        """How many images without a posed face were dropped why."""
        return Counter(entry.reason for entry in self.dropped if entry.whole_image)

    def add(self, path: Path, converted: _Converted) -> None:
        """Counts a line."""
        self.lines += 1
        if converted.problem is not None:
            self.left_out.append(LeftOut(str(path), converted.problem, unusable=True))
            return
        self.without_area += converted.without_area
        self.without_fit += converted.without_fit
        if converted.why_no_pose is not None:
            self.negatives += 1
            self.negative_faces += converted.faces
        if converted.record is None:
            self.left_out.append(LeftOut(str(path), converted.why_no_pose or ""))
            return
        self.images += 1
        self.faces += converted.faces
        self.posed_faces += int(converted.record.has_pose.sum())
        if converted.without_area:
            reason = f"{converted.without_area} boxes without area"
            self.left_out.append(LeftOut(str(path), reason, whole_image=False))

    def as_values(self, first_left_out: int = 0) -> dict[str, Any]:
        """All counts, and what was left out from some entry on, as msgpack knows values."""
        values = {name: getattr(self, name) for name in _COUNTS}
        return {**values, "left_out": [asdict(entry) for entry in self.left_out[first_left_out:]]}

    @classmethod
    def from_values(cls, parts: Sequence[Any]) -> Tally:
        """From what `as_values` gave, once or in parts that each go on with what was left out.

        Raises:
            TypeError, KeyError: It is damaged or of another make.
        """
        counts = {name: int(parts[-1][name]) for name in _COUNTS} if parts else {}
        left_out = [LeftOut(**entry) for part in parts for entry in part["left_out"]]
        return cls(**counts, left_out=left_out)


_COUNTS = (
    "lines",
    "images",
    "faces",
    "posed_faces",
    "without_area",
    "without_fit",
    "negatives",
    "negative_faces",
)


def convert(
    json_list: Path,
    paths: Sequence[Path],
    settings: ConversionSettings,
    unfinished: UnfinishedStore,
    *,
    fingerprint: str,
    num_workers: int = 0,
    progress: Progress[_Converted] = _silent,
    check: Callable[[StoreMeta, Tally], object] = lambda meta, tally: None,
) -> Tally:
    """Makes a store, going on with an unfinished one of the same files and settings.

    A run that is killed or interrupted, or finds the disk full, leaves the unfinished store for
    the next; bad input removes it. What the target held stays until the store is complete.

    Args:
        json_list: The list, for messages.
        paths: The annotation files.
        settings: How to convert them.
        unfinished: Where to, entered.
        fingerprint: `settings.fingerprint(paths)`.
        num_workers: Processes, 0 for this one alone.
        progress: Shows how far it is.
        check: Sees the complete note and the tally before the store gets its name; may refuse.

    Returns:
        What became of the lines.

    Raises:
        InputError: Something cannot be used, or nothing remains.
        OutputError: The disk is full, for example.
    """
    try:
        writer, tally = _begin_or_go_on(unfinished, fingerprint)
        with writer:
            conversion = _Conversion(
                settings.dataset_path,
                settings.references,
                settings.pose_camera,
                settings.keep_negatives,
                settings.allow_outside,
                settings.pose_labels,
            )
            rest = paths[tally.lines :]
            # Closing ends the worker processes, also after an error or an interrupt.
            with closing(map_in_processes(conversion, rest, num_workers, _CHUNK)) as converted_all:
                shown = progress(converted_all, "converting", len(paths), tally.lines)
                untimed = max(1, items_at_once(num_workers, _CHUNK))
                _add_all(rest, shown, writer, tally, settings.skip_unusable, fingerprint, untimed)
            _refuse_nothing(json_list, tally, settings.keep_negatives)
            meta = StoreMeta(
                settings.pose_camera,
                settings.references.sha256,
                settings.references_name,
                fingerprint=fingerprint,
            )
            check(writer.finish(meta, tally.as_values()), tally)
        unfinished.complete()
    except InputError:
        unfinished.discard()
        raise
    except OutputError as error:
        raise OutputError(
            f"{error}; mend that and give the same command again: it goes on where it stopped"
            f" (or remove {unfinished.path})"
        ) from error
    return tally


def _begin_or_go_on(unfinished: UnfinishedStore, fingerprint: str) -> tuple[StoreWriter, Tally]:
    if unfinished.path.stat().st_size:
        writer = None
        try:
            writer = StoreWriter(unfinished.path)
            tally = _tally_so_far(writer, fingerprint)
        except (ValueError, TypeError, KeyError) as error:
            if writer is not None:
                writer.close()
            logger.info("%s: begun anew (%s)", unfinished.path, error)
            unfinished.empty()
        else:
            if tally.lines:
                logger.info("%s: going on after %d lines", unfinished.path, tally.lines)
            return writer, tally
    return StoreWriter(unfinished.path), Tally()


def _tally_so_far(writer: StoreWriter, fingerprint: str) -> Tally:
    if writer.finished is not None:
        found, tally = {writer.finished.fingerprint}, Tally.from_values([writer.report])
    else:
        found = {note["fingerprint"] for note in writer.journal}
        tally = Tally.from_values([note["tally"] for note in writer.journal])
    if found - {fingerprint}:
        raise ValueError("it was made from other files or with other settings")
    if tally.images != writer.images:
        raise ValueError(f"{writer.images} records, {tally.images} in its journal")
    return tally


def _add_all(
    paths: Sequence[Path],
    converted_all: Iterable[_Converted],
    writer: StoreWriter,
    tally: Tally,
    skip_unusable: bool,
    fingerprint: str,
    untimed_lines: int,
) -> None:
    began = 0.0
    lines, left_out = tally.lines, len(tally.left_out)

    def commit() -> None:
        writer.commit({"fingerprint": fingerprint, "tally": tally.as_values(left_out)})

    try:
        for number, (path, converted) in enumerate(zip(paths, converted_all, strict=True), 1):
            # An interrupt must not come between a record and its count.
            with interrupts_wait():
                if converted.problem is not None and not skip_unusable:
                    raise InputError(f"{converted.problem} (--skip-bad leaves such images out)")
                if converted.record is not None:
                    writer.add(converted.record, converted.info)
                tally.add(path, converted)
                if number == untimed_lines:
                    began = time.perf_counter()
                elif number > untimed_lines:
                    tally.timed_lines += 1
                    tally.seconds = time.perf_counter() - began
                if writer.should_commit or tally.lines - lines >= _LINES_A_COMMIT:
                    commit()
                    lines, left_out = tally.lines, len(tally.left_out)
    except KeyboardInterrupt:
        with interrupts_wait():
            commit()
        raise


def _refuse_nothing(json_list: Path, tally: Tally, keep_negatives: bool) -> None:
    if not tally.images:
        # The first problem tells more than the count.
        reason = f"; first problem: {tally.skipped[0].reason}" if tally.skipped else ""
        kind = "image" if keep_negatives else "image with a posed face"
        raise InputError(f"{json_list}: no {kind} remains{reason}")
