from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.config import OptimConfig
from img2pose.training.schedule import EarlyStop, LearningRateSchedule

NAN = float("nan")


def schedule_of(
    config: OptimConfig, steps: int = 100, *, higher_is_better: bool = False
) -> tuple[torch.optim.Optimizer, LearningRateSchedule]:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    # The second group has half the rate, always.
    groups: list[dict[str, Any]] = [
        {"params": weights[:1]},
        {"params": weights[1:], "lr": config.lr / 2},
    ]
    optimizer = torch.optim.SGD(groups, lr=config.lr)
    return optimizer, LearningRateSchedule(
        optimizer, config, steps, higher_is_better=higher_is_better
    )


def rate_of(optimizer: torch.optim.Optimizer) -> float:
    first, second = (group["lr"] for group in optimizer.param_groups)
    assert second == pytest.approx(first / 2)
    return float(first)


def rates(config: OptimConfig, steps: int) -> list[float]:
    optimizer, schedule = schedule_of(config, steps)
    seen = []
    for step in range(steps):
        schedule.before_step(step)
        seen.append(rate_of(optimizer))
        optimizer.step()
    return seen


def test_warm_up_rises_to_the_full_rate_and_stays() -> None:
    seen = rates(OptimConfig(lr=1.0, warmup_steps=4), 8)
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1])


def test_linear_decay_takes_the_last_share() -> None:
    seen = rates(OptimConfig(lr=1.0, schedule="linear", decay_fraction=0.4), 10)
    assert seen == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_cosine_by_hand() -> None:
    seen = rates(OptimConfig(lr=2.0, schedule="cosine", warmup_steps=2), 6)
    half_root = math.sqrt(0.5)
    assert seen == pytest.approx([1, 2, 2, 1 + half_root, 1, 1 - half_root])


@given(st.integers(0, 50), st.integers(1, 150))
@settings(deadline=None)
def test_cosine_is_full_after_the_warm_up_half_in_the_middle_and_ends_near_zero(
    warmup_steps: int, half: int
) -> None:
    config = OptimConfig(lr=1.0, schedule="cosine", warmup_steps=warmup_steps)
    seen = rates(config, warmup_steps + 2 * half)
    rising, falling = seen[:warmup_steps], seen[warmup_steps:]
    assert all(b > a for a, b in pairwise(rising))
    assert all(b < a for a, b in pairwise(falling))
    assert falling[0] == 1
    assert falling[half] == pytest.approx(0.5)
    # One step from the end of half a wave: (1 - cos x) / 2 <= x^2 / 4.
    assert 0 < falling[-1] <= (math.pi / (2 * half)) ** 2 / 4 + 1e-12


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    for schedule in ("cosine", "constant", "plateau"):
        seen = rates(OptimConfig(lr=1.0, schedule=schedule, warmup_steps=10), 4)
        assert seen == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(("first", "best"), [(5.0, 4.0), (0.4, 0.5)])
def test_plateau_waits_for_its_patience_and_cooldown(first: float, best: float) -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=1)
    optimizer, schedule = schedule_of(config, higher_is_better=best > first)
    seen = []
    for figure in (first, *[best] * 6):
        schedule.after_validation(figure, step=9)
        seen.append(rate_of(optimizer))
    assert seen == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_plateau_of_a_figure_that_should_rise_leaves_one_that_does() -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=0)
    for higher_is_better, expected in ((True, 1.0), (False, 0.01)):
        optimizer, schedule = schedule_of(config, higher_is_better=higher_is_better)
        for figure in (0.1, 0.3, 0.5, 0.7):
            schedule.after_validation(figure, step=9)
        assert rate_of(optimizer) == pytest.approx(expected)


def test_a_figure_that_is_no_number_is_no_improvement_for_the_plateau() -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=1)
    optimizer, schedule = schedule_of(config)
    for figure in (4.0, NAN, NAN):
        schedule.after_validation(figure, step=9)
    assert rate_of(optimizer) == pytest.approx(0.1)


