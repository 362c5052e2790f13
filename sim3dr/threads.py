"""Work shared out over threads; the compiled kernels run side by side in them."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Made = TypeVar("Made")


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def checked_threads(threads: int | None) -> int:
    """The number of threads; None: as many as there are cores.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is less than 1.
    """
    if threads is None:
        return usable_cores()
    try:
        number = operator.index(threads)
    except TypeError:
        raise TypeError(f"threads must be a whole number, not {threads!r}") from None
    if number < 1:
        raise ValueError(f"threads must be at least 1, not {number}")
    return number


def run_all(function: Callable[..., Made], items: Sequence[Any], threads: int) -> list[Made]:
    """What a function makes of each item; several at a time.

    Raises:
        Exception: Whatever the function raised first, once all have ended.
    """
    if threads == 1 or len(items) < 2:
        return [function(item) for item in items]
    # A pool a call costs 0.1 ms and leaves nothing behind that a fork could break.
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(function, items))
