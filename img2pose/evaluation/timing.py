"""How long something takes, how much memory it needs, how much of the machine it uses."""

from __future__ import annotations

import ctypes
import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

_MIB = 2**20
_MATRIX_SIDE = 2048


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    _wait_for(device)
    start = time.perf_counter()
    function()
    _wait_for(device)
    return time.perf_counter() - start


def median_times_ms(
    cases: Mapping[str, Callable[[], object]], repeats: int, device: torch.device
) -> dict[str, float]:
    """Median time of each case, after one run that is not counted.

    The cases take turns, so that a machine that slows down slows all of them and ratios hold.

    Args:
        cases: What is run, by name.
        repeats: Runs that count.
        device: Waited for before and after each.

    Returns:
        Milliseconds by name.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, function in cases.items():
            seconds = _seconds(function, device)
            if repeat:
                times[name].append(1e3 * seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_peak_gflops(device: torch.device, repeats: int = 5) -> float:
    """Billions of float32 operations a second in a large matrix product, the best of some.

    On CUDA convolutions may do better, since torch lets them use TensorFloat-32 and the product
    not.
    """
    a = torch.rand(_MATRIX_SIDE, _MATRIX_SIDE, device=device)
    b = torch.rand(_MATRIX_SIDE, _MATRIX_SIDE, device=device)
    seconds = min(_seconds(lambda: a @ b, device) for _ in range(repeats + 1))
    return 2 * _MATRIX_SIDE**3 / seconds / 1e9


def count_flops(function: Callable[[], object]) -> int:
    """Floating point operations of the convolutions and matrix products that a function does."""
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


def _resident_mib(field: str) -> float | None:
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def _give_back_freed_memory() -> None:
    # The allocator keeps what was freed; used again, it would not count.
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def start_peak_memory() -> bool:
    """Sets the process's peak of resident memory back to what is resident now.

    Returns:
        Whether the system (Linux) allowed it.
    """
    _give_back_freed_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_resident_mib() -> float | None:
    """The most memory that was resident since `start_peak_memory`; None where nobody keeps it."""
    return _resident_mib("VmHWM")


def peak_memory_mib(function: Callable[[], object], device: torch.device) -> float | None:
    """Memory a function needs at its peak beyond what is taken before it, in MiB.

    On a CPU the process's resident memory, as Linux keeps it; None where that is not to be had.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        _seconds(function, device)
        return (torch.cuda.max_memory_allocated(device) - before) / _MIB
    if not start_peak_memory():
        return None
    before_mib = _resident_mib("VmRSS")
    function()
    peak_mib = peak_resident_mib()
    if before_mib is None or peak_mib is None:
        return None
    return max(0.0, peak_mib - before_mib)
