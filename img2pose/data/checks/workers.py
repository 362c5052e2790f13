"""Checks pictures in worker processes, in order, with bounded memory, whatever they hold."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from img2pose.data.checks.sources import PictureReport, Source
from img2pose.data.worker_processes import (
    end_stragglers,
    interrupts_wait,
    start_processes,
    work_on,
)

_CHUNK = 8


@dataclass(frozen=True)
class _Check:
    """The work of a process; picklable."""

    source: Source

    def __call__(self, index: int) -> PictureReport:
        return self.source.check(index)


def _executor(source: Source, num_workers: int) -> ProcessPoolExecutor:
    executor = start_processes(_Check(source), num_workers)
    # Processes that cannot even start are no fault of what they would read.
    with interrupts_wait():
        started = executor.submit(work_on, [])
    try:
        started.result()
    except BaseException:
        executor.shutdown(wait=True, cancel_futures=True)
        raise
    return executor


def _check_warily(source: Source, indices: Sequence[int]) -> Iterator[PictureReport]:
    """Checks pictures one of which may kill its process, which then becomes its finding."""
    executor = _executor(source, 1)
    try:
        with interrupts_wait():
            future = executor.submit(work_on, indices)
        yield from future.result()
    except BrokenProcessPool:
        if len(indices) == 1:
            report = PictureReport(source.place(indices[0]))
            report.add("reader_killed", "the file is damaged, or memory is short")
            yield report
            return
        half = len(indices) // 2
        yield from _check_warily(source, indices[:half])
        yield from _check_warily(source, indices[half:])
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def check_all(source: Source, num_workers: int) -> Generator[PictureReport, None, None]:
    """Checks every picture of a source.

    A damaged file can kill the process that reads it (a map that ends early, a fault in a
    decoder): with worker processes that becomes a finding and the others are still checked.

    Args:
        source: What is checked.
        num_workers: Processes; 0 checks in this one.

    Yields:
        One report a picture, in order; a few chunks a worker wait in memory. Closing the
        generator ends the processes.
    """
    if num_workers == 0:
        yield from map(source.check, range(len(source)))
        return
    chunks = iter(
        [range(start, min(start + _CHUNK, len(source))) for start in range(0, len(source), _CHUNK)]
    )
    waiting: deque[tuple[range, Future[list[PictureReport]]]] = deque()
    executor = _executor(source, num_workers)

    def submit(count: int) -> None:
        with interrupts_wait():
            for chunk in itertools.islice(chunks, count):
                try:
                    future = executor.submit(work_on, chunk)
                except BrokenProcessPool as error:
                    future = Future()
                    future.set_exception(error)
                waiting.append((chunk, future))

    try:
        submit(2 * num_workers)
        while waiting:
            chunk, future = waiting.popleft()
            try:
                reports = future.result()
            except BrokenProcessPool:
                # All that waited is lost with it, so it is checked here, before new processes.
                lost = [chunk, *(other for other, _ in waiting)]
                waiting.clear()
                end_stragglers(executor)
                executor.shutdown(wait=True)
                for chunk in lost:
                    yield from _check_warily(source, chunk)
                executor = _executor(source, num_workers)
                submit(2 * num_workers)
                continue
            submit(1)
            yield from reports
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
