"""The faces of WIDER's validation set, and which of them are easy, medium and hard."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from img2pose.data.importers.mat_cells import Cell, read_cells
from img2pose.errors import InputError

SUBSETS = ("easy", "medium", "hard")
BENCHMARK_IMAGES = 3226
"""Images of WIDER's validation set."""

BENCHMARK_EVENTS = 61

_FACES_FILE = "wider_face_val.mat"
_REMEDY = "give WIDER's own file (eval_tools/ground_truth)"


def event_of(name: str) -> str:
    """The event of an image `EVENT/IMAGE`."""
    return name.partition("/")[0]


@dataclass(frozen=True, eq=False)
class WiderTruth:
    """Annotated faces of images.

    Attributes:
        names: `EVENT/IMAGE` of each image, without suffix.
        boxes_xywh: (N, 4) float64 an image: left, top, width, height in pixels.
        in_subset: By subset (`SUBSETS`), (N,) bool an image: the faces that are to be found in it.
        sha256: Of the files it was read from.

    Raises:
        ValueError: Lengths differ, or an image is there twice.
    """

    names: tuple[str, ...]
    boxes_xywh: tuple[np.ndarray, ...]
    in_subset: Mapping[str, tuple[np.ndarray, ...]]
    sha256: str

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError("an image is there twice")
        counts = [len(boxes) for boxes in self.boxes_xywh]
        if len(counts) != len(self.names) or set(self.in_subset) != set(SUBSETS):
            raise ValueError("boxes and subsets of each image expected")
        for subset in self.in_subset.values():
            if [mask.shape for mask in subset] != [(count,) for count in counts]:
                raise ValueError("a subset needs one entry a box")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def events(self) -> tuple[str, ...]:
        """The events, in the order of the images."""
        return tuple(dict.fromkeys(map(event_of, self.names)))

    def of_events(self, events: Collection[str]) -> WiderTruth:
        """The images of some events.

        Raises:
            InputError: An event is not there.
        """
        if unknown := sorted(set(events) - set(self.events)):
            raise InputError(
                f"event {unknown[0]}: not in the ground truth; write events as their folders are"
                f" named, for example {self.events[0]}"
            )
        chosen = [index for index, name in enumerate(self.names) if event_of(name) in events]
        return WiderTruth(
            tuple(self.names[index] for index in chosen),
            tuple(self.boxes_xywh[index] for index in chosen),
            {
                subset: tuple(masks[index] for index in chosen)
                for subset, masks in self.in_subset.items()
            },
            self.sha256,
        )


def read_ground_truth(folder: str | os.PathLike[str]) -> WiderTruth:
    """Reads the four files of WIDER's evaluation tools.

    Args:
        folder: Has `wider_face_val.mat`, `wider_easy_val.mat`, `wider_medium_val.mat` and
            `wider_hard_val.mat`.

    Raises:
        InputError: A file is missing, damaged or does not fit the others.

    Source: Yang, Luo, Loy and Tang, WIDER FACE, CVPR 2016.
    """
    folder = Path(folder)
    paths = {subset: folder / f"wider_{subset}_val.mat" for subset in SUBSETS}
    for path in (folder / _FACES_FILE, *paths.values()):
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; give --ground_truth the folder with WIDER's four .mat files"
                " (eval_tools/ground_truth)"
            )
    digest = hashlib.sha256()
    faces = _read(folder / _FACES_FILE, "face_bbx_list")
    digest.update((folder / _FACES_FILE).read_bytes())
    names = tuple(faces)
    boxes = tuple(_boxes(value, f"{folder / _FACES_FILE}: {name}") for name, value in faces.items())
    in_subset = {}
    for subset, path in paths.items():
        lists = _read(path, "gt_list")
        digest.update(path.read_bytes())
        if tuple(lists) != names:
            raise InputError(f"{path}: names other images than {_FACES_FILE}; {_REMEDY}")
        in_subset[subset] = tuple(
            _mask(lists[name], len(found), f"{path}: {name}")
            for name, found in zip(names, boxes, strict=True)
        )
    return WiderTruth(names, boxes, in_subset, digest.hexdigest())


def _read(path: Path, variable: str) -> dict[str, Cell]:
    """What a variable holds for each image `EVENT/IMAGE`."""
    cells = read_cells(path, ("event_list", "file_list", variable), _REMEDY)
    events, files, values = cells["event_list"], cells["file_list"], cells[variable]
    if not len(events) == len(files) == len(values):
        raise InputError(f"{path}: its lists of events differ in length; {_REMEDY}")
    found: dict[str, Cell] = {}
    for event, event_files, event_values in zip(events, files, values, strict=True):
        event_name = _plain_name(event, path)
        images, image_values = _cell_list(event_files, path), _cell_list(event_values, path)
        if len(images) != len(image_values):
            raise InputError(f"{path}: the lists of {event_name} differ in length; {_REMEDY}")
        for file, value in zip(images, image_values, strict=True):
            name = f"{event_name}/{_plain_name(file, path)}"
            if name in found:
                raise InputError(f"{path}: {name} is there twice; {_REMEDY}")
            found[name] = value
    if not found:
        raise InputError(f"{path}: names no image; {_REMEDY}")
    return found


def _plain_name(cell: Cell, path: Path) -> str:
    # Text in a cell within the cell, or in the cell itself.
    if isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    if not (isinstance(cell, str) and cell.isprintable() and cell.strip(". ")) or "/" in cell:
        raise InputError(f"{path}: has an event or image without a usable name; {_REMEDY}")
    return cell


def _cell_list(cell: Cell, path: Path) -> Sequence[Cell]:
    if not isinstance(cell, list):
        raise InputError(f"{path}: an event's images must be a cell array; {_REMEDY}")
    return cell


def _boxes(cell: Cell, where: str) -> np.ndarray:
    if isinstance(cell, np.ndarray) and cell.size == 0:
        return np.empty((0, 4))
    if not isinstance(cell, np.ndarray) or cell.ndim != 2 or cell.shape[1] != 4:
        raise InputError(f"{where}: its boxes must be rows of four numbers; {_REMEDY}")
    return cell


def _mask(cell: Cell, count: int, where: str) -> np.ndarray:
    if not isinstance(cell, np.ndarray):
        raise InputError(f"{where}: its faces must be a list of numbers; {_REMEDY}")
    numbers = cell.ravel()
    if not ((numbers >= 1) & (numbers <= count) & (numbers % 1 == 0)).all():
        raise InputError(f"{where}: lists a face that is not among its {count}; {_REMEDY}")
    mask = np.zeros(count, dtype=bool)
    mask[numbers.astype(np.int64) - 1] = True
    return mask
