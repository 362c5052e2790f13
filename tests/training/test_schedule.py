from __future__ import annotations

import pytest
import torch

from img2pose.config import OptimConfig
from img2pose.training.schedule import EarlyStop, LearningRateSchedule


def rates(config: OptimConfig, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    schedule = LearningRateSchedule(optimizer, config, steps)
    seen = []
    for step in range(steps):
        schedule.before_step(step)
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
    return seen


def test_warm_up_rises_to_the_full_rate_and_stays() -> None:
    seen = rates(OptimConfig(lr=1.0, warmup_steps=4), 8)
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1])


def test_linear_decay_takes_the_last_share() -> None:
    seen = rates(OptimConfig(lr=1.0, schedule="linear", decay_fraction=0.4), 10)
    assert seen == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_plateau_waits_for_its_patience_and_cooldown() -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = LearningRateSchedule(optimizer, config, 100)
    seen = []
    for loss in (5, 4, 4, 4, 4, 4, 4):
        schedule.after_validation(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_constant_ignores_the_validation_loss() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = LearningRateSchedule(optimizer, OptimConfig(lr=1.0), 100)
    for _ in range(20):
        schedule.after_validation(1.0)
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_state_of_the_plateau_comes_back() -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    first = LearningRateSchedule(optimizer, config, 100)
    for loss in (4, 4):
        first.after_validation(loss)
    second = LearningRateSchedule(optimizer, config, 100)
    second.load_state_dict(first.state_dict())
    second.after_validation(4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_early_stop() -> None:
    stop = EarlyStop(2)
    for loss in (3.0, 3.0):
        stop.note(loss)
    assert not stop.should_stop
    stop.note(2.0)
    assert stop.best_loss == 2.0
    for loss in (2.5, float("nan")):
        stop.note(loss)
    assert stop.should_stop
    other = EarlyStop(2)
    other.load_state_dict(stop.state_dict())
    assert other.should_stop
    assert not EarlyStop(0).should_stop
