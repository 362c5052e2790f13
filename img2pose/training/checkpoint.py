"""Checkpoints: a model that `load_model` reads, with the state that training continues from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from img2pose.errors import InputError, OutputError
from img2pose.files import replace_when_complete
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model, read_checkpoint


@dataclass
class TrainingState:
    """Where a run stands, between two steps. Its random draws depend on nothing else.

    Attributes:
        step: Optimizer steps that are done.
        epoch: Epochs that are complete, with their validation.
        samples_done: Pictures of the next epoch's order that are learnt from, by all processes.
        optimizer_name: Which optimizer it is.
        optimizer: State of the optimizer.
        trained: Names of the weights in its groups.
        schedule: State of the schedule.
        early_stop: State of the early stop.
        scaler: State of the loss scaling of float16; empty without.
        weights: The weights in training, if the checkpoint's model has their average.
        config: The run's configuration as plain values.
        continues: The `--resume_path` that the run began with.
    """

    step: int
    epoch: int
    samples_done: int
    optimizer_name: str
    optimizer: dict[str, Any]
    trained: list[list[str]]
    schedule: dict[str, Any]
    early_stop: dict[str, Any]
    scaler: dict[str, Any]
    weights: dict[str, Tensor] | None
    config: dict[str, Any]
    continues: str | None = None


def save_checkpoint(path: str | os.PathLike[str], model: Img2Pose, state: TrainingState) -> None:
    """Writes model and state, whole or not at all.

    Args:
        path: The checkpoint.
        model: Its weights, architecture, pose statistics and references are stored.
        state: See `TrainingState`.

    Raises:
        OutputError: The disk is full, for example; what was there before is untouched.
    """
    content = pack_model(model)
    content["training"] = vars(state)
    try:
        with replace_when_complete(path) as part, open(part, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        refusal = _refusal_of_the_disk(error)
        if refusal is None:
            raise
        kept = "the one before is whole" if Path(path).exists() else "there is none before it"
        raise OutputError(
            f"{path}: cannot be written ({refusal.strerror}); {kept}; make room and start the same"
            " command again"
        ) from error


def _refusal_of_the_disk(error: BaseException) -> OSError | None:
    # torch.save raises a RuntimeError of its own while it handles the one that matters.
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause


def load_training_state(path: str | os.PathLike[str]) -> TrainingState:
    """Reads the state a run continues from; the model itself is `load_model`'s.

    Raises:
        InputError: The file is no checkpoint or holds a model only.
    """
    content = read_checkpoint(path)
    try:
        return TrainingState(**content["training"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: holds no training state of this version; use --pretrained_path to start from"
            " its weights"
        ) from error
