"""What a run writes about itself, and what is left of it after a resume."""

from __future__ import annotations

import json
import math
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from img2pose.errors import InputError
from img2pose.training.logging import (
    METRICS_FILE,
    RunLog,
    RunningMean,
    StepClock,
    peak_memory_mib,
    read_metrics,
)


def write_run(folder: Path, steps: list[int], resume_at_step: int | None = None) -> bytes:
    """Logs a loss of 100 - step at each step; returns the metrics."""
    log = RunLog(folder, resume_at_step=resume_at_step)
    for step in steps:
        log.scalars("train", {"loss": 100.0 - step, "rate": 0.5}, step=step, epoch=step / 8)
    log.close()
    return (folder / METRICS_FILE).read_bytes()


def tensorboard_of(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_lines_and_tensorboard_hold_what_was_logged(tmp_path: Path) -> None:
    picture = np.zeros((4, 6, 3), dtype=np.uint8)
    picture[..., 0] = 200
    log = RunLog(tmp_path / "runs" / "first")
    log.scalars("train", {"loss": 2, "loss_points": np.float32(0.25)}, step=8, epoch=1.0)
    log.scalars("landmarks", {"recall_at_50": None, "faces": 3}, step=8, epoch=1.0)
    log.picture("faces", picture, step=8)
    # Written before the log is closed: the process may be killed.
    lines = (tmp_path / "runs" / "first" / METRICS_FILE).read_text().splitlines()
    log.close()
    first, second = (json.loads(line) for line in lines)
    assert first.pop("time") == pytest.approx(second.pop("time"), abs=10)
    assert first == {"group": "train", "step": 8, "epoch": 1.0, "loss": 2.0, "loss_points": 0.25}
    assert second == {
        "group": "landmarks",
        "step": 8,
        "epoch": 1.0,
        "recall_at_50": None,
        "faces": 3.0,
    }
    events = tensorboard_of(tmp_path / "runs" / "first")
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/loss_points", "landmarks/faces"}
    assert [(e.step, e.value) for e in events.Scalars("train/loss_points")] == [(8, 0.25)]
    image = events.Images("faces")[0]
    assert (image.step, image.width, image.height) == (8, 6, 4)


def test_read_metrics_returns_what_was_written(tmp_path: Path) -> None:
    text = write_run(tmp_path, [2, 4])
    lines = read_metrics(tmp_path / METRICS_FILE)
    assert b"".join(line.raw for line in lines) == text
    assert [(line.group, line.step, line.epoch) for line in lines] == [
        ("train", 2, 0.25),
        ("train", 4, 0.5),
    ]
    assert lines[1].values == {"loss": 96.0, "rate": 0.5}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_values_that_are_not_finite_are_null(tmp_path: Path, value: float) -> None:
    log = RunLog(tmp_path)
    log.scalars("train", {"loss": value, "rate": 1.0}, step=1, epoch=0.1)
    log.close()
    content = json.loads(
        (tmp_path / METRICS_FILE).read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert content["loss"] is None
    assert content["rate"] == 1.0
    assert math.isnan(read_metrics(tmp_path / METRICS_FILE)[0].values["loss"])
    assert not math.isfinite(tensorboard_of(tmp_path).Scalars("train/loss")[0].value)


def test_a_value_may_not_take_a_key_of_the_line(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    with pytest.raises(ValueError, match="step"):
        log.scalars("train", {"loss": 1.0, "step": 2.0}, step=1, epoch=0.1)
    log.close()
    assert (tmp_path / METRICS_FILE).read_bytes() == b""


@pytest.mark.parametrize("torn", [b"", b'{"group": "train", "st', b'{"group": "train", "step": 2}'])
def test_resume_keeps_lines_up_to_its_step_byte_for_byte(tmp_path: Path, torn: bytes) -> None:
    written = write_run(tmp_path, [2, 4, 6, 8]).splitlines(keepends=True)
    path = tmp_path / METRICS_FILE
    # Spaces are not how RunLog writes, and stay all the same.
    written[0] = written[0].replace(b"{", b"{  ")
    path.write_bytes(b"".join(written) + torn)
    resumed = write_run(tmp_path, [6], resume_at_step=4).splitlines(keepends=True)
    assert resumed[:2] == written[:2]
    assert json.loads(resumed[2])["step"] == 6
    assert len(resumed) == 3
    assert sorted(item.name for item in tmp_path.iterdir()) == [METRICS_FILE, "tensorboard"]


def test_tensorboard_forgets_what_a_resumed_run_logs_again(tmp_path: Path) -> None:
    write_run(tmp_path, [2, 4, 6, 8])
    log = RunLog(tmp_path, resume_at_step=4)
    log.scalars("train", {"loss": -6.0}, step=6, epoch=0.75)
    log.close()
    events = tensorboard_of(tmp_path).Scalars("train/loss")
    assert [(e.step, e.value) for e in events] == [(2, 98.0), (4, 96.0), (6, -6.0)]


def test_a_new_run_drops_what_a_former_one_left(tmp_path: Path) -> None:
    write_run(tmp_path, [0, 2, 4])
    lines = write_run(tmp_path, [1]).splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1]
    assert [e.step for e in tensorboard_of(tmp_path).Scalars("train/loss")] == [1]


def test_resume_in_another_folder_starts_with_no_lines(tmp_path: Path) -> None:
    lines = write_run(tmp_path / "other", [6], resume_at_step=4).splitlines()
    assert [json.loads(line)["step"] for line in lines] == [6]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"",
        b"\xff",
        b"[1]",
        b"[" * 100_000,
        b'{"step": 1, "epoch": 1}',
        b'{"group": "train", "epoch": 1}',
        b'{"group": "train", "step": 1.5, "epoch": 1}',
        b'{"group": "train", "step": 1}',
        b'{"group": "train", "step": 1, "epoch": 1, "loss": "low"}',
        b'{"group": "train", "step": 1, "epoch": 1, "loss": 1' + b"0" * 400 + b"}",
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_lost(tmp_path: Path, line: bytes) -> None:
    first, second = write_run(tmp_path, [2, 4]).splitlines()
    damaged = b"\n".join([first, line, second, b""])
    (tmp_path / METRICS_FILE).write_bytes(damaged)
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 2 "):
        RunLog(tmp_path, resume_at_step=4)
    assert (tmp_path / METRICS_FILE).read_bytes() == damaged


def test_running_mean_weighs_and_forgets() -> None:
    means = RunningMean()
    assert means.means() == {}
    for _ in range(3):
        means.add({"loss": 1.0})
    means.add({"loss": 5.0})
    assert means.means() == {"loss": 2.0}
    means.reset()
    assert means.means() == {}


def test_step_clock_knows_rate_and_wait() -> None:
    seconds = 10.0
    clock = StepClock(torch.device("cpu"), now=lambda: seconds)
    clock.waited(0.5)
    clock.stepped(4)
    clock.waited(1.5)
    clock.stepped(2)
    seconds = 18.0
    values = clock.values()
    assert values.pop("memory_mib") > 10
    assert values == {"images_per_second": 0.75, "data_wait_share": 0.25}
    clock.reset()
    clock.stepped(3)
    seconds = 20.0
    values = clock.values()
    assert (values["images_per_second"], values["data_wait_share"]) == (1.5, 0.0)


def test_step_clock_tells_zero_before_any_time_went_by() -> None:
    clock = StepClock(torch.device("cpu"), now=lambda: 1.0)
    clock.waited(0.0)
    values = clock.values()
    assert (values["images_per_second"], values["data_wait_share"]) == (0.0, 0.0)


@pytest.mark.parametrize(("platform", "mib"), [("linux", 3.0), ("darwin", 3.0 / 1024)])
def test_resident_memory_is_in_mib(
    monkeypatch: pytest.MonkeyPatch, platform: str, mib: float
) -> None:
    usage = SimpleNamespace(ru_maxrss=3 * 1024)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory_mib(torch.device("cpu")) == mib


def test_cuda_memory_is_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda", 1)
    asked = []

    def allocated(of: torch.device) -> int:
        asked.append(of)
        return 5 * 2**20

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", allocated)
    assert StepClock(device, now=lambda: 0.0).values()["memory_mib"] == 5.0
    assert asked == [device]
