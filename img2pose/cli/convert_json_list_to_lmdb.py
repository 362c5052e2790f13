"""Converts a list of annotation JSONs to an LMDB of images and pose labels."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.data.annotations import read_annotation, read_annotation_list, resolve_image
from img2pose.data.labels import POSE_CAMERAS, PoseCamera, fit_labels
from img2pose.data.store import Record, StoreMeta, write_store
from img2pose.errors import InputError
from img2pose.files import check_output_folder, replace_when_complete, write_text
from img2pose.images import decode_image
from img2pose.references import PoseReferences
from img2pose.types import PoseStats

_CHUNK = 8
# A deviation this small is rounding: all poses are the same.
_LEAST_DEVIATION = 1e-9


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = argparse.ArgumentParser(
        description="Turn a list of annotation JSONs into one LMDB file that holds the images"
        " and the pose labels fitted to their landmarks.",
    )
    parser.add_argument(
        "--json_list",
        required=True,
        help="text file that names one annotation JSON a line, relative to the current folder",
    )
    parser.add_argument(
        "--dataset_path", required=True, help="folder that the JSONs' image_path is relative to"
    )
    parser.add_argument(
        "--dest", required=True, help="folder for LIST.lmdb, LIST being the list's name"
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help="also write LIST_pose_mean.npy and LIST_pose_stddev.npy, statistics of the poses in"
        " their boxes",
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        default=min(8, os.cpu_count() or 1),
        help="worker processes, 0 for none (default %(default)s)",
    )
    parser.add_argument(
        "--pose_camera",
        choices=POSE_CAMERAS,
        default="box",
        help="camera that poses are fitted in: the annotated box's, as published (default), or"
        " the image's, which describes the landmarks better",
    )
    parser.add_argument(
        "--skip-bad",
        "--skip_bad",
        action="store_true",
        help="leave out images or annotations that cannot be used and list them in"
        " LIST_skipped.txt (path, tab, reason) instead of stopping",
    )
    parser.add_argument(
        "--allow_outside",
        action="store_true",
        help="take images that lie outside --dataset_path (absolute paths, .., links)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace output files that are there"
    )
    parser.add_argument(
        "--threed_5_points", help=".npy file (5, 3) of other reference points; with the next"
    )
    parser.add_argument(
        "--threed_68_points", help=".npy file (68, 3) of other reference points; with the last"
    )
    return parser


@dataclass(frozen=True, eq=False)
class _Converted:
    """What became of one line of the list: a record, nothing to store, or a problem."""

    record: Record | None = None
    faces: int = 0
    posed_faces: int = 0
    without_area: int = 0
    without_fit: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class _Conversion:
    """The work on one annotation; picklable, so that worker processes can do it."""

    dataset_path: Path
    references: PoseReferences
    pose_camera: PoseCamera
    allow_outside: bool = False

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
        labels = fit_labels(annotation, size_hw, self.references, self.pose_camera)
        record = Record(
            image_bytes,
            labels.poses_in_image,
            labels.boxes_xyxy,
            labels.poses_in_box,
            labels.landmarks,
        )
        posed_faces = int(record.has_pose.sum())
        return _Converted(
            record=record if posed_faces else None,
            faces=len(record),
            posed_faces=posed_faces,
            without_area=labels.without_area,
            without_fit=labels.without_fit,
        )


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


def _convert_chunk(conversion: _Conversion, paths: Sequence[Path]) -> list[_Converted]:
    return [conversion(path) for path in paths]


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Processes started in here never see an interrupt; the parent sees it afterwards.

    An interrupt amid the start of a process would leave one that nobody waits for.
    """
    interrupted: list[int] = []
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        handler = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    # New processes inherit the blocked signal; a handler would not go along.
    can_block = hasattr(signal, "pthread_sigmask")
    if can_block:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
    if interrupted:
        signal.raise_signal(signal.SIGINT)


def _convert_all(
    conversion: _Conversion, paths: Sequence[Path], num_workers: int
) -> Generator[_Converted, None, None]:
    """Converts in order; never more than a few chunks a worker wait in memory."""
    if num_workers == 0:
        yield from map(conversion, paths)
        return
    # A plain fork is unsafe beside torch's threads; a fork server imports torch just once.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([_Conversion.__module__])
    chunks = (paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK))
    executor = ProcessPoolExecutor(num_workers, context, _leave_interrupts_to_parent)
    waiting: deque[Future[list[_Converted]]] = deque()

    def submit(count: int) -> None:
        with _interrupts_wait():
            for chunk in itertools.islice(chunks, count):
                waiting.append(executor.submit(_convert_chunk, conversion, chunk))

    try:
        submit(2 * num_workers)
        while waiting:
            converted = waiting.popleft().result()
            submit(1)
            yield from converted
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@dataclass
class _Tally:
    """Counts and pose statistics, gathered while records stream into the store."""

    images: int = 0
    faces: int = 0
    posed_faces: int = 0
    without_area: int = 0
    without_fit: int = 0
    dropped_images: int = 0
    dropped_faces: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    poses_in_box: list[np.ndarray] = field(default_factory=list)

    def add(self, converted: _Converted) -> None:
        self.without_area += converted.without_area
        self.without_fit += converted.without_fit
        if converted.record is None:
            self.dropped_images += 1
            self.dropped_faces += converted.faces
            return
        self.images += 1
        self.faces += converted.faces
        self.posed_faces += converted.posed_faces
        self.poses_in_box.append(converted.record.poses_in_box[converted.record.has_pose])

    def pose_stats(self, json_list: Path) -> PoseStats:
        poses = np.concatenate(self.poses_in_box)
        if len(poses) < 2:
            raise InputError(
                f"{json_list}: {len(poses)} face with a pose; --train needs two or more"
            )
        mean, stddev = poses.mean(axis=0), poses.std(axis=0)
        if not (stddev > _LEAST_DEVIATION).all():
            raise InputError(
                f"{json_list}: the {len(poses)} poses do not vary"
                f" (standard deviations {stddev.tolist()}); --train needs differing faces"
            )
        return PoseStats(mean, stddev)

    def summary(self) -> str:
        lines = [
            f"images: {self.images}",
            f"faces: {self.faces}",
            f"  with pose: {self.posed_faces}",
            f"  without pose: {self.faces - self.posed_faces}",
            f"boxes without area, left out: {self.without_area}",
            f"faces whose landmarks no pose fits: {self.without_fit}",
            f"images without a posed face, dropped: {self.dropped_images}"
            f" ({self.dropped_faces} faces)",
            f"images skipped: {len(self.skipped)}",
        ]
        return "\n".join(lines)


