"""Checkpoints: a model that `load_model` reads, with the state that training continues from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from img2pose.errors import InputError
from img2pose.files import replace_when_complete
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import pack_model, read_checkpoint


@dataclass
class TrainingState:
    """Where a run stands.

    Attributes:
        epoch: Epochs that are complete.
        step: Steps that are done.
        optimizer_name: Which optimizer it is.
        optimizer: State of the optimizer.
        schedule: State of the schedule.
        early_stop: State of the early stop.
        torch_random_state: State of torch's generator.
    """

    epoch: int
    step: int
    optimizer_name: str
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    early_stop: dict[str, Any]
    torch_random_state: torch.Tensor


def save_checkpoint(
    path: str | os.PathLike[str], model: Img2Pose, state: TrainingState, config: dict[str, Any]
) -> None:
    """Writes model and state, whole or not at all.

    Args:
        path: The checkpoint.
        model: Its weights, architecture, pose statistics and references are stored.
        state: See `TrainingState`.
        config: The run's configuration as plain values.
    """
    content = pack_model(model)
    content["training"] = {**vars(state), "config": config}
    with replace_when_complete(path) as part:
        torch.save(content, part)


def load_training_state(path: str | os.PathLike[str]) -> TrainingState:
    """Reads the state a run continues from; the model itself is `load_model`'s.

    Raises:
        InputError: The file is no checkpoint or holds a model only.
    """
    content = read_checkpoint(path)
    try:
        stored = dict(content["training"])
        stored.pop("config")
        return TrainingState(**stored)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: holds no training state; use --pretrained_path to start from its weights"
        ) from error
