"""Checkpoints are whole, or are not there."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from img2pose.errors import InputError, OutputError
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model, pack_model
from img2pose.training.checkpoint import TrainingState, load_training_state, save_checkpoint


def state_of(model: Img2Pose, **changed: Any) -> TrainingState:
    parameters = list(model.parameters())[:2]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    state = TrainingState(
        step=9,
        trained=[["a", "b"]],
        epoch=3,
        samples_done=8,
        optimizer_name="AdamW",
        optimizer=optimizer.state_dict(),
        schedule={"full_rates": [0.1]},
        early_stop={"best": None, "without_improvement": 2},
        scaler={},
        weights=None,
        config={"optim": {"lr": 0.1, "frozen": ["rpn"]}},
    )
    return dataclasses.replace(state, **changed)


@contextmanager
def disk_that_takes(most_bytes: int) -> Iterator[None]:
    """No file may grow larger, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_model_and_state_come_back(small_model: Img2Pose, tmp_path: Path) -> None:
    weights = {name: value + 1 for name, value in small_model.state_dict().items()}
    state = state_of(small_model, weights=weights)
    path = tmp_path / "new" / "last.pth"
    save_checkpoint(path, small_model, state)
    found = load_training_state(path)
    for name, value in vars(state).items():
        if name not in ("optimizer", "weights"):
            assert getattr(found, name) == value
    assert found.weights is not None
    assert found.weights.keys() == weights.keys()
    assert all(torch.equal(found.weights[name], value) for name, value in weights.items())
    assert found.optimizer["param_groups"] == state.optimizer["param_groups"]
    for key, moments in state.optimizer["state"].items():
        assert all(torch.equal(found.optimizer["state"][key][n], m) for n, m in moments.items())
    # The model is what is evaluated, whatever the weights in training.
    model = load_model(path)
    assert model.config == small_model.config
    for name, value in small_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.parametrize("most_bytes", [0, 100, 100_000, 1_000_000])
def test_a_full_disk_leaves_the_checkpoint_before(
    small_model: Img2Pose, tmp_path: Path, most_bytes: int
) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, small_model, state_of(small_model))
    before = path.read_bytes()
    assert len(before) > 1_000_000
    with (
        disk_that_takes(most_bytes),
        pytest.raises(OutputError, match=r"last\.pth: cannot be written .* is whole") as error,
    ):
        save_checkpoint(path, small_model, state_of(small_model, epoch=4))
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    # With room, the same run goes on.
    save_checkpoint(path, small_model, state_of(small_model, epoch=4))
    assert load_training_state(path).epoch == 4


def test_a_full_disk_leaves_nothing_of_the_first_checkpoint(
    small_model: Img2Pose, tmp_path: Path
) -> None:
    path = tmp_path / "last.pth"
    with disk_that_takes(1000), pytest.raises(OutputError, match="none before it"):
        save_checkpoint(path, small_model, state_of(small_model))
    assert list(tmp_path.iterdir()) == []


class Unpicklable:
    """Fails as torch itself may, for no fault of the disk."""

    def __reduce__(self) -> Any:
        raise RuntimeError("not the disk's")


def test_other_errors_are_not_taken_for_the_disks(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, small_model, state_of(small_model))
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="not the disk's") as error:
        save_checkpoint(path, small_model, state_of(small_model, config={"x": Unpicklable()}))
    assert not isinstance(error.value, OutputError)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_alone_is_nothing_to_continue_from(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(pack_model(small_model), path)
    with pytest.raises(InputError, match=r"model\.pth: .*--pretrained_path"):
        load_training_state(path)


def test_a_state_of_another_version_is_refused(small_model: Img2Pose, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    save_checkpoint(path, small_model, state_of(small_model))
    content = torch.load(path, weights_only=True)
    content["training"]["step"] = content["training"].pop("samples_done")
    torch.save(content, path)
    with pytest.raises(InputError, match=r"old\.pth: .*this version"):
        load_training_state(path)
