"""Records of a store as training pictures with targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from img2pose.config import DataConfig
from img2pose.data.sources import Mixture, RecordSource
from img2pose.data.store import Record
from img2pose.data.transforms import (
    Augmentation,
    Mosaic,
    Picture,
    face_boxes,
    paint_out,
)
from img2pose.errors import InputError
from img2pose.images import decode_image
from img2pose.references import PoseReferences
from img2pose.types import FaceTargets

# Unreadable records that others stand in for in one sample, before the store is given up.
_MOST_REPLACEMENTS = 20


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture to learn from.

    Attributes:
        image: (3, H, W) uint8 RGB.
        targets: Its faces.
        records: Keys of the store's records that it shows.
        seed: What the model draws for it (proposals, size) depends on.
        unreadable: What was wrong with records that others stand in for.
    """

    image: Tensor
    targets: FaceTargets
    records: tuple[str, ...]
    seed: int
    unreadable: tuple[str, ...] = ()


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


def to_image_and_targets(
    picture: Picture, references: PoseReferences, min_face_pixels: float
) -> tuple[Tensor, FaceTargets]:
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


@dataclass
class _Reading:
    """Reads records for one sample and keeps account of them."""

    store: RecordSource
    mixture: Mixture
    references: PoseReferences
    skip_unreadable: bool
    rng: np.random.Generator
    records: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def picture(self, index: int) -> Picture:
        """The picture of a record or, if it cannot be read and may be skipped, of another."""
        while True:
            try:
                picture = read_picture(self.store[index], self.references, self.store.where(index))
            except InputError as error:
                if not self.skip_unreadable:
                    raise
                self.unreadable.append(str(error))
                if len(self.unreadable) > _MOST_REPLACEMENTS:
                    raise InputError(
                        f"{error}; it is the last of {len(self.unreadable)} records drawn for one"
                        " picture that cannot be read"
                    ) from error
                (index,) = self.mixture.draw(self.rng, 1)
            else:
                self.records.append(self.store.key(index))
                return picture

    def sample(self, picture: Picture, min_face_pixels: float) -> Sample:
        """The sample whose picture was made of what was read."""
        image, targets = to_image_and_targets(picture, self.references, min_face_pixels)
        seed = int(self.rng.integers(2**62))
        return Sample(image, targets, tuple(self.records), seed, tuple(self.unreadable))


class FaceDataset(Dataset[Sample]):
    """Pictures of a store, whole and unchanged: for validation.

    The seed of each depends on its index alone, so losses are the same each time.
    """

    def __init__(self, store: RecordSource, config: DataConfig, references: PoseReferences) -> None:
        self.store = store
        self.config = config
        self.references = references
        self._mixture = Mixture([len(store)])

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((0, index))
        skip = self.config.unreadable_records == "skip"
        reading = _Reading(self.store, self._mixture, self.references, skip, rng)
        return reading.sample(reading.picture(index), self.config.min_face_pixels)


class TrainingDataset(Dataset[Sample]):
    """Augmented pictures of a store, asked for by (epoch, index, repeat).

    What is drawn depends on these and the seed alone, not on the process that draws it.

    Args:
        store: Records.
        config: What is drawn.
        references: The face that poses refer to.
        seed: Of all draws.
        mixture: How often the other pictures of a mosaic come from each store; None: evenly.
    """

    def __init__(
        self,
        store: RecordSource,
        config: DataConfig,
        references: PoseReferences,
        seed: int,
        mixture: Mixture | None = None,
    ) -> None:
        self.store = store
        self.mixture = Mixture([len(store)]) if mixture is None else mixture
        self.config = config
        self.references = references
        self.seed = seed
        self._augment = Augmentation(config, references)
        self._compose = Mosaic(config, references)
        self._draw: Callable[[int, _Reading], Picture] = (
            self._mosaic if config.mosaic_max_side else self._whole
        )

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, epoch_index_repeat: tuple[int, int, int]) -> Sample:
        epoch, index, repeat = epoch_index_repeat
        rng = np.random.default_rng((self.seed, epoch, index, repeat))
        skip = self.config.unreadable_records == "skip"
        reading = _Reading(self.store, self.mixture, self.references, skip, rng)
        picture = self._draw(index, reading)
        return reading.sample(picture, self.config.min_face_pixels)

    def _whole(self, index: int, reading: _Reading) -> Picture:
        return self._augment(reading.picture(index), reading.rng)

    def _mosaic(self, index: int, reading: _Reading) -> Picture:
        tiles_a_side = self._compose.draw_side(reading.rng)
        others = self.mixture.draw(reading.rng, tiles_a_side**2 - 1)
        pictures = [reading.picture(chosen) for chosen in (index, *others)]
        return self._compose(pictures, reading.rng)
