"""Converts a list of annotation JSONs to an LMDB of images and pose labels."""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from img2pose.cli.exit_codes import exit_code_from_errors
from img2pose.cli.parsers import (
    add_workers_argument,
    check_workers,
    command_parser,
    print_results,
)
from img2pose.cli.reference_arguments import add_reference_arguments, load_references
from img2pose.data.annotations import read_annotation_list
from img2pose.data.conversion import (
    ConversionSettings,
    LeftOut,
    Tally,
    convert,
)
from img2pose.data.labels import POSE_CAMERAS, POSE_LABELS
from img2pose.data.store import PoseStore, StoreMeta
from img2pose.data.unfinished_store import UnfinishedStore
from img2pose.errors import InputError, OutputError
from img2pose.files import check_output_folder, leftovers_of, replace_when_complete

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
# A deviation this small is rounding: all poses are the same.
_LEAST_DEVIATION = 1e-9


def build_parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    parser = command_parser(
        "scripts/convert_json_list_to_lmdb.py",
        "Turn a list of annotation JSONs into one LMDB file that holds the images"
        " and the pose labels fitted to their landmarks. A run that was stopped goes on when the"
        " same command is given again.",
        "--json_list lists/train.txt --dataset_path photographs --dest lmdb --train",
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
    add_workers_argument(parser)
    parser.add_argument(
        "--pose_camera",
        choices=POSE_CAMERAS,
        default="box",
        help="camera that poses are fitted in: the annotated box's, as published (default), or"
        " the image's, which describes the landmarks better",
    )
    parser.add_argument(
        "--pose_labels",
        choices=POSE_LABELS,
        help="exact: a pose that an annotation carries, as those of synthetic faces do, is the"
        " label (default; such poses are of the default reference face); fitted: all poses are"
        " fitted to the landmarks (default with --threed_68_points)",
    )
    parser.add_argument(
        "--keep-negatives",
        "--keep_negatives",
        action="store_true",
        help="keep images without a posed face, to learn background from, instead of dropping"
        " them; what is dropped is listed in LIST_dropped.txt (path, tab, reason)",
    )
    parser.add_argument(
        "--skip-bad",
        "--skip_bad",
        action="store_true",
        help="leave out images or annotations that cannot be used and list them in"
        " LIST_skipped.txt (path, tab, reason) instead of stopping",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace output files that are there; without it, the same command on the same files"
        " says that they are up to date",
    )
    parser.add_argument(
        "--allow_outside",
        action="store_true",
        help="take images that lie outside --dataset_path (absolute paths, .., links)",
    )
    add_reference_arguments(parser)
    return parser


def _check_pose_stats(meta: StoreMeta, json_list: Path) -> None:
    if meta.pose_stddev is None or meta.posed_faces < 2:
        raise InputError(
            f"{json_list}: {meta.posed_faces} face with a pose; --train needs two or more"
        )
    if not min(meta.pose_stddev) > _LEAST_DEVIATION:
        raise InputError(
            f"{json_list}: the {meta.posed_faces} poses do not vary"
            f" (standard deviations {list(meta.pose_stddev)}); --train needs differing faces"
        )


def _npy(values: Sequence[float] | None) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array(values, dtype=np.float64), allow_pickle=False)
    return content.getvalue()


def _lines(entries: Iterable[LeftOut]) -> bytes:
    lines = [f"{entry.annotation_path}\t{' '.join(entry.reason.split())}\n" for entry in entries]
    return "".join(lines).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class _Outputs:
    """The files of a conversion; all but the store follow from what it holds."""

    json_list: Path
    store: Path
    mean: Path
    stddev: Path
    skipped: Path
    dropped: Path
    train: bool
    skip_bad: bool

    @classmethod
    def of(cls, dest: Path, json_list: Path, train: bool, skip_bad: bool) -> _Outputs:
        stem = json_list.stem
        return cls(
            json_list,
            dest / f"{stem}.lmdb",
            dest / f"{stem}_pose_mean.npy",
            dest / f"{stem}_pose_stddev.npy",
            dest / f"{stem}_skipped.txt",
            dest / f"{stem}_dropped.txt",
            train,
            skip_bad,
        )

    def contents_beside(self, meta: StoreMeta, tally: Tally) -> dict[Path, bytes]:
        """What belongs beside a store.

        Raises:
            InputError: Statistics are wanted and there are none.
        """
        contents = {}
        if self.train:
            _check_pose_stats(meta, self.json_list)
            contents[self.mean] = _npy(meta.pose_mean)
            contents[self.stddev] = _npy(meta.pose_stddev)
        if self.skip_bad:
            contents[self.skipped] = _lines(tally.skipped)
        if tally.dropped:
            contents[self.dropped] = _lines(tally.dropped)
        return contents

    def refuse_existing(self) -> None:
        """Raises `InputError` where a file that may be written is there."""
        wanted = [self.store, self.dropped]
        wanted += [self.mean, self.stddev] if self.train else []
        wanted += [self.skipped] if self.skip_bad else []
        for path in wanted:
            _refuse_existing(path)

    def refuse_folders(self) -> None:
        """Raises `InputError` where a folder has the name of a file to write."""
        for path in self._all():
            if path.is_dir():
                raise InputError(f"{path}: is a folder; move it away")

    def remove_leftovers(self) -> None:
        """Removes what a killed run was about to write beside the store."""
        for leftover in itertools.chain.from_iterable(map(leftovers_of, self._all())):
            leftover.unlink(missing_ok=True)

    def _all(self) -> tuple[Path, ...]:
        return self.store, self.mean, self.stddev, self.skipped, self.dropped


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path}: is there already; give --overwrite or another --dest")


