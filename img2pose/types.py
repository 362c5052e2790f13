"""Frozen dataclasses that cross module borders; each checks its shapes when it is built."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from img2pose.errors import InputError
from img2pose.files import read_npy, write_npy

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
        labels = torch.ones(len(self.boxes_xyxy), dtype=torch.int64, device=self.boxes_xyxy.device)
        return {"boxes": self.boxes_xyxy, "labels": labels, "dofs": self.poses_in_image}


@dataclass(frozen=True, eq=False)
class FaceDetections:
    """Faces found in one photograph, best first.

    Attributes:
        poses: (N, 6) float64; rotation vector (radians) and translation (reference units) in the
            image's camera.
        boxes: (N, 4) float64; left, top, right, bottom in pixels of the image.
        scores: (N,) float64 in 0..1.
        intrinsics: (3, 3) float64; the camera the poses are in.
        size_hw: Height and width of the image in pixels.
    """

    poses: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    intrinsics: np.ndarray
    size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = {
            "poses": (count, 6),
            "boxes": (count, 4),
            "scores": (count,),
            "intrinsics": (3, 3),
        }
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {value.shape}")
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score_threshold: float) -> FaceDetections:
        """The faces whose score is greater than `score_threshold`."""
        keep = self.scores > score_threshold
        return FaceDetections(
            self.poses[keep], self.boxes[keep], self.scores[keep], self.intrinsics, self.size_hw
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        return {
            "size_hw": list(self.size_hw),
            "intrinsics": self.intrinsics.tolist(),
            "faces": [
                {"score": score, "box": box, "pose": pose}
                for score, box, pose in zip(
                    self.scores.tolist(), self.boxes.tolist(), self.poses.tolist(), strict=True
                )
            ],
        }