def test_what_a_plateau_took_stays_taken_in_later_steps() -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=0, warmup_steps=2)
    optimizer, schedule = schedule_of(config)
    for step in range(5):
        schedule.before_step(step)
    for _ in range(2):
        schedule.after_validation(1.0, step=9)
    schedule.before_step(5)
    assert rate_of(optimizer) == pytest.approx(0.1)


def test_others_than_the_plateau_ignore_validation() -> None:
    for name in ("constant", "linear", "cosine"):
        optimizer, schedule = schedule_of(OptimConfig(lr=1.0, schedule=name))
        for _ in range(20):
            schedule.after_validation(1.0, step=9)
        assert rate_of(optimizer) == 1.0


def test_state_of_the_plateau_comes_back() -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=1)
    _, first = schedule_of(config)
    for loss in (4, 4):
        first.after_validation(loss, step=9)
    optimizer, second = schedule_of(config)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    second.after_validation(4, step=9)
    assert rate_of(optimizer) == pytest.approx(0.1)


def test_full_rates_are_the_new_settings_and_what_a_plateau_took_stays_off() -> None:
    optimizer, first = schedule_of(OptimConfig(lr=3.0, schedule="cosine"), 10)
    optimizer, second = schedule_of(OptimConfig(lr=1.0, schedule="cosine"), 10)
    second.load_state_dict(first.state_dict())
    second.before_step(5)
    assert rate_of(optimizer) == pytest.approx(0.5)
    config = OptimConfig(lr=3.0, schedule="plateau", lr_plateau_patience=0)
    before, first = schedule_of(config)
    for _ in range(2):
        first.after_validation(1.0, step=9)
    optimizer, second = schedule_of(OptimConfig(lr=1.0, schedule="plateau"))
    optimizer.load_state_dict(before.state_dict())
    second.load_state_dict(first.state_dict(), same_figure=False)
    assert rate_of(optimizer) == pytest.approx(0.1)
    assert second.state_dict()["plateau"]["best"] == math.inf


def test_a_plateau_within_the_warm_up_is_none() -> None:
    config = OptimConfig(lr=1.0, schedule="plateau", lr_plateau_patience=0, warmup_steps=5)
    optimizer, schedule = schedule_of(config)
    for step in range(1, 9):
        schedule.before_step(step - 1)
        schedule.after_validation(1.0, step)
        if step <= 6:
            assert rate_of(optimizer) == pytest.approx(min(1, step / 5))
    # Seen from the sixth step on: the first figure, one without improvement, the next in cooldown.
    assert rate_of(optimizer) == pytest.approx(0.1)


@given(st.lists(st.floats(-9, 9) | st.just(NAN), max_size=12), st.booleans(), st.integers(1, 4))
@settings(deadline=None)
def test_early_stop_keeps_the_best_and_counts_since(
    figures: list[float], higher_is_better: bool, patience: int
) -> None:
    stop = EarlyStop(patience, higher_is_better=higher_is_better)
    for figure in figures:
        stop.note(figure)
    numbers = [figure for figure in figures if not math.isnan(figure)]
    best = (max if higher_is_better else min)(numbers, default=None)
    assert stop.best == best
    # Equally good is no improvement, so the first of the best counts.
    since = len(figures) if best is None else len(figures) - 1 - figures.index(best)
    assert stop.without_improvement == since
    assert stop.should_stop == (since >= patience)
    other = EarlyStop(patience, higher_is_better=higher_is_better)
    other.load_state_dict(stop.state_dict())
    assert vars(other) == vars(stop)


def test_no_number_is_never_the_best() -> None:
    stop = EarlyStop(1)
    assert not stop.is_better(NAN)
    stop.note(NAN)
    assert stop.best is None
    assert stop.is_better(math.inf)
    stop.note(1.0)
    assert not stop.is_better(NAN)
    assert not stop.is_better(1.0)
    assert stop.is_better(0.5)


def test_asking_changes_nothing_and_patience_zero_never_stops() -> None:
    stop = EarlyStop(0)
    for _ in range(20):
        assert stop.is_better(1.0)
    assert stop.best is None
    for _ in range(20):
        stop.note(1.0)
    assert not stop.should_stop
