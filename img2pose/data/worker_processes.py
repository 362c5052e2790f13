"""The same work on many items, shared out over processes that bear an interrupt."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2
import torch

from img2pose.errors import OutputError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Set once in each worker process.
_work: Callable[[Any], Any] | None = None


def _wait_for_parents_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # A parent that lives may just have let go of this process; torch would take another code
        # for a worker's failure, and nobody else asks.
        os._exit(0)


def end_with_parent() -> None:
    """Ends this process when the one that started it ends, however that ends."""
    threading.Thread(target=_wait_for_parents_end, daemon=True).start()


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    # The parent sees interrupts and ends its workers; when it is killed, work would never come.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    # The processes share the cores as it is.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _work = work


def work_on(items: Sequence[Any]) -> list[Any]:
    """What to submit to the executor of `start_processes`: its work on some items."""
    if _work is None:
        raise RuntimeError("this is no worker process")
    return [_work(item) for item in items]


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """An interrupt (SIGINT) in here is raised afterwards; processes started in here never see one.

    An interrupt amid the start of a process would leave one that nobody waits for.
    """
    interrupted: list[int] = []
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        handler = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    # New processes inherit the blocked signal; a handler would not go along.
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


def end_stragglers(executor: ProcessPoolExecutor) -> None:
    """Ends the processes of a broken executor, so that its `shutdown` cannot wait for ever.

    CPython 3.11 ends those it knows when one of them dies, and then waits for all: also for one
    that was just being started, and now waits for work.
    """
    for process in list((executor._processes or {}).values()):
        process.terminate()


def start_processes(work: Callable[[Item], Result], num_workers: int) -> ProcessPoolExecutor:
    """Processes that each hold a copy of `work` and run it by `work_on`.

    Submit inside of `interrupts_wait`, since the processes start then.

    Args:
        work: Picklable.
        num_workers: How many.
    """
    # A plain fork is unsafe beside torch's threads; a fork server imports torch just once.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([type(work).__module__])
    return ProcessPoolExecutor(num_workers, context, _begin, (work,))


def items_at_once(num_workers: int, chunk: int) -> int:
    """How many items `map_in_processes` has under way."""
    return 2 * num_workers * chunk


def map_in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], num_workers: int, chunk: int = 1
) -> Generator[Result, None, None]:
    """Results in the items' order; only a few chunks a worker wait in memory.

    Closing the generator ends the processes once their chunk is done, also after an error or an
    interrupt: use `contextlib.closing`. They end by themselves when this process is killed.

    Args:
        work: Picklable; each process gets one copy, which may keep what it builds, and one thread
            of torch and OpenCV.
        items: Picklable.
        num_workers: 0 does the work in this process.
        chunk: Items that a process takes at a time.

    Raises:
        OutputError: A process was killed.
    """
    if num_workers == 0:
        yield from map(work, items)
        return
    chunks = (items[start : start + chunk] for start in range(0, len(items), chunk))
    executor = start_processes(work, num_workers)
    waiting: deque[Future[list[Result]]] = deque()

    def submit(count: int) -> None:
        with interrupts_wait():
            for next_chunk in itertools.islice(chunks, count):
                waiting.append(executor.submit(work_on, next_chunk))

    try:
        submit(items_at_once(num_workers, 1))
        while waiting:
            results = waiting.popleft().result()
            submit(1)
            yield from results
    except BrokenProcessPool as error:
        end_stragglers(executor)
        raise OutputError(
            "a worker process was killed, for want of memory perhaps; give fewer --num_workers"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
