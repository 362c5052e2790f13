"""How fast annotation lists are converted to stores."""

from __future__ import annotations

import tempfile
from pathlib import Path

from img2pose.data.annotations import read_annotation_list
from img2pose.data.conversion import ConversionSettings, convert
from img2pose.data.unfinished_store import UnfinishedStore
from img2pose.errors import InputError
from img2pose.references import PoseReferences


def measure_conversion(json_list: Path, dataset_path: Path, workers: int) -> float:
    """Converts a list to a store that is removed afterwards.

    The clock starts when the worker processes have given their first images: their start, some
    seconds once, does not count.

    Args:
        json_list: Names annotation files, relative to the current folder.
        dataset_path: Folder that their image paths are relative to.
        workers: Processes, 0 for this one alone.

    Returns:
        Images a second.

    Raises:
        InputError: The list cannot be converted or names too few images.
    """
    settings = ConversionSettings(dataset_path, PoseReferences.default(), "img2pose-torch")
    paths = read_annotation_list(json_list)
    with (
        tempfile.TemporaryDirectory() as scratch,
        UnfinishedStore(Path(scratch) / "timed.lmdb") as unfinished,
    ):
        tally = convert(
            json_list,
            paths,
            settings,
            unfinished,
            fingerprint=settings.fingerprint(paths),
            num_workers=workers,
        )
    if tally.images_per_second is None:
        raise InputError(f"{json_list}: names too few images to measure; give some hundreds")
    return tally.images_per_second
