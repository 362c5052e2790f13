"""Scalars of a run for TensorBoard, and the progress bar's line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes scalars under `folder/tensorboard`."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Writes each value as `group/name`."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Writes what is pending."""
        self._writer.close()


class RunningMean:
    """Means of named values since the last reset."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weight = 0.0

    def add(self, values: Mapping[str, float], weight: float = 1.0) -> None:
        """Adds values that stand for `weight` samples."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + weight * value
        self._weight += weight

    def means(self) -> dict[str, float]:
        """Weighted means; empty before the first `add`."""
        return {name: total / self._weight for name, total in self._sums.items()}

    def reset(self) -> None:
        """Forgets everything."""
        self._sums, self._weight = {}, 0.0
