"""Batches in a seeded order that is new each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from img2pose.data.datasets import FaceDataset, Sample, TrainingDataset
from img2pose.errors import InputError
from img2pose.types import FaceTargets

Batch = tuple[list[Tensor], list[FaceTargets]]


def collate(samples: list[Sample]) -> Batch:
    """Lists, since pictures differ in size."""
    return [image for image, _ in samples], [targets for _, targets in samples]


class EpochSampler(Sampler[tuple[int, int]]):
    """(epoch, index) in an order that depends on (seed, epoch) alone.

    The epoch travels with the index, so worker processes that live on know it too.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        return ((self.epoch, index) for index in order.tolist())


def _worker_settings(workers: int) -> dict[str, Any]:
    if workers == 0:
        return {}
    # Forked, a worker inherits the thread pools of OpenCV and OpenMP without their threads, and
    # may wait for them for ever.
    return {
        "multiprocessing_context": "spawn",
        "persistent_workers": True,
        "worker_init_fn": _one_thread,
    }


def _one_thread(_worker: int) -> None:
    # The workers are the parallelism; OpenCV's own threads would fight them.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def batches(loader: DataLoader[Sample]) -> Iterator[Batch]:
    """A pass over a loader, with the workers' `InputError`s as they were raised.

    Raises:
        InputError: A record is damaged.
    """
    try:
        yield from loader
    except InputError as error:
        # A worker's error comes with its whole traceback as the message; the last line is its own.
        own = str(error).strip().splitlines()[-1]
        raise InputError(own.removeprefix(f"{InputError.__module__}.InputError: ")) from error


def training_loader(
    dataset: TrainingDataset, *, batch_size: int, workers: int, seed: int
) -> tuple[DataLoader[Sample], EpochSampler]:
    """The loader, and the sampler whose `epoch` is to be set before each pass."""
    sampler = EpochSampler(len(dataset), seed)
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        drop_last=len(dataset) >= batch_size,
        **_worker_settings(workers),
    )
    return loader, sampler


def validation_loader(dataset: FaceDataset, *, batch_size: int, workers: int) -> DataLoader[Sample]:
    """All pictures in the store's order."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
        **_worker_settings(workers),
    )
