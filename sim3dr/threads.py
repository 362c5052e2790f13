"""Work shared out over threads; the compiled kernels run side by side in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def checked_threads(threads: int | None) -> int:
    """The number of threads; None: as many as there are cores.

    Raises:
        ValueError: It is less than 1.
    """
    if threads is None:
        return usable_cores()
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    return threads


def run_all(tasks: Sequence[Callable[[], None]], threads: int) -> None:
    """Runs tasks, several at a time; an error in one is raised once the others have ended."""
    if threads == 1 or len(tasks) < 2:
        for task in tasks:
            task()
        return
    # A pool a call costs 0.1 ms and leaves nothing behind that a fork could break.
    with ThreadPoolExecutor(min(threads, len(tasks))) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()
