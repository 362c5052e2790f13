"""Kills runs at random moments and starts them again: they must end as if nothing had happened.

`python -m tests.training.kill_and_resume` prints the table of docs/training.md.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from img2pose.training.checkpoint import load_training_state
from tests.settings import SMALL_MODEL

SETTINGS = [f"model.{name}={value}" for name, value in SMALL_MODEL.items()]
SETTINGS += ["data.mosaic_max_side=1", "data.mosaic_canvas=96", "data.random_flip=true"]
# A plateau, an average and an early stop have states of their own.
SETTINGS += ["optim.optimizer=AdamW", "optim.lr=1e-3", "optim.schedule=plateau"]
SETTINGS += ["optim.ema_decay=0.9", "optim.early_stop_patience=50", "optim.lr_plateau_patience=1"]
# A checkpoint at every step makes it likely that one is being written.
SETTINGS += ["checkpoint_every_steps=1", "optim.batch_size=1"]
SETTINGS += ["data.workers=0"]


def command(dataset: Path, workspace: Path, extra: Sequence[str] = ()) -> list[str]:
    """`train.py` on a small dataset (`train.lmdb`, `val.lmdb`), in a process of its own."""
    root = Path(__file__).parents[2]
    flags = [sys.executable, str(root / "train.py"), "--workspace", str(workspace)]
    flags += ["--train_source", str(dataset / "train.lmdb"), "--device", "cpu", "--threads", "1"]
    flags += ["--val_source", str(dataset / "val.lmdb"), "--prefix", "run"]
    for setting in [*SETTINGS, *extra]:
        flags += ["--set", setting]
    return flags


def contents(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint by a name: weights, their average, the optimizer's state."""
    found: dict[str, torch.Tensor] = {}

    def collect(name: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                collect(f"{name}.{key}", item)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                collect(f"{name}.{index}", item)
        elif isinstance(value, int | float) and "config" not in name:
            found[name] = torch.tensor(float(value), dtype=torch.float64)

    collect("", torch.load(checkpoint, weights_only=True))
    return found


def differing(one: Path, two: Path) -> list[str]:
    """Names of what is not bit-identical in two checkpoints."""
    first, second = contents(one), contents(two)
    return [
        name
        for name in sorted(first.keys() | second.keys())
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    ]


def _identity(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def kill_at_random(arguments: list[str], folder: Path, moments: random.Random) -> None:
    """Starts a run and kills it (SIGKILL) a while after one of its first checkpoints.

    Every second time it is killed while it writes the next one.
    """
    to_see = moments.randint(0, 2)
    while_writing = moments.random() < 0.5
    delay = moments.uniform(0, 0.02 if while_writing else 0.3)
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        seen, before = 0, _identity(folder / "last.pth")
        while run.poll() is None:
            if (now := _identity(folder / "last.pth")) != before:
                seen, before = seen + 1, now
            is_writing = any(folder.glob(".last.*"))
            if seen >= to_see and (is_writing or (seen and not while_writing)):
                time.sleep(delay)
                break
            time.sleep(0.001)
        run.kill()


def moment(workspace: Path) -> str:
    """Where the last checkpoint stands, and whether another was being written."""
    folder = workspace / "run"
    unfinished = len(list(folder.glob(".*.part*"))) if folder.exists() else 0
    torn = f", {unfinished} file half written" if unfinished else ""
    if not (folder / "last.pth").exists():
        return f"before the first checkpoint{torn}"
    state = load_training_state(folder / "last.pth")
    return f"epoch {state.epoch + 1}, {state.samples_done} samples{torn}"


def main(dataset: Path, kills: int, seed: int = 0, epochs: int = 10) -> list[str]:
    """Runs the experiment and prints its table.

    Args:
        dataset: Folder with `train.lmdb` and `val.lmdb`.
        kills: How often the run is killed.
        seed: Of the moments.
        epochs: Of the run, four steps each.

    Returns:
        What differs from the uninterrupted run: nothing, if all is well.
    """
    moments = random.Random(seed)
    length = [f"optim.epochs={epochs}"]
    with tempfile.TemporaryDirectory() as scratch:
        whole, killed = Path(scratch) / "whole", Path(scratch) / "killed"
        subprocess.run(command(dataset, whole, length), check=True, capture_output=True)
        for kill in range(1, kills + 1):
            # How many processes read must not matter.
            workers = [f"data.workers={kill % 2}"]
            kill_at_random(command(dataset, killed, length + workers), killed / "run", moments)
            print(f"| {kill} | {kill % 2} | {moment(killed)} |")
        subprocess.run(command(dataset, killed, length), check=True, capture_output=True)
        found = []
        for name in ("last.pth", "best.pth"):
            found += differing(whole / "run" / name, killed / "run" / name)
        lines = [(p / "run" / "metrics.jsonl").read_text().count("\n") for p in (whole, killed)]
        if lines[0] != lines[1]:
            found.append(f"{lines[0]} and {lines[1]} lines of metrics")
        compared = len(contents(whole / "run" / "last.pth"))
        print(f"{compared} tensors and numbers of last.pth, and those of best.pth: ", end="")
        print("bit-identical" if not found else f"different: {', '.join(found)}")
        return found


if __name__ == "__main__":
    from tests.faces import make_face_dataset

    with tempfile.TemporaryDirectory() as made:
        raise SystemExit(len(main(make_face_dataset(Path(made)), kills=10)) > 0)
