"""The demo, end to end with few pictures and steps: stopped, gone on with, done a second time."""

from __future__ import annotations

import json
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from PIL import Image

from img2pose.cli.commands import COMMANDS
from img2pose.cli.demo import main, next_commands
from img2pose.cli.demo_steps import DemoFolder, DemoSettings
from tests.settings import SMALL_MODEL

SCRIPTS = [
    "scripts/make_synthetic_dataset.py",
    "scripts/make_synthetic_dataset.py",
    "scripts/convert_json_list_to_lmdb.py",
    "train.py",
    "scripts/evaluate_landmarks.py",
    "scripts/predict.py",
    "scripts/render.py",
]


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """A demo of eight pictures and eight steps in this process."""
    config = tmp_path / "small.yaml"
    model = {**SMALL_MODEL, "min_size": [SMALL_MODEL["min_size"]]}
    optim = {"optimizer": "AdamW", "lr": 1e-3, "epochs": 5, "batch_size": 2}
    config.write_text(yaml.safe_dump({"model": model, "optim": optim}))
    counts = ["--count", "8", "--held_out", "5", "--epochs", "2", "--num_workers", "0"]
    return [*counts, "--config", str(config), "--output_path", str(tmp_path / "demo")]


@contextmanager
def interrupted_when_there(path: Path) -> Iterator[None]:
    """Ctrl-C as soon as a file is there."""
    given_up = threading.Event()

    def interrupt() -> None:
        while not given_up.is_set():
            if path.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.005)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        yield
    finally:
        given_up.set()
        watcher.join()


def commands_in(text: str) -> list[str]:
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def test_stopped_gone_on_with_and_done_again(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    with interrupted_when_there(folder / "train/images/000002.jpg"):
        assert main(flags) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert not (folder / "held_out").exists()

    with interrupted_when_there(folder / "training/run.json"):
        assert main(flags) == 130
    drawn = capsys.readouterr().out
    assert " reused), " in drawn and "-- draw pictures to train on: " in drawn
    assert not (folder / "training/best.pth").exists()

    assert main(flags) == 0
    told = capsys.readouterr().out
    assert "reused: all 8 pictures" in told
    assert "reused: the LMDB" in told
    assert "8 steps (" in told
    calls = commands_in(told)
    assert [shlex.split(call)[1] for call in calls] == SCRIPTS
    assert "--epochs 2" in calls[3]
    summary = json.loads((folder / "evaluation/summary.json").read_text())
    assert summary["command"] == calls[4]
    assert (summary["figures"]["pictures"], summary["figures"]["faces"] > 0) == (5, True)
    left_by_truth = summary["figures"]["landmark_error_of_truth_mean"]
    assert "the same for the true pose of a rigid head" in told
    assert f"{left_by_truth:.3f}" in told
    (sheet, *_) = sorted((folder / "rendered").glob("*_sheet.jpg"))
    assert str(sheet.parent) in told
    with Image.open(sheet) as picture:
        assert min(picture.size) > 300
    for place in ("training/best.pth", "evaluation/report.html", "lmdb/annotations.lmdb"):
        assert str(folder / place) in told and (folder / place).stat().st_size > 0

    made = ("train/images/000000.jpg", "lmdb/annotations.lmdb", "training/best.pth")
    before = {name: (folder / name).stat().st_mtime_ns for name in made}
    assert main([*flags, "--json"]) == 0
    streams = capsys.readouterr()
    results = json.loads(streams.out)
    assert commands_in(streams.err) == [step["command"] for step in results["steps"]] == calls
    assert [step["is_reused"] for step in results["steps"]] == [True] * 5 + [False] * 2
    assert all(step["done"].startswith("reused: ") for step in results["steps"][:5])
    assert results["figures"] == summary["figures"]
    assert before == {name: (folder / name).stat().st_mtime_ns for name in made}
    assert json.loads((folder / "demo.json").read_text())["results"] == results

    assert main([*flags, "--count", "9"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "count 8, now 9" in error and str(folder / "demo.json") in error


def test_what_to_do_next_are_calls_that_can_be_given(tmp_path: Path) -> None:
    settings = DemoSettings(800, 100, None, "configs/demo.yaml")
    commands = next_commands(DemoFolder(tmp_path), settings)
    assert len(commands) == 4
    for _, call in commands:
        _, script, *arguments = shlex.split(call)
        module = next(command.module for command in COMMANDS if command.script == script)
        parsed = import_module(module).build_parser().parse_args(arguments)
        assert str(tmp_path) in call
        if script == "train.py":
            assert (
                int(parsed.epochs)
                == 4 * yaml.safe_load(Path(settings.config).read_text())["optim"]["epochs"]
            )


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--count", "7"], "--count 7: give at least 8"),
        (["--held_out", "3"], "--held_out 3: give at least 4"),
        (["--epochs", "0"], "--epochs 0"),
        (["--num_workers", "-1"], "--num_workers -1"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: not found"),
        (["--output_path", "/proc/demo"], "/proc: cannot be written to"),
    ],
)
def test_bad_flags_are_told_in_one_line(
    extra: list[str],
    named: str,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*flags, *extra]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("error: ") and streams.err.count("\n") == 1
    assert named in streams.err
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_not_the_demos_stays_as_it_is(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "holiday.txt").write_text("mine")
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "holiday.txt" in error and "--output_path" in error
    assert [path.name for path in folder.iterdir()] == ["holiday.txt"]
    (folder / "demo.json").write_text('{"settings": []}')
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "demo.json: does not describe a demo" in error


def test_what_a_command_refuses_is_told_in_its_line(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that stands where a step's folder goes, in a demo that has begun."""
    folder = tmp_path / "demo"
    with interrupted_when_there(folder / "train/dataset.json"):
        assert main(flags) == 130
    capsys.readouterr()
    (folder / "held_out").write_text("in the way")
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(folder / "held_out") in error
