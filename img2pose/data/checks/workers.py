"""Checks pictures in worker processes, in order, with bounded memory, whatever they hold."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import cv2
import torch

from img2pose.data.checks.sources import PictureReport, Source

_CHUNK = 8

# What a worker process checks; each gets it once, when it starts.
_source: Source | None = None


def _start_worker(source: Source) -> None:
    global _source
    # The parent sees interrupts and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _source = source


def _check_chunk(indices: Sequence[int]) -> list[PictureReport]:
    if _source is None:
        raise RuntimeError("the worker process was not started with a source")
    return [_source.check(index) for index in indices]


def _answer() -> None:
    """What a worker process that started well can do."""


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Processes started in here never see an interrupt; the parent sees it afterwards."""
    interrupted: list[int] = []
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        handler = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    can_block = hasattr(signal, "pthread_sigmask")
    if can_block:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
    if interrupted:
        signal.raise_signal(signal.SIGINT)


def _executor(source: Source, num_workers: int) -> ProcessPoolExecutor:
    # A plain fork is unsafe beside torch's threads; a fork server imports torch just once.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])
    executor = ProcessPoolExecutor(num_workers, context, _start_worker, (source,))
    # Processes that cannot even start are no fault of what they would read.
    with _interrupts_wait():
        started = executor.submit(_answer)
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
        with _interrupts_wait():
            future = executor.submit(_check_chunk, indices)
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
        with _interrupts_wait():
            for chunk in itertools.islice(chunks, count):
                try:
                    future = executor.submit(_check_chunk, chunk)
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
