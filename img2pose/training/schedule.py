"""How the learning rate changes, which weights are the best, and when training stops early."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from img2pose.config import OptimConfig


class LearningRateSchedule:
    """Sets the rate of every parameter group: warm-up, then the configured course.

    Args:
        optimizer: Its groups' rates are the full ones.
        config: See `OptimConfig`.
        total_steps: Steps of the whole run.
        higher_is_better: What kind of figure `after_validation` is given.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        config: OptimConfig,
        total_steps: int,
        *,
        higher_is_better: bool = False,
    ) -> None:
        self._optimizer = optimizer
        self._config = config
        self._total_steps = total_steps
        self._full_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._plateau = ReduceLROnPlateau(
            optimizer,
            mode="max" if higher_is_better else "min",
            factor=config.lr_plateau_factor,
            patience=config.lr_plateau_patience,
            threshold=config.lr_plateau_threshold,
            cooldown=config.lr_plateau_cooldown,
            min_lr=config.lr_plateau_min,
        )

    def share_of_full_rate(self, step: int) -> float:
        """What warm-up and decay leave of the rate at a step, counted from 0."""
        config = self._config
        share = 1.0
        if step < config.warmup_steps:
            share = (step + 1) / config.warmup_steps
        if config.schedule == "linear":
            decay_steps = max(1, round(self._total_steps * config.decay_fraction))
            share *= min(1.0, (self._total_steps - step) / decay_steps)
        elif config.schedule == "cosine" and step >= config.warmup_steps:
            decay_steps = max(1, self._total_steps - config.warmup_steps)
            share = (1 + math.cos(math.pi * (step - config.warmup_steps) / decay_steps)) / 2
        return max(0.0, share)

    def before_step(self, step: int) -> None:
        """Sets the rates for a step, counted from 0 over the whole run."""
        config = self._config
        if config.schedule in ("linear", "cosine") or step <= config.warmup_steps:
            share = self.share_of_full_rate(step)
            for group, full in zip(self._optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = full * share

    def after_validation(self, figure: float, step: int) -> None:
        """Lets a plateau schedule see what validation gave, once the warm-up is over.

        Args:
            figure: What it gave.
            step: Steps that were taken.
        """
        if self._config.schedule == "plateau" and step > self._config.warmup_steps:
            self._plateau.step(figure)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"plateau": self._plateau.state_dict(), "full_rates": self._full_rates}

    def load_state_dict(self, state: dict[str, Any], *, same_figure: bool = True) -> None:
        """Continues where `state_dict` was taken, after the optimizer did.

        Full rates are the configuration's; what a plateau has taken off them stays off.

        Args:
            state: Of `state_dict`.
            same_figure: Whether `after_validation` is given the figure that it was given then.
        """
        rates = zip(
            self._optimizer.param_groups, self._full_rates, state["full_rates"], strict=True
        )
        for group, now, before in rates:
            if now != before:
                group["lr"] *= now / before
        if same_figure:
            seen = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
            self._plateau.load_state_dict({name: state["plateau"][name] for name in seen})


class EarlyStop:
    """Keeps the best figure of validation and counts those without a better one.

    Args:
        patience: That many are borne; 0 never stops.
        higher_is_better: What kind of figure it is.
    """

    def __init__(self, patience: int, *, higher_is_better: bool = False) -> None:
        self.patience = patience
        self.higher_is_better = higher_is_better
        self.best: float | None = None
        self.without_improvement = 0

    def is_better(self, figure: float) -> bool:
        """Whether a figure is the best so far; one that is no number never is."""
        if math.isnan(figure):
            return False
        if self.best is None:
            return True
        return figure > self.best if self.higher_is_better else figure < self.best

    def note(self, figure: float) -> None:
        """Counts a figure."""
        if self.is_better(figure):
            self.best = figure
            self.without_improvement = 0
        else:
            self.without_improvement += 1

    @property
    def should_stop(self) -> bool:
        """Whether patience is at its end."""
        return self.patience > 0 and self.without_improvement >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"best": self.best, "without_improvement": self.without_improvement}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self.best = None if state["best"] is None else float(state["best"])
        self.without_improvement = int(state["without_improvement"])
