"""Takes the first steps of a run and writes what they gave, alone or under torchrun.

`python -m tests.training.first_steps DATASET OUT.pt STEPS [KEY=VALUE ...]`
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from img2pose.config import TrainConfig, read_config
from img2pose.distributed import Processes, joined_processes
from img2pose.interrupts import StopRequest
from img2pose.training.logging import StepClock
from img2pose.training.run import Run
from tests.settings import SMALL_MODEL

ROOT = Path(__file__).parents[2]


def configuration(dataset: Path, settings: dict[str, Any]) -> TrainConfig:
    """A small run on the CPU."""
    values: dict[str, Any] = {
        "workspace": str(dataset / "never_written"),
        "device": "cpu",
        "data.train_source": str(dataset / "train.lmdb"),
        "data.workers": 0,
        "data.mosaic_max_side": 2,
        "data.mosaic_canvas": 96,
        "optim.batch_size": 4,
        "optim.epochs": 5,
        **{f"model.{name}": value for name, value in SMALL_MODEL.items()},
        **settings,
    }
    return read_config(TrainConfig, None, values)


def take_steps(config: TrainConfig, steps: int, processes: Processes) -> dict[str, Any]:
    """Losses of each step, gradients of the first (as clipped), weights after the last."""
    run = Run(config, None, processes)
    trainer, clock = run.trainer, StepClock(run.device)
    losses: list[dict[str, float]] = []
    gradients: dict[str, torch.Tensor] = {}
    while len(losses) < steps:
        for report in trainer.train_epoch(StopRequest(), clock):
            losses.append(report.values)
            if len(losses) == 1:
                gradients = {
                    name: parameter.grad.clone()
                    for name, parameter in trainer.model.named_parameters()
                    if parameter.grad is not None
                }
            if len(losses) == steps:
                break
        else:
            trainer.end_epoch(None)
    return {"losses": losses, "gradients": gradients, "weights": trainer.model.state_dict()}


def in_processes(
    count: int, dataset: Path, out: Path, steps: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """What several processes give that torchrun starts."""
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}"]
    arguments = [str(dataset), str(out), str(steps), *(f"{k}={v}" for k, v in settings.items())]
    command = [*launcher, "--standalone", "-m", "tests.training.first_steps", *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=200)
    result: dict[str, Any] = torch.load(out, weights_only=True)
    return result


def main(argv: list[str]) -> None:
    """Runs in each of the processes."""
    dataset, out, steps, *assignments = argv
    settings = dict(assignment.split("=", 1) for assignment in assignments)
    torch.set_num_threads(1)
    with joined_processes() as processes:
        result = take_steps(configuration(Path(dataset), settings), int(steps), processes)
        if processes.is_main:
            torch.save(result, out)


if __name__ == "__main__":
    main(sys.argv[1:])
