"""Batches in a seeded order that is new each epoch, shared out among processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

from img2pose.data.datasets import FaceDataset, Sample, TrainingDataset
from img2pose.data.sources import Mixture
from img2pose.data.worker_processes import end_with_parent, interrupts_wait
from img2pose.errors import InputError

Batch = list[Sample]
# How long a worker outlives a SIGTERM: as long as torchrun lets its processes.
_GRACE_SECONDS = 30


class EpochBatches(Sampler[list[tuple[int, int, int]]]):
    """What each process reads for each step of an epoch: lists of (epoch, index, repeat).

    The order depends on (seed, epoch) alone. A step takes the next `step_size` of it, whose
    consecutive parts go to the processes: so N processes with batches of B learn from the same
    pictures in a step as one with batches of N * B. What does not fill a step is left for
    another epoch. The epoch travels with the index, so worker processes that live on know it too.

    Args:
        mixture: What an epoch consists of.
        batch_size: Pictures a batch.
        seed: Of the order.
        process: Which of the processes this is.
        processes: How many there are.
        batches_a_step: Of each process.

    Attributes:
        epoch: Whose order the next pass takes.
        samples_done: Where in it the next pass begins.

    Raises:
        InputError: There are too few records for one step.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        batch_size: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
        batches_a_step: int = 1,
    ) -> None:
        self.mixture = mixture
        self.count = count = len(mixture)
        self.batch_size = batch_size
        self.seed = seed
        self.process = process
        self.processes = processes
        self.batches_a_step = batches_a_step
        self.step_size = batch_size * processes * batches_a_step
        self.epoch = 0
        self.samples_done = 0
        if count < self.step_size:
            raise InputError(
                f"batch_size: a step takes {self.step_size} pictures ({batch_size} a batch,"
                f" {processes} processes, {batches_a_step} batches each), but there are only"
                f" {count}; lower it"
            )

    @property
    def steps_an_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self.count // self.step_size

    @property
    def steps_left(self) -> int:
        """Steps of the epoch after `samples_done`."""
        return max(0, self.count - self.samples_done) // self.step_size

    def __len__(self) -> int:
        return self.steps_left * self.batches_a_step

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        order = self.mixture.epoch(self.seed, self.epoch)
        for start in range(self.samples_done, self.count - self.step_size + 1, self.step_size):
            for batch in range(self.batches_a_step):
                part = start + (batch * self.processes + self.process) * self.batch_size
                yield [(self.epoch, *picture) for picture in order[part : part + self.batch_size]]


class SharedBatches(Sampler[list[int]]):
    """Every n-th batch of a data set in its order, for one of n processes.

    Batches are cut before they are shared out, so no picture is seen twice and each batch is the
    same whatever the number of processes.
    """

    def __init__(self, count: int, batch_size: int, process: int, processes: int) -> None:
        starts = range(0, count, batch_size)[process::processes]
        self._batches = [list(range(start, min(start + batch_size, count))) for start in starts]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


def _worker_settings(workers: int) -> dict[str, Any]:
    if workers == 0:
        return {}
    # Forked, a worker inherits the thread pools of OpenCV and OpenMP without their threads, and
    # may wait for them for ever.
    return {
        "multiprocessing_context": "spawn",
        "persistent_workers": True,
        "worker_init_fn": _prepare_worker,
    }


def _prepare_worker(_worker: int) -> None:
    # The workers are the parallelism; OpenCV's own threads would fight them.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    # Ctrl-C, or the SIGTERM of a cluster, may reach every process of the group. The trainer takes
    # its last step first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_SECONDS))
    # torch looks for the parent too, but not for one that was gone before the worker was ready.
    end_with_parent()


def batches(loader: DataLoader[Sample]) -> Iterator[Batch]:
    """A pass over a loader, with the workers' `InputError`s as they were raised.

    Raises:
        InputError: A record is damaged.
    """
    try:
        # Workers that start now must not die of an interrupt before they can ignore it.
        with interrupts_wait():
            reading = iter(loader)
        yield from reading
    except InputError as error:
        # A worker's error comes with its whole traceback as the message; the last line is its own.
        own = str(error).strip().splitlines()[-1]
        raise InputError(own.removeprefix(f"{InputError.__module__}.InputError: ")) from error


def _as_list(samples: list[Sample]) -> Batch:
    # Pictures differ in size.
    return samples


def end_workers(loader: DataLoader[Sample]) -> None:
    """Ends a loader's processes, which would otherwise wait for their parent's end.

    torch has no public name for it, and leaves it to the garbage collector, which may come too late
    for its own queues.
    """
    iterator = loader._iterator
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        # torch raises for a worker that dies, also for one that does so as it is told to end.
        with suppress(RuntimeError):
            iterator._shutdown_workers()
        loader._iterator = None


def training_loader(
    dataset: TrainingDataset, order: EpochBatches, workers: int
) -> DataLoader[Sample]:
    """Batches of augmented pictures; set `order.epoch` and `order.samples_done` before a pass."""
    return DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_as_list,
        **_worker_settings(workers),
    )


def validation_loader(
    dataset: FaceDataset,
    *,
    batch_size: int,
    workers: int,
    process: int = 0,
    processes: int = 1,
) -> DataLoader[Sample]:
    """Whole pictures in the store's order: the batches of one of several processes."""
    return DataLoader(
        dataset,
        batch_sampler=SharedBatches(len(dataset), batch_size, process, processes),
        num_workers=workers,
        collate_fn=_as_list,
        **_worker_settings(workers),
    )
