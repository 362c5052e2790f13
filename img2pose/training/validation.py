"""Judging the model at the end of an epoch, the pictures shared out among the processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from img2pose.data.datasets import Sample
from img2pose.data.loaders import batches
from img2pose.data.sources import RecordSource
from img2pose.distributed import ALONE, Processes
from img2pose.errors import InputError
from img2pose.evaluation.evaluators import LOWEST_SCORE, Evaluator
from img2pose.evaluation.pictures import StoredPictures
from img2pose.evaluation.sheets import prediction_sheet
from img2pose.inference.detector import Detector
from img2pose.models.img2pose import Img2Pose
from img2pose.training.trainer import move_batch

logger = logging.getLogger(__name__)


@dataclass
class LossSums:
    """Losses summed over pictures.

    Attributes:
        pictures: How many.
        sums: By name.
        unreadable: What was wrong with records that others stand in for.
    """

    pictures: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def sum_losses(model: Img2Pose, pictures: DataLoader[Sample], device: torch.device) -> LossSums:
    """Losses in evaluation mode; what is drawn for a picture is the same each time.

    Args:
        model: On `device`.
        pictures: Batches of whole pictures.
        device: Where to compute.

    Raises:
        InputError: A record is damaged.
    """
    result = LossSums()
    for batch in batches(pictures):
        images, targets = move_batch(batch, device)
        losses = model.validation_losses(images, targets)
        values = torch.stack(list(losses.values())).tolist()
        result.pictures += len(batch)
        result.unreadable += [message for sample in batch for message in sample.unreadable]
        for name, value in zip(losses, values, strict=True):
            result.sums[name] = result.sums.get(name, 0.0) + len(batch) * value
    return result


def mean_losses(parts: Iterable[LossSums]) -> dict[str, float]:
    """Means over all pictures of all parts by name, and `loss`, their sum."""
    parts = list(parts)
    pictures = sum(part.pictures for part in parts)
    names = next(part.sums for part in parts if part.sums)
    # fsum: the same figures in whatever order the parts come.
    means = {n: math.fsum(part.sums.get(n, 0.0) for part in parts) / pictures for n in names}
    return {"loss": math.fsum(means.values()), **means}


@dataclass(frozen=True)
class Validation:
    """What a run is validated with, in one of its processes.

    Attributes:
        pictures: Batches of this process.
        store: All pictures.
        evaluators: Run after the losses.
        skip_unreadable: Leave damaged records out instead of ending.
        processes: Which this is of several.
    """

    pictures: DataLoader[Sample]
    store: RecordSource
    evaluators: tuple[Evaluator, ...]
    skip_unreadable: bool
    processes: Processes = ALONE

    def figures(
        self, model: Img2Pose, device: torch.device, report: Callable[[Iterable[str]], None]
    ) -> dict[str, dict[str, float]]:
        """All figures of a model: `validation` holds its losses, the others go by evaluator.

        Args:
            model: On `device`; it is left in evaluation mode.
            device: Where to compute.
            report: Told what was wrong with records.

        Raises:
            InputError: A record is damaged, in the process that reads it; the others end.
        """
        with self.processes.one_error():
            own = sum_losses(model, self.pictures, device)
        report(own.unreadable)
        figures = {"validation": mean_losses(self.processes.gather(own))}
        detector = Detector(model, score_threshold=LOWEST_SCORE)
        for evaluator in self.evaluators:
            with self.processes.one_error():
                judged = self._judge(evaluator, detector, report)
            everyones = [item for part in self.processes.gather(judged) for item in part]
            figures[evaluator.name] = evaluator.summarise(everyones)
        return figures

    def _judge(
        self, evaluator: Evaluator, detector: Detector, report: Callable[[Iterable[str]], None]
    ) -> list[Any]:
        share = range(self.processes.rank, len(evaluator), self.processes.count)
        shown = tqdm(
            share,
            desc=evaluator.name,
            unit="image",
            mininterval=1.0,
            leave=False,
            disable=not self.processes.is_main,
        )
        judged: list[Any] = []
        for index in shown:
            try:
                judged += evaluator.judge(detector, [index])
            except InputError as error:
                if not self.skip_unreadable:
                    raise
                report([str(error)])
        return judged

    def sheet(self, model: Img2Pose, count: int) -> np.ndarray | None:
        """Evenly spaced pictures with what the model finds in them; None if one is damaged.

        Args:
            model: It is left in evaluation mode.
            count: How many pictures.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        try:
            detector = Detector(model, score_threshold=LOWEST_SCORE)
            return prediction_sheet(StoredPictures(self.store), detector, count)
        except InputError as error:
            logger.warning("no sheet of validation pictures: %s", error)
            return None


def monitored(figures: Mapping[str, Mapping[str, float]], monitor: str) -> float:
    """The figure that `TrainConfig.monitor` names; NaN where it is not defined."""
    group, _, name = monitor.rpartition("/")
    return figures[group or "validation"].get(name, math.nan)
