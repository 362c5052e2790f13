"""Annotated pictures that models are judged on."""

from __future__ import annotations

import os
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
from img2pose.errors import InputError
from img2pose.images import decode_image, read_image


class PictureSource(Protocol):
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


class ListedPictures:
    """The pictures of an annotation list.

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
        for annotation, image in zip(self._annotations, self._images, strict=True):
            if not image.is_file():
                raise InputError(
                    f"{image}: no such image, named by {annotation.source};"
                    " is --dataset_path right?"
                )

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int) -> tuple[Annotation, np.ndarray]:
        return self._annotations[index], read_image(self._images[index], upright=False)


class StoredPictures:
    """The pictures of a store.

    Args:
        store: Its landmarks count here; its poses do not.
    """

    def __init__(self, store: RecordSource) -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, index: int) -> tuple[Annotation, np.ndarray]:
        record = self._store[index]
        label = self._store.where(index)
        annotation = Annotation(label, record.boxes_xyxy, record.landmarks, Path(label))
        return annotation, decode_image(record.image_bytes, label, upright=False)