def _stage(contents: Mapping[Path, bytes], stack: ExitStack) -> None:
    """Writes files that get their names when the stack is left without an error."""
    for path, content in contents.items():
        stack.enter_context(replace_when_complete(path)).write_bytes(content)


def _completed(outputs: _Outputs, fingerprint: str) -> list[Path] | None:
    """Files that lacked beside a store that is what the command would make; None if it is not.

    They are written.

    Raises:
        InputError: A file beside it is not what the command would write.
    """
    if not outputs.store.exists():
        return None
    try:
        store = PoseStore(outputs.store)
        if store.meta is None or store.meta.fingerprint != fingerprint:
            return None
        tally = Tally.from_values([store.report()])
    except (InputError, TypeError, KeyError):
        return None
    contents = outputs.contents_beside(store.meta, tally)
    for path in [path for path in contents if path.exists()]:
        if path.read_bytes() != contents.pop(path):
            _refuse_existing(path)
    with ExitStack() as stack:
        _stage(contents, stack)
    return list(contents)


def _summary(tally: Tally, keep_negatives: bool) -> str:
    lines = [
        f"images: {tally.images}",
        f"faces: {tally.faces}",
        f"  with pose: {tally.posed_faces}",
        f"  without pose: {tally.faces - tally.posed_faces}",
        f"boxes without area, left out: {tally.without_area}",
        f"faces whose landmarks no pose fits: {tally.without_fit}",
        f"images without a posed face, {'kept' if keep_negatives else 'dropped'}:"
        f" {tally.negatives} ({tally.negative_faces} faces)",
        *(f"  {reason}: {n}" for reason, n in sorted(tally.dropped_images_by_reason.items())),
        f"images skipped: {len(tally.skipped)}",
    ]
    if tally.images_per_second is not None:
        lines.append(f"images a second: {tally.images_per_second:.1f}")
    return "\n".join(lines)


def _results(outputs: _Outputs, tally: Tally) -> dict[str, Any]:
    return {
        "store": str(outputs.store),
        "up_to_date": False,
        "images": tally.images,
        "faces": tally.faces,
        "faces_with_pose": tally.posed_faces,
        "boxes_without_area": tally.without_area,
        "faces_without_fit": tally.without_fit,
        "images_without_posed_face": tally.negatives,
        "faces_in_them": tally.negative_faces,
        "dropped_images_by_reason": dict(sorted(tally.dropped_images_by_reason.items())),
        "images_skipped": len(tally.skipped),
        "images_per_second": tally.images_per_second,
    }


@exit_code_from_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    args = build_parser().parse_args(argv)
    check_workers(args)
    dataset_path, json_list, dest = Path(args.dataset_path), Path(args.json_list), Path(args.dest)
    if not dataset_path.is_dir():
        raise InputError(f"{dataset_path}: is not a folder; give the images' as --dataset_path")
    outputs = _Outputs.of(dest, json_list, args.train, args.skip_bad)
    check_output_folder(dest)
    outputs.refuse_folders()
    references = load_references(args)
    name = "img2pose-torch" if args.threed_68_points is None else Path(args.threed_68_points).name
    paths = read_annotation_list(json_list, check_files=not args.skip_bad)
    settings = ConversionSettings(
        dataset_path,
        references,
        name,
        args.pose_camera,
        args.keep_negatives,
        args.skip_bad,
        args.allow_outside,
        args.pose_labels or ("exact" if args.threed_68_points is None else "fitted"),
    )
    try:
        made = _convert(paths, settings, outputs, args.num_workers, args.overwrite)
    except OSError as error:
        raise OutputError(
            f"{dest}: cannot be written ({error}); mend that and try again"
        ) from error
    except KeyboardInterrupt:
        logger.info("the same command goes on where this one stopped")
        raise
    if isinstance(made, Tally):
        text = f"{outputs.store}\n{_summary(made, args.keep_negatives)}"
        print_results(args, _results(outputs, made), text)
    else:
        added = [str(path) for path in made]
        text = "\n".join([f"{outputs.store}: up to date", *added])
        print_results(args, {"store": str(outputs.store), "up_to_date": True, "added": added}, text)
    return 0


def _convert(
    paths: Sequence[Path],
    settings: ConversionSettings,
    outputs: _Outputs,
    num_workers: int,
    overwrite: bool,
) -> Tally | list[Path]:
    """Writes all outputs, the store first; where it is up to date, what lacked beside it."""
    with ExitStack() as stack:

        def progress(work: Iterable[_T], name: str, total: int, done: int) -> Iterable[_T]:
            bar = tqdm(
                work,
                name,
                total,
                initial=done,
                unit="image",
                leave=name == "converting",
                disable=None,
                file=sys.stderr,
            )
            stack.callback(bar.close)
            return bar

        unfinished = stack.enter_context(UnfinishedStore(outputs.store))
        outputs.remove_leftovers()
        fingerprint = settings.fingerprint(paths, progress)
        if not overwrite:
            added = _completed(outputs, fingerprint)
            if added is not None:
                return added
            outputs.refuse_existing()
        # They get their names after the store has: it can tell them anew, they cannot tell it.
        beside = stack.enter_context(ExitStack())
        tally = convert(
            outputs.json_list,
            paths,
            settings,
            unfinished,
            fingerprint=fingerprint,
            num_workers=num_workers,
            progress=progress,
            check=lambda meta, tally: _stage(outputs.contents_beside(meta, tally), beside),
        )
        if not tally.dropped:
            outputs.dropped.unlink(missing_ok=True)
    return tally
