"""Pictures and annotations as files, made in worker processes; a stopped run goes on."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from img2pose.data.annotations import (
    Annotation,
    read_annotation,
    write_annotation,
    write_annotation_list,
)
from img2pose.data.synthetic.labels import annotation_of
from img2pose.data.synthetic.pictures import make_picture
from img2pose.data.synthetic.settings import RENDERER_VERSION, SyntheticSettings
from img2pose.data.worker_processes import map_in_processes
from img2pose.errors import InputError
from img2pose.files import unfinished_files, write_bytes, write_json
from img2pose.images import DEFAULT_MAX_PIXELS, image_size
from img2pose.references import PoseReferences

IMAGES_FOLDER = "images"
ANNOTATIONS_FOLDER = "annotations"
LIST_FILE = "annotations.txt"
DATASET_FILE = "dataset.json"
_CHUNK = 4


@dataclass(frozen=True)
class SyntheticDataset:
    """A data set to be made.

    Attributes:
        folder: Where.
        count: Pictures.
        seed: Of all of them.
        settings: What they are like.
        background_files: Pictures of the user's to take backgrounds from.
    """

    folder: Path
    count: int
    seed: int
    settings: SyntheticSettings
    background_files: tuple[Path, ...] = ()

    def name(self, index: int) -> str:
        """A picture's file name without suffix."""
        return f"{index:06d}"

    def image_path(self, index: int) -> Path:
        """The JPEG."""
        return self.folder / IMAGES_FOLDER / f"{self.name(index)}.jpg"

    def annotation_path(self, index: int) -> Path:
        """The JSON."""
        return self.folder / ANNOTATIONS_FOLDER / f"{self.name(index)}.json"

    @property
    def list_path(self) -> Path:
        """The list of annotations."""
        return self.folder / LIST_FILE

    def identity(self) -> dict[str, Any]:
        """What decides the pictures' bytes, as JSON knows values; not their number."""
        return {
            "renderer_version": RENDERER_VERSION,
            "seed": self.seed,
            "settings": self.settings.as_values(),
            "backgrounds": [[path.name, path.stat().st_size] for path in self.background_files],
            "references": PoseReferences.default().sha256,
        }

    def describe(self, **more: Any) -> dict[str, Any]:
        """What `dataset.json` holds."""
        return {**self.identity(), "count": self.count, **more}


@dataclass(frozen=True)
class MadePicture:
    """What became of a picture.

    Attributes:
        index: Its number.
        faces: Listed faces.
        posed_faces: Those with a pose.
        new: It was made now rather than found.
    """

    index: int
    faces: int
    posed_faces: int
    new: bool


def _counted(index: int, annotation: Annotation, new: bool) -> MadePicture:
    posed = sum(pose is not None for pose in annotation.poses)
    return MadePicture(index, len(annotation), posed, new)


@dataclass(frozen=True)
class _Making:
    """The work on one picture; picklable."""

    dataset: SyntheticDataset

    def __call__(self, index: int) -> MadePicture:
        dataset = self.dataset
        annotation_path = dataset.annotation_path(index)
        found = self._found(index)
        if found is not None:
            return _counted(index, found, False)
        picture = make_picture(dataset.settings, dataset.seed, index, dataset.background_files)
        content = io.BytesIO()
        Image.fromarray(picture.pixels).save(content, "JPEG", quality=picture.quality)
        image_path = dataset.image_path(index)
        write_bytes(image_path, content.getvalue())
        name = f"{IMAGES_FOLDER}/{image_path.name}"
        annotation = annotation_of(picture, dataset.settings, name)
        # The annotation comes last: where it is, the picture is whole.
        write_annotation(annotation_path, annotation)
        return _counted(index, annotation, True)

    def _found(self, index: int) -> Annotation | None:
        """The annotation of a picture that an earlier run made."""
        try:
            annotation = read_annotation(self.dataset.annotation_path(index))
            size = image_size(self.dataset.image_path(index), max_pixels=DEFAULT_MAX_PIXELS)
        except InputError:
            return None
        return annotation if size == self.dataset.settings.size_hw else None


def make_dataset(dataset: SyntheticDataset, num_workers: int) -> Generator[MadePicture, None, None]:
    """Makes the pictures that are not there yet, and yields all in order.

    Args:
        dataset: What to make. Pictures that its folder holds are taken as they are, so they must
            be of the same identity.
        num_workers: Processes, 0 for this one alone.

    Raises:
        InputError: A background cannot be read.
        OSError: The disk is full, for example.
    """
    indices = range(dataset.count)
    with closing(map_in_processes(_Making(dataset), indices, num_workers, _CHUNK)) as made:
        yield from made


def remove_leftovers(dataset: SyntheticDataset) -> None:
    """Removes what killed processes were about to write."""
    for folder in (IMAGES_FOLDER, ANNOTATIONS_FOLDER, "."):
        for leftover in unfinished_files(dataset.folder / folder):
            leftover.unlink(missing_ok=True)


def finish_dataset(dataset: SyntheticDataset, **counts: Any) -> None:
    """Writes the list of annotations and the complete `dataset.json`.

    Args:
        dataset: All of its pictures are made.
        counts: What `dataset.json` is to say besides.
    """
    paths = [os.path.relpath(dataset.annotation_path(index)) for index in range(dataset.count)]
    write_annotation_list(dataset.list_path, paths)
    write_json(dataset.folder / DATASET_FILE, dataset.describe(complete=True, **counts), indent=1)
