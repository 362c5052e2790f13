"""Pictures that models are judged on, with annotations or by their names alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from img2pose.data.annotations import (
    Annotation,
    read_annotation,
    read_annotation_list,
    resolve_image,
)
from img2pose.data.sources import RecordSource
from img2pose.data.store import Record
from img2pose.errors import InputError
from img2pose.files import file_sha256
from img2pose.images import decode_image, read_image


class NamedPictures(Protocol):
    """Pictures with names; the same name twice is the same picture."""

    @property
    def names(self) -> Sequence[str]:
        """By number."""
        ...

    def picture(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB.

        Raises:
            InputError: It is damaged or missing.
        """
        ...

    def digest(self, index: int) -> bytes:
        """SHA-256 of the image file, 32 bytes.

        Raises:
            InputError: It is missing.
        """
        ...


class PictureSource(NamedPictures, Protocol):
    """Annotated pictures, each to be had by its number; a picture is read when it is asked for."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> tuple[Annotation, np.ndarray]:
        """An annotation and its picture, (H, W, 3) uint8 RGB.

        Raises:
            IndexError: There is no such picture.
            InputError: It is damaged or missing.
        """
        ...

    def annotation(self, index: int) -> Annotation:
        """The annotation alone."""
        ...


def _file_digest(path: Path) -> bytes:
    return bytes.fromhex(file_sha256(path, "check the path"))


class PictureFiles:
    """Image files by name.

    Args:
        paths: Names and files; pictures are read as stored, without their EXIF orientation.

    Raises:
        InputError: A file is not there.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.names: Sequence[str] = tuple(paths)
        self._paths = tuple(paths.values())
        for path in self._paths:
            if not path.is_file():
                raise InputError(f"{path}: no such image; is the folder right?")

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """The file."""
        return self._paths[index]

    def picture(self, index: int) -> np.ndarray:
        """See `NamedPictures`."""
        return read_image(self._paths[index], upright=False)

    def digest(self, index: int) -> bytes:
        """See `NamedPictures`."""
        return _file_digest(self._paths[index])


class ListedPictures:
    """The pictures of an annotation list, named as the annotations name them.

    Args:
        json_list: Names annotation files; all are read at once.
        dataset_path: The folder that their image paths are relative to.
        allow_outside: Images may lie outside it.

    Raises:
        InputError: An annotation is missing or malformed, or its image is not there or outside.
    """

    def __init__(
        self,
        json_list: str | os.PathLike[str],
        dataset_path: str | os.PathLike[str],
        allow_outside: bool = False,
    ) -> None:
        self._annotations = [read_annotation(path) for path in read_annotation_list(json_list)]
        self._images = [
            resolve_image(dataset_path, annotation.image_path, annotation.source, allow_outside)
            for annotation in self._annotations
        ]
        self.names: Sequence[str] = tuple(a.image_path for a in self._annotations)
        for annotation, image in zip(self._annotations, self._images, strict=True):
            if not image.is_file():
                raise InputError(
                    f"{image}: no such image, named by {annotation.source};"
                    " is --dataset_path right?"
                )

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int) -> tuple[Annotation, np.ndarray]:
        return self.annotation(index), self.picture(index)

    def annotation(self, index: int) -> Annotation:
        """See `PictureSource`."""
        return self._annotations[index]

    def picture(self, index: int) -> np.ndarray:
        """See `NamedPictures`."""
        return read_image(self._images[index], upright=False)

    def digest(self, index: int) -> bytes:
        """See `NamedPictures`."""
        return _file_digest(self._images[index])


class StoredPictures:
    """The pictures of a store, named by their keys.

    Args:
        store: Its landmarks count here; its poses do not.
    """

    def __init__(self, store: RecordSource) -> None:
        self._store = store

    # Kept: whoever predicts asks for it at every picture.
    @cached_property
    def names(self) -> Sequence[str]:
        """See `NamedPictures`."""
        return tuple(self._store.key(index) for index in range(len(self._store)))

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, index: int) -> tuple[Annotation, np.ndarray]:
        record = self._store[index]
        return self._annotation(index, record), self._decode(index, record)

    def annotation(self, index: int) -> Annotation:
        """See `PictureSource`."""
        return self._annotation(index, self._store[index])

    def picture(self, index: int) -> np.ndarray:
        """See `NamedPictures`."""
        return self._decode(index, self._store[index])

    def digest(self, index: int) -> bytes:
        """See `NamedPictures`."""
        return hashlib.sha256(self._store[index].image_bytes).digest()

    def _annotation(self, index: int, record: Record) -> Annotation:
        label = self._store.where(index)
        return Annotation(label, record.boxes_xyxy, record.landmarks, Path(label))

    def _decode(self, index: int, record: Record) -> np.ndarray:
        return decode_image(record.image_bytes, self._store.where(index), upright=False)


def truth_fingerprint(pictures: PictureSource) -> str:
    """SHA-256 of all boxes, landmarks and head angles, in the order of the pictures."""
    total = hashlib.sha256()
    for index, name in enumerate(pictures.names):
        total.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        annotation = pictures.annotation(index)
        for values in (annotation.boxes_xyxy, *annotation.landmarks, *annotation.head_angles):
            known = np.zeros(0) if values is None else np.asarray(values, dtype="<f8")
            total.update(f"{known.shape}".encode())
            total.update(known.tobytes())
    return total.hexdigest()


def fingerprint(pictures: NamedPictures) -> str:
    """SHA-256 of the names and image files, whatever their order.

    The pixels themselves count, not times or sizes of files: a copy elsewhere is the same.
    """
    digests = {name: pictures.digest(index) for index, name in enumerate(pictures.names)}
    total = hashlib.sha256()
    for name in sorted(digests):
        total.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        total.update(digests[name])
    return total.hexdigest()
