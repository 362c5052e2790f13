"""Which process reads what, in which order, and what worker processes bear."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.config import DataConfig
from img2pose.data.datasets import FaceDataset, TrainingDataset
from img2pose.data.loaders import (
    EpochBatches,
    SharedBatches,
    batches,
    end_workers,
    training_loader,
    validation_loader,
)
from img2pose.data.sources import Mixture
from img2pose.data.store import PoseStore
from img2pose.errors import InputError
from img2pose.references import PoseReferences
from tests.data.samples import assert_same

MOSAIC = DataConfig(random_flip=True, rotation_deg=20, mosaic_max_side=2, mosaic_canvas=96)
COUNTS = st.integers(1, 4)
SEEDS = st.integers(0, 2**32)


def steps_of(orders: list[EpochBatches]) -> list[list[tuple[int, int, int]]]:
    """What the processes together read in each step, in the order of the epoch."""
    a_step = orders[0].batches_a_step
    rounds = [list(chain.from_iterable(parts)) for parts in zip(*orders, strict=True)]
    return [
        list(chain.from_iterable(rounds[start : start + a_step]))
        for start in range(0, len(rounds), a_step)
    ]


def orders_of(
    count: int, batch_size: int, processes: int, batches_a_step: int, seed: int
) -> list[EpochBatches]:
    return [
        EpochBatches(
            Mixture([count]),
            batch_size=batch_size,
            seed=seed,
            process=process,
            processes=processes,
            batches_a_step=batches_a_step,
        )
        for process in range(processes)
    ]


@given(COUNTS, COUNTS, COUNTS, st.integers(0, 70), SEEDS, st.integers(0, 3))
@settings(deadline=None)
def test_processes_and_batches_together_read_the_steps_of_one_large_batch(
    batch_size: int, processes: int, batches_a_step: int, more: int, seed: int, epoch: int
) -> None:
    step_size = batch_size * processes * batches_a_step
    orders = orders_of(step_size + more, batch_size, processes, batches_a_step, seed)
    alone = EpochBatches(Mixture([step_size + more]), batch_size=step_size, seed=seed)
    for order in (*orders, alone):
        order.epoch = epoch
        assert len(list(order)) == len(order)
        assert {len(batch) for batch in order} == {order.batch_size}
    assert steps_of(orders) == list(alone)
    assert orders[0].steps_an_epoch == orders[0].steps_left == len(alone)


@given(st.integers(1, 60), COUNTS, SEEDS, st.integers(0, 5))
@settings(deadline=None)
def test_an_epoch_takes_each_record_once_but_for_what_fills_no_step(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    count += batch_size
    order = EpochBatches(Mixture([count]), batch_size=batch_size, seed=seed)
    order.epoch = epoch
    keys = list(chain.from_iterable(order))
    indices = [index for _, index, _ in keys]
    assert {(of, repeat) for of, _, repeat in keys} == {(epoch, 0)}
    assert len(indices) == len(set(indices)) == count - count % batch_size
    assert set(indices) <= set(range(count))


def test_each_epoch_and_seed_has_an_order_of_its_own() -> None:
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (0, 2), (1, 0), (0, 0)):
        order = EpochBatches(Mixture([20]), batch_size=20, seed=seed)
        order.epoch = epoch
        orders.append(tuple(index for _, index, _ in next(iter(order))))
    assert len(set(orders[:4])) == 4
    assert orders[4] == orders[0]


@given(COUNTS, COUNTS, COUNTS, st.integers(0, 70), st.data())
@settings(deadline=None)
def test_a_pass_begins_where_another_number_of_processes_ended(
    batch_size: int, processes: int, batches_a_step: int, more: int, data: st.DataObject
) -> None:
    step_size = batch_size * processes * batches_a_step
    count = step_size + more
    whole = list(chain.from_iterable(EpochBatches(Mixture([count]), batch_size=1, seed=3)))
    done = data.draw(st.integers(0, count))
    orders = orders_of(count, batch_size, processes, batches_a_step, 3)
    for order in orders:
        order.samples_done = done
    read = list(chain.from_iterable(steps_of(orders)))
    assert read == whole[done : done + len(read)]
    assert 0 <= count - done - len(read) < step_size
    assert orders[0].steps_left == len(read) // step_size


def test_too_few_records_for_one_step_are_refused() -> None:
    (order, *_) = orders_of(12, batch_size=2, processes=3, batches_a_step=2, seed=0)
    assert order.steps_left == 1
    with pytest.raises(InputError, match=r"^batch_size: .* 12 pictures .* only 11;"):
        orders_of(11, batch_size=2, processes=3, batches_a_step=2, seed=0)


@given(st.integers(0, 50), COUNTS, st.integers(1, 6))
@settings(deadline=None)
def test_shared_batches_are_those_of_one_process_each_in_one_of_them(
    count: int, batch_size: int, processes: int
) -> None:
    alone = list(SharedBatches(count, batch_size, 0, 1))
    assert list(chain.from_iterable(alone)) == list(range(count))
    assert all(len(batch) == batch_size for batch in alone[:-1])
    for process in range(processes):
        own = SharedBatches(count, batch_size, process, processes)
        assert list(own) == alone[process::processes]
        assert len(own) == len(list(own))


@pytest.fixture
def store(face_dataset: Path) -> PoseStore:
    return PoseStore(face_dataset / "train.lmdb")


def test_workers_change_nothing_and_know_the_epoch_and_bear_signals(
    store: PoseStore, references: PoseReferences
) -> None:
    dataset = TrainingDataset(store, MOSAIC, references, seed=0)
    order = EpochBatches(Mixture([len(store)]), batch_size=2, seed=0)
    loaders = [training_loader(dataset, order, workers) for workers in (0, 2)]
    seeds = []
    for epoch in (0, 1):
        order.epoch = epoch
        alone, shared_out = (list(chain.from_iterable(batches(loader))) for loader in loaders)
        assert len(alone) == len(store)
        for one, other in zip(alone, shared_out, strict=True):
            assert_same(one, other)
        seeds += [sample.seed for sample in alone]
        # What a cluster sends to every process of a job, so that the trainer takes its last step.
        workers = multiprocessing.active_children()
        assert len(workers) == 2
        for worker in workers:
            assert worker.pid is not None
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(worker.pid, number)
    # The second pass was that of the same workers, after the signals.
    assert len(set(seeds)) == len(seeds)
    assert all(worker.is_alive() for worker in workers)
    end_workers(loaders[1])
    assert not multiprocessing.active_children()


READ_FOR_EVER = """
import sys
from img2pose.config import DataConfig
from img2pose.data.datasets import TrainingDataset
from img2pose.data.loaders import EpochBatches, training_loader
from img2pose.data.sources import Mixture
from img2pose.data.store import PoseStore
from img2pose.references import PoseReferences
if __name__ == "__main__":
    store = PoseStore(sys.argv[1])
    dataset = TrainingDataset(store, DataConfig(), PoseReferences.default(), seed=0)
    order = EpochBatches(Mixture([len(store)]), batch_size=1, seed=0)
    reading = iter(training_loader(dataset, order, workers=1))
    print(reading._workers[0].pid, flush=True)
    sys.stdin.read()
"""


def test_workers_end_with_a_parent_that_is_killed_while_they_start(
    face_dataset: Path, tmp_path: Path
) -> None:
    script = tmp_path / "read.py"
    script.write_text(READ_FOR_EVER)
    command = [sys.executable, str(script), str(face_dataset / "train.lmdb")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], **pipes) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}/cmdline").exists() and time.monotonic() < deadline:
        if not Path(f"/proc/{worker}/cmdline").read_bytes():
            break  # Ended; whoever adopted it has not looked yet.
        time.sleep(0.1)
    assert time.monotonic() < deadline


def test_validation_keeps_the_stores_order_and_the_last_batch(
    store: PoseStore, references: PoseReferences
) -> None:
    dataset = FaceDataset(store, DataConfig(), references)
    found = list(validation_loader(dataset, batch_size=3, workers=0))
    assert [len(batch) for batch in found] == [3, 1]
    for index, sample in enumerate(chain.from_iterable(found)):
        assert_same(sample, dataset[index])
    second = validation_loader(dataset, batch_size=3, workers=0, process=1, processes=2)
    assert [sample.records for batch in second for sample in batch] == [found[1][0].records]
