"""How fast a training is with its own data: runs of one process and of several, for some steps."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml

from img2pose.config import TrainConfig
from img2pose.errors import InputError
from img2pose.training.logging import METRICS_FILE, MetricsLine, read_metrics
from img2pose.training.run import plain_values

_STEPS_A_LINE = 10
_TIMED_LINES = 4
_SECONDS_TO_END = 60
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Throughput:
    """What a training gave, medians over some dozens of steps.

    Attributes:
        processes: How many shared the work.
        threads: Of each on the CPU.
        pictures_a_step: Of all processes together.
        images_per_second: Of all processes together.
        data_wait_share: Part of the time (0..1) that the first process waited for data.
    """

    processes: int
    threads: int
    pictures_a_step: int
    images_per_second: float
    data_wait_share: float


def measure_throughput(config: TrainConfig, processes: int, threads: int) -> Throughput:
    """Trains for some steps in a folder that is removed afterwards; nothing is validated.

    Args:
        config: The run; as many epochs as it takes are trained.
        processes: How many torchrun starts; a single one is started without it.
        threads: Of each on the CPU.

    Raises:
        InputError: The training refuses its configuration.
    """
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    with tempfile.TemporaryDirectory() as scratch:
        timed = dataclasses.replace(
            config,
            workspace=scratch,
            prefix="run",
            log_every_steps=_STEPS_A_LINE,
            evaluators=(),
            monitor="loss",
            sheet_pictures=0,
            checkpoint_every_steps=0,
            keep_every_epochs=0,
            data=dataclasses.replace(config.data, val_source=()),
            optim=dataclasses.replace(
                config.optim, epochs=10_000, schedule="constant", early_stop_patience=0
            ),
        )
        file = Path(scratch) / "config.yaml"
        file.write_text(yaml.safe_dump(plain_values(dataclasses.asdict(timed))), encoding="utf-8")
        command = [*launcher, "img2pose", "train", "--config", str(file)]
        told = Path(scratch) / "stderr"
        with open(told, "wb") as stderr:
            run = subprocess.Popen([*command, "--threads", str(threads)], stderr=stderr)
        try:
            lines = _watch(run, Path(scratch) / "run" / METRICS_FILE, told)
        finally:
            run.terminate()
            try:
                run.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
    optim = config.optim
    return Throughput(
        processes,
        threads,
        optim.batch_size * optim.accumulation_steps * processes,
        median(line.values["images_per_second"] for line in lines),
        median(line.values["data_wait_share"] for line in lines),
    )


def _watch(run: subprocess.Popen[bytes], metrics: Path, told: Path) -> list[MetricsLine]:
    """The lines after the first, which holds the start of the workers."""
    while run.poll() is None:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        if metrics.exists() and len(lines := read_metrics(metrics)) > _TIMED_LINES:
            return lines[1:]
    errors = [
        line.removeprefix("error: ")
        for line in told.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("error: ")
    ]
    if errors:
        raise InputError(errors[0])
    raise RuntimeError(f"the training ended early:\n{told.read_text(errors='replace')[-2000:]}")
