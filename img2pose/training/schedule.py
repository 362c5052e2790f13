"""How the learning rate changes, and when training stops early."""

from __future__ import annotations

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
    """

    def __init__(self, optimizer: Optimizer, config: OptimConfig, total_steps: int) -> None:
        self._optimizer = optimizer
        self._config = config
        self._total_steps = total_steps
        self._full_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._plateau = ReduceLROnPlateau(
            optimizer,
            factor=config.lr_plateau_factor,
            patience=config.lr_plateau_patience,
            threshold=config.lr_plateau_threshold,
            cooldown=config.lr_plateau_cooldown,
            min_lr=config.lr_plateau_min,
        )

    def share_of_full_rate(self, step: int) -> float:
        """What the warm-up and the linear decay leave of the rate at a step, counted from 0."""
        config = self._config
        share = 1.0
        if step < config.warmup_steps:
            share = (step + 1) / config.warmup_steps
        if config.schedule == "linear":
            decay_steps = max(1, round(self._total_steps * config.decay_fraction))
            share *= min(1.0, (self._total_steps - step) / decay_steps)
        return max(0.0, share)

    def before_step(self, step: int) -> None:
        """Sets the rates for a step, counted from 0 over the whole run."""
        config = self._config
        if config.schedule == "linear" or step <= config.warmup_steps:
            share = self.share_of_full_rate(step)
            for group, full in zip(self._optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = full * share

    def after_validation(self, loss: float) -> None:
        """Lets a plateau schedule see the validation loss."""
        if self._config.schedule == "plateau":
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"plateau": self._plateau.state_dict(), "full_rates": self._full_rates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self._plateau.load_state_dict(state["plateau"])
        self._full_rates = list(state["full_rates"])


class EarlyStop:
    """Counts validations without a better loss.

    Args:
        patience: That many are borne; 0 never stops.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best_loss = float("inf")
        self.without_improvement = 0

    def note(self, loss: float) -> None:
        """Counts a validation loss."""
        if loss < self.best_loss:
            self.best_loss = loss
            self.without_improvement = 0
        else:
            self.without_improvement += 1

    @property
    def should_stop(self) -> bool:
        """Whether patience is at its end."""
        return self.patience > 0 and self.without_improvement >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {
            "best_loss": self.best_loss,
            "without_improvement": self.without_improvement,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self.best_loss = float(state["best_loss"])
        self.without_improvement = int(state["without_improvement"])