def _records(
    json_list: Path,
    paths: Sequence[Path],
    converted_all: Iterable[_Converted],
    tally: _Tally,
    skip_bad: bool,
) -> Iterator[Record]:
    for path, converted in zip(paths, converted_all, strict=True):
        if converted.problem is not None:
            if not skip_bad:
                raise InputError(f"{converted.problem} (--skip-bad leaves such images out)")
            tally.skipped.append((path, converted.problem))
            continue
        tally.add(converted)
        if converted.record is not None:
            yield converted.record
    if not tally.images:
        # The first problem tells more than the count.
        reason = f"; first problem: {tally.skipped[0][1]}" if tally.skipped else ""
        raise InputError(f"{json_list}: no image with a posed face remains{reason}")


def _references(points_5: str | None, points_68: str | None) -> tuple[PoseReferences, str]:
    if points_5 is None and points_68 is None:
        return PoseReferences.default(), "img2pose-torch"
    if points_5 is None or points_68 is None:
        raise InputError(
            "--threed_5_points and --threed_68_points belong together: give both or neither"
        )
    references = PoseReferences.from_files(points_68=points_68, points_5=points_5)
    return references, Path(points_68).name


@dataclass(frozen=True)
class _Outputs:
    store: Path
    mean: Path | None
    stddev: Path | None
    skipped: Path | None

    @classmethod
    def of(cls, dest: Path, stem: str, train: bool, skip_bad: bool) -> _Outputs:
        return cls(
            store=dest / f"{stem}.lmdb",
            mean=dest / f"{stem}_pose_mean.npy" if train else None,
            stddev=dest / f"{stem}_pose_stddev.npy" if train else None,
            skipped=dest / f"{stem}_skipped.txt" if skip_bad else None,
        )

    def check(self, dest: Path, overwrite: bool) -> None:
        check_output_folder(dest)
        for path in (self.store, self.mean, self.stddev, self.skipped):
            if path is not None and path.is_dir():
                raise InputError(f"{path}: is a folder; move it away")
            if path is not None and path.exists() and not overwrite:
                raise InputError(f"{path}: is there already; give --overwrite or another --dest")


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    if args.num_workers < 0:
        raise InputError(f"--num_workers {args.num_workers}: give 0 or more")
    dataset_path, json_list, dest = Path(args.dataset_path), Path(args.json_list), Path(args.dest)
    if not dataset_path.is_dir():
        raise InputError(f"{dataset_path}: is not a folder; give the images' as --dataset_path")
    outputs = _Outputs.of(dest, json_list.stem, args.train, args.skip_bad)
    outputs.check(dest, args.overwrite)
    references, name = _references(args.threed_5_points, args.threed_68_points)
    paths = read_annotation_list(json_list, check_files=not args.skip_bad)
    conversion = _Conversion(dataset_path, references, args.pose_camera, args.allow_outside)
    meta = StoreMeta(args.pose_camera, references.sha256, name)
    # Closing ends the worker processes, also after an error or an interrupt.
    with closing(_convert_all(conversion, paths, args.num_workers)) as converted_all:
        tally = _convert_to_store(paths, converted_all, meta, outputs, json_list)
    print(f"{outputs.store}\n{tally.summary()}")
    return 0


def _convert_to_store(
    paths: Sequence[Path],
    converted_all: Iterable[_Converted],
    meta: StoreMeta,
    outputs: _Outputs,
    json_list: Path,
) -> _Tally:
    """Writes all outputs; they get their names together, once the last is complete."""
    tally = _Tally()
    skip_bad = outputs.skipped is not None
    with ExitStack() as stack:
        complete = {
            path: stack.enter_context(replace_when_complete(path))
            for path in (outputs.mean, outputs.stddev, outputs.skipped, outputs.store)
            if path is not None
        }
        progress = tqdm(
            converted_all, "converting", len(paths), unit="image", disable=None, file=sys.stderr
        )
        stack.callback(progress.close)
        records = _records(json_list, paths, progress, tally, skip_bad)
        write_store(complete[outputs.store], records, meta)
        if outputs.mean is not None and outputs.stddev is not None:
            stats = tally.pose_stats(json_list)
            stats.write(complete[outputs.mean], complete[outputs.stddev])
        if outputs.skipped is not None:
            lines = [f"{path}\t{' '.join(reason.split())}\n" for path, reason in tally.skipped]
            write_text(complete[outputs.skipped], "".join(lines))
    return tally
