"""What a run reports while it trains: scalars and pictures, means, throughput."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from img2pose.errors import InputError
from img2pose.files import replace_when_complete, told_when_unwritable

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
# What every line of the metrics says besides its values.
LINE_KEYS = ("group", "step", "epoch", "time")
_MIB = 2**20
_FLUSH_SECONDS = 30


class RunLog:
    """Writes a run's scalars to `metrics.jsonl` and TensorBoard, its pictures to TensorBoard.

    A line of `metrics.jsonl` is one JSON object: `group` ("train", "validation", an evaluator's
    name), `step` (optimizer steps that are done), `epoch` (epochs that are done, with fraction),
    `time` (seconds since 1970) and the values by name, null where one is not a finite number.

    Args:
        folder: The run's; it is made if it is missing.
        resume_at_step: Steps that are done in the checkpoint the run continues from. What was
            logged after that step will be logged again, so it is dropped; lines up to it stay
            byte for byte. None starts anew: what a former run left in the folder is dropped.

    Raises:
        InputError: The run is resumed and its `metrics.jsonl` is damaged before its last line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resume_at_step: int | None = None,
    ) -> None:
        path = folder / METRICS_FILE
        last_step = -1 if resume_at_step is None else resume_at_step
        kept = b""
        if resume_at_step is not None and path.exists():
            lines = read_metrics(path)
            kept = b"".join(line.raw for line in lines if line.step <= last_step)
        self._path = path
        with told_when_unwritable(path):
            with replace_when_complete(path) as part:
                part.write_bytes(kept)
            self._lines = open(path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115
            self._writer: SummaryWriter | None = SummaryWriter(
                str(folder / TENSORBOARD_FOLDER),
                # TensorBoard hides what earlier files of the folder hold from this step on.
                purge_step=last_step + 1,
                flush_secs=_FLUSH_SECONDS,
            )

    def scalars(
        self, group: str, values: Mapping[str, float | None], *, step: int, epoch: float
    ) -> None:
        """Writes one line, flushed, and each value as `group/name` to TensorBoard.

        Args:
            group: "train", "validation" or an evaluator's name.
            values: Numbers by name; None where there is none to tell.
            step: Optimizer steps that are done.
            epoch: Epochs that are done, with fraction.

        Raises:
            ValueError: A value has one of the names in `LINE_KEYS`.
            OutputError: The line cannot be written.
        """
        taken = sorted(set(values) & set(LINE_KEYS))
        if taken:
            raise ValueError(f"{taken} say where a line belongs; give these values other names")
        now = time.time()
        line: dict[str, Any] = {"group": group, "step": step, "epoch": epoch, "time": now}
        for name, value in values.items():
            line[name] = None if value is None or not math.isfinite(value) else float(value)
        with told_when_unwritable(self._path):
            self._lines.write(json.dumps(line, allow_nan=False) + "\n")
            self._lines.flush()
        for name, value in values.items():
            if value is not None:
                self._show("add_scalar", f"{group}/{name}", value, step, walltime=now)

    def picture(self, name: str, pixels_hwc: NDArray[np.uint8], *, step: int) -> None:
        """Shows a picture in TensorBoard.

        Args:
            name: Its tag.
            pixels_hwc: (H, W, 3) uint8, RGB.
            step: Optimizer steps that are done.
        """
        self._show("add_image", name, pixels_hwc, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is pending."""
        with suppress(OSError):
            # What could not be written before was told then.
            self._lines.close()
        self._show("close")

    def _show(self, call: str, *args: Any, **named: Any) -> None:
        """Calls TensorBoard's writer until it fails: curves are not worth a training."""
        if self._writer is None:
            return
        try:
            getattr(self._writer, call)(*args, **named)
        except OSError as error:
            self._writer = None
            logger.warning("TensorBoard gets nothing more of this run: %s", error)


@dataclass(frozen=True)
class MetricsLine:
    """One line of `metrics.jsonl`.

    Attributes:
        raw: Its bytes, line end included.
        group: "train", "validation" or an evaluator's name.
        step: Optimizer steps done.
        epoch: Epochs done.
        values: Numbers by name, NaN for null.
    """

    raw: bytes
    group: str
    step: int
    epoch: float
    values: dict[str, float]

    @classmethod
    def from_bytes(cls, raw: bytes) -> MetricsLine:
        """Parses a line.

        Raises:
            ValueError: It is no line of `RunLog`.
        """
        try:
            content = json.loads(raw.decode("utf-8"))
        except RecursionError as error:
            raise ValueError("nested too deep") from error
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
        group, step, epoch = (content.get(key) for key in ("group", "step", "epoch"))
        if not isinstance(group, str) or type(step) is not int:
            raise ValueError("has no group or no step")
        values: dict[str, float] = {}
        for name, value in {**content, "epoch": epoch}.items():
            if name in LINE_KEYS and name != "epoch":
                continue
            if value is not None and not isinstance(value, (int, float)):
                raise ValueError(f"{name} is no number")
            try:
                values[name] = math.nan if value is None else float(value)
            except OverflowError as error:
                raise ValueError(f"{name} is too large") from error
        epochs = values.pop("epoch")
        if not math.isfinite(epochs):
            raise ValueError("has no epoch")
        return cls(raw, group, step, epochs, values)


def read_metrics(path: Path) -> list[MetricsLine]:
    """Reads `metrics.jsonl`; a last line without its end, which is being written, is left out.

    Raises:
        InputError: The file cannot be read, or a line is not `RunLog`'s.
    """
    try:
        pieces = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); mend that") from error
    lines = []
    for number, piece in enumerate(pieces[:-1], start=1):
        try:
            lines.append(MetricsLine.from_bytes(piece + b"\n"))
        except ValueError as error:
            raise InputError(
                f"{path}: line {number} is not one of a training's metrics ({error}); remove that"
                " line"
            ) from error
    return lines


class RunningMean:
    """Means of named values since the last reset."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Adds values."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def means(self) -> dict[str, float]:
        """Means; empty before the first `add`."""
        return {name: total / self._count for name, total in self._sums.items()}

    def reset(self) -> None:
        """Forgets everything."""
        self._sums, self._count = {}, 0


class StepClock:
    """Throughput since the last reset.

    Args:
        device: The one whose memory is told.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self, device: torch.device, *, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._device = device
        self._now = now
        self.reset()

    def reset(self) -> None:
        """Starts to count anew; the peak of the memory stays the process's."""
        self._start = self._now()
        self._waited_seconds = 0.0
        self._images = 0

    def waited(self, seconds: float) -> None:
        """Adds time in which the step had no data to work on."""
        self._waited_seconds += seconds

    def stepped(self, images: int) -> None:
        """Adds the images of a step."""
        self._images += images

    def values(self) -> dict[str, float]:
        """What is worth logging.

        Returns:
            `images_per_second`; `data_wait_share`, the part of the time (0..1) that went into
            waiting for data; `memory_mib`, see `peak_memory_mib`.
        """
        seconds = self._now() - self._start
        return {
            "images_per_second": self._images / seconds if seconds > 0 else 0.0,
            "data_wait_share": min(1.0, self._waited_seconds / seconds) if seconds > 0 else 0.0,
            "memory_mib": peak_memory_mib(self._device),
        }


def peak_memory_mib(device: torch.device) -> float:
    """The most memory the process has held so far, in MiB.

    On CUDA what tensors took on the device. On a CPU the resident memory of this process, without
    its workers; NaN on Windows, which does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    if sys.platform == "win32":
        return math.nan
    import resource

    # macOS counts bytes, everyone else KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB
