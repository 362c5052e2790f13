"""Frozen dataclasses that cross module borders; each checks its shapes when it is built."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from img2pose.errors import InputError
from img2pose.files import read_npy, write_npy

if TYPE_CHECKING:
    from torch import Tensor

_STATS_REMEDY = "make it with scripts/convert_json_list_to_lmdb.py --train"


@dataclass(frozen=True, eq=False)
class PoseStats:
    """Mean and standard deviation of a training set's poses in their boxes.

    Attributes:
        mean: (6,) float64; rotation vector in radians, translation in reference units.
        stddev: (6,) float64, positive.

    Raises:
        InputError: Wrong shape, a value that is not finite, or a deviation that is not positive.
    """

    mean: np.ndarray
    stddev: np.ndarray

    def __post_init__(self) -> None:
        for name in ("mean", "stddev"):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != (6,):
                raise InputError(f"pose {name} must have shape (6,), not {value.shape}")
            if not np.isfinite(value).all():
                raise InputError(f"pose {name} has values that are not finite: {value.tolist()}")
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if not (self.stddev > 0).all():
            raise InputError(f"pose stddev must be positive, not {self.stddev.tolist()}")

    @classmethod
    def from_files(
        cls, mean_path: str | os.PathLike[str], stddev_path: str | os.PathLike[str]
    ) -> PoseStats:
        """Reads the two `.npy` files that the converter writes with `--train`.

        Raises:
            InputError: A file cannot be read or does not hold six usable numbers.
        """
        mean, stddev = (read_npy(path, (6,), _STATS_REMEDY) for path in (mean_path, stddev_path))
        try:
            return cls(mean, stddev)
        except InputError as error:
            raise InputError(f"{mean_path}, {stddev_path}: {error}; {_STATS_REMEDY}") from error

    @classmethod
    def pooled(cls, parts: Sequence[PoseStats], weights: Sequence[float]) -> PoseStats:
        """Statistics of several sets together.

        Args:
            parts: One of each set.
            weights: How many faces each stands for; at least one is positive.
        """
        shares = np.array(weights, dtype=np.float64) / sum(weights)
        means = np.stack([part.mean for part in parts])
        mean = shares @ means
        squares = np.stack([part.stddev for part in parts]) ** 2 + (means - mean) ** 2
        return cls(mean, np.sqrt(shares @ squares))

    def write(self, mean_path: str | os.PathLike[str], stddev_path: str | os.PathLike[str]) -> None:
        """Writes the two `.npy` files, each whole or not at all."""
        write_npy(Path(mean_path), self.mean)
        write_npy(Path(stddev_path), self.stddev)


@dataclass(frozen=True, eq=False)
class FaceTargets:
    """Faces of one training image.

    Attributes:
        boxes_xyxy: (N, 4) float32, pixels, made from the poses.
        poses_in_image: (N, 6) float32, in the camera of the image the boxes are in.
    """

    boxes_xyxy: Tensor
    poses_in_image: Tensor

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        if self.boxes_xyxy.shape != (count, 4) or self.poses_in_image.shape != (count, 6):
            raise ValueError(
                "boxes must be (N, 4) and poses (N, 6), not"
                f" {tuple(self.boxes_xyxy.shape)} and {tuple(self.poses_in_image.shape)}"
            )

    def as_model_targets(self) -> dict[str, Tensor]:
        """The dict that `Img2Pose.forward` takes: `boxes`, `labels` (all 1), `dofs`."""
        # Statistics alone need no torch.
        import torch

        labels = torch.ones(len(self.boxes_xyxy), dtype=torch.int64, device=self.boxes_xyxy.device)
        return {"boxes": self.boxes_xyxy, "labels": labels, "dofs": self.poses_in_image}
