"""Records of a store as training pictures with targets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from img2pose.config import DataConfig
from img2pose.data.store import PoseStore, Record
from img2pose.data.transforms import (
    Augmentation,
    Mosaic,
    Picture,
    face_boxes,
    paint_out,
)
from img2pose.images import decode_image
from img2pose.references import PoseReferences
from img2pose.types import FaceTargets

Sample = tuple[Tensor, FaceTargets]


def read_picture(record: Record, references: PoseReferences, name: str = "record") -> Picture:
    """Decodes a record; its faces without a pose are painted black.

    An EXIF orientation is ignored: labels refer to the stored pixels.

    Raises:
        InputError: The picture is damaged; `name` tells which.
    """
    posed = record.has_pose
    picture = Picture(
        decode_image(record.image_bytes, name, upright=False), record.poses_in_image[posed]
    )
    if posed.all():
        return picture
    spared = face_boxes(picture, references)
    pixels = paint_out(picture.pixels, record.boxes_xyxy[~posed], spared)
    return Picture(pixels, picture.poses_in_image)


def read_stored_picture(store: PoseStore, index: int, references: PoseReferences) -> Picture:
    """Reads and decodes a record of a store.

    Raises:
        InputError: The record or its picture is damaged.
    """
    return read_picture(store[index], references, f"{store.path}: record {index}")


def to_sample(picture: Picture, references: PoseReferences, min_face_pixels: float) -> Sample:
    """(3, H, W) uint8 tensor and targets; faces too small to learn are painted out."""
    boxes = face_boxes(picture, references)
    kept = (boxes[:, 2:] - boxes[:, :2] >= max(min_face_pixels, 1e-3)).all(1)
    pixels = paint_out(picture.pixels, boxes[~kept], boxes[kept])
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    targets = FaceTargets(
        torch.tensor(boxes[kept], dtype=torch.float32),
        torch.tensor(picture.poses_in_image[kept], dtype=torch.float32),
    )
    return image, targets


class FaceDataset(Dataset[Sample]):
    """Pictures of a store, whole and unchanged: for validation."""

    def __init__(self, store: PoseStore, config: DataConfig, references: PoseReferences) -> None:
        self.store = store
        self.config = config
        self.references = references

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Sample:
        picture = read_stored_picture(self.store, index, self.references)
        return to_sample(picture, self.references, self.config.min_face_pixels)


class TrainingDataset(Dataset[Sample]):
    """Augmented pictures of a store, asked for by (epoch, index).

    What is drawn depends on (seed, epoch, index) alone, not on the process that draws it.

    Args:
        store: Records.
        config: What is drawn.
        references: The face that poses refer to.
        seed: Of all draws.
    """

    def __init__(
        self, store: PoseStore, config: DataConfig, references: PoseReferences, seed: int
    ) -> None:
        self.store = store
        self.config = config
        self.references = references
        self.seed = seed
        self._augment = Augmentation(config, references)
        self._compose = Mosaic(config, references)
        self._draw: Callable[[int, np.random.Generator], Picture] = (
            self._mosaic if config.mosaic_max_side else self._whole
        )

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> Sample:
        epoch, index = epoch_and_index
        rng = np.random.default_rng((self.seed, epoch, index))
        picture = self._draw(index, rng)
        return to_sample(picture, self.references, self.config.min_face_pixels)

    def _whole(self, index: int, rng: np.random.Generator) -> Picture:
        return self._augment(read_stored_picture(self.store, index, self.references), rng)

    def _mosaic(self, index: int, rng: np.random.Generator) -> Picture:
        tiles_a_side = self._compose.draw_side(rng)
        others = rng.integers(len(self.store), size=tiles_a_side**2 - 1)
        pictures = [
            read_stored_picture(self.store, chosen, self.references)
            for chosen in (index, *others.tolist())
        ]
        return self._compose(pictures, rng)
