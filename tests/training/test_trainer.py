from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torchvision.models import resnet18

from img2pose.config import ModelConfig, TrainConfig, config_from_mapping, read_config
from img2pose.errors import InputError
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.training import trainer as trainer_module
from img2pose.training.checkpoint import load_training_state
from img2pose.training.trainer import Trainer, build_optimizer, train
from tests.settings import SMALL_MODEL


def small_run(dataset: Path, workspace: Path, **overrides: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "workspace": str(workspace),
        "prefix": "run",
        "device": "cpu",
        "log_every_steps": 1,
        "data.train_source": str(dataset / "train.lmdb"),
        "data.val_source": str(dataset / "val.lmdb"),
        "data.workers": 0,
        "data.mosaic_max_side": 1,
        "data.mosaic_canvas": 96,
        "optim.optimizer": "AdamW",
        "optim.lr": 1e-3,
        "optim.epochs": 2,
        "optim.batch_size": 2,
        **{f"model.{name}": value for name, value in SMALL_MODEL.items()},
        **overrides,
    }
    return read_config(TrainConfig, None, values)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).state_dict()


def test_a_run_leaves_checkpoints_its_config_and_a_log(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path)
    best = train(config)
    folder = tmp_path / "run"
    assert best == folder / "best.pth"
    assert sorted(p.name for p in folder.iterdir()) == [
        "best.pth",
        "config.yaml",
        "last.pth",
        "tensorboard",
    ]
    stored = config_from_mapping(TrainConfig, yaml.safe_load((folder / "config.yaml").read_text()))
    assert stored == config
    assert any((folder / "tensorboard").iterdir())
    model = load_model(best)
    assert model.config.fpn_channels == SMALL_MODEL["fpn_channels"]
    state = load_training_state(folder / "last.pth")
    assert (state.epoch, state.step) == (2, 4)


def test_training_lowers_the_loss(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 8, "optim.lr": 2e-3})
    seen: list[float] = []
    original = Trainer._train_step

    def recording(self: Trainer, batch: Any) -> dict[str, float]:
        values = original(self, batch)
        seen.append(values["loss"])
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_train_step", recording)
        train(config)
    assert sum(seen[-4:]) < 0.6 * sum(seen[:4])


def test_the_same_run_gives_the_same_weights(face_dataset: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(small_run(face_dataset, tmp_path, prefix=name))
    one, two = weights_of(tmp_path / "one" / "last.pth"), weights_of(tmp_path / "two" / "last.pth")
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_resumed_run_ends_as_an_uninterrupted_one(face_dataset: Path, tmp_path: Path) -> None:
    whole = small_run(face_dataset, tmp_path, prefix="whole")
    train(whole)

    class StoppedError(Exception):
        pass

    original_save = Trainer.save
    resumed = small_run(face_dataset, tmp_path, prefix="resumed")

    def save_then_stop(self: Trainer, path: Path) -> None:
        original_save(self, path)
        if path.name == "last.pth":
            raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save", save_then_stop)
        with pytest.raises(StoppedError):
            train(resumed)
    last = tmp_path / "resumed" / "last.pth"
    assert load_training_state(last).epoch == 1
    train(resumed, resume_path=str(last))
    expected, found = weights_of(tmp_path / "whole" / "last.pth"), weights_of(last)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_ctrl_c_leaves_a_usable_checkpoint(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path)
    original = Trainer._train_step

    def interrupted(self: Trainer, batch: Any) -> dict[str, float]:
        if self.step == 1:
            raise KeyboardInterrupt
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    last = tmp_path / "run" / "last.pth"
    assert load_training_state(last).step == 1
    assert isinstance(load_model(last), Img2Pose)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    face_dataset: Path, tmp_path: Path
) -> None:
    config = small_run(face_dataset, tmp_path)
    kept: dict[str, torch.Tensor] = {}
    original = Trainer._train_step

    def poisoned(self: Trainer, batch: Any) -> dict[str, float]:
        self.model.roi_heads.pose_stddev.fill_(float("nan"))
        kept.update({n: v.clone() for n, v in self.model.state_dict().items()})
        try:
            return original(self, batch)
        finally:
            state = self.model.state_dict()
            assert all(torch.equal(value, state[name]) for name, value in kept.items())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_train_step", poisoned)
        with pytest.raises(FloatingPointError, match="not finite at step 1"):
            train(config)
    assert kept


def test_pretrained_weights_are_the_start(face_dataset: Path, tmp_path: Path) -> None:
    first = train(small_run(face_dataset, tmp_path, prefix="first"))
    config = small_run(
        face_dataset, tmp_path, prefix="second", pretrained_path=str(first), **{"optim.lr": 1e-12}
    )
    second = train(config)
    before, after = weights_of(first), weights_of(second)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_frozen_stages_are_not_optimized(small_model: Img2Pose) -> None:
    for parameter in small_model.backbone.body.layer1.parameters():
        parameter.requires_grad_(False)
    config = read_config(TrainConfig, None, {"optim.optimizer": "SGD"}).optim
    optimizer = build_optimizer(small_model, config)
    optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
    frozen = {id(p) for p in small_model.backbone.body.layer1.parameters()}
    assert not optimized & frozen
    assert optimizer.defaults["momentum"] == 0.9


def test_validation_chooses_the_best(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 3})
    losses = iter([3.0, 1.0, 2.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "validation_means", lambda *_: {"loss": next(losses)})
        train(config)
    assert load_training_state(tmp_path / "run" / "best.pth").epoch == 2


def test_early_stop_ends_the_run(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(
        face_dataset, tmp_path, **{"optim.epochs": 9, "optim.early_stop_patience": 2}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "validation_means", lambda *_: {"loss": 1.0})
        train(config)
    assert load_training_state(tmp_path / "run" / "last.pth").epoch == 3


def test_other_references_than_the_labels_are_refused(
    face_dataset: Path, tmp_path: Path, references: Any
) -> None:
    import numpy as np

    np.save(tmp_path / "p68.npy", references.points_68 * 1.1)
    np.save(tmp_path / "p5.npy", references.points_5 * 1.1)
    config = small_run(
        face_dataset,
        tmp_path,
        **{
            "data.threed_68_points": str(tmp_path / "p68.npy"),
            "data.threed_5_points": str(tmp_path / "p5.npy"),
        },
    )
    with pytest.raises(InputError, match=r"train\.lmdb.*reference points"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 1})
    train(config)
    with pytest.raises(InputError, match="resume_path"):
        train(config)


def test_plateau_needs_validation(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.schedule": "plateau"})
    data = dataclasses.replace(config.data, val_source=None)
    with pytest.raises(InputError, match="val_source"):
        train(dataclasses.replace(config, data=data))


def test_resuming_needs_no_architecture_and_keeps_frozen_stages(
    face_dataset: Path, tmp_path: Path
) -> None:
    # A run that began with downloaded weights; the transfer is kept from the network.
    pretrained = {"model.pretrained_backbone": True, "model.norm": "frozen_bn"}
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 1, **pretrained})
    with pytest.MonkeyPatch.context() as patch:
        weights = resnet18().state_dict()
        patch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: weights)
        train(config)
    last = tmp_path / "run" / "last.pth"
    optim = dataclasses.replace(config.optim, epochs=2)
    plain = dataclasses.replace(config, model=ModelConfig(), optim=optim)
    train(plain, resume_path=str(last))
    assert load_training_state(last).epoch == 2
    model = load_model(last)
    assert not model.backbone.body.conv1.weight.requires_grad
    assert torch.equal(model.backbone.body.conv1.weight, weights["conv1.weight"])


def test_resuming_refuses_another_run_or_optimizer(face_dataset: Path, tmp_path: Path) -> None:
    first = small_run(face_dataset, tmp_path, prefix="first", **{"optim.epochs": 1})
    second = small_run(face_dataset, tmp_path, prefix="second", **{"optim.epochs": 1})
    train(first)
    train(second)
    last = str(tmp_path / "first" / "last.pth")
    with pytest.raises(InputError, match="second"):
        train(second, resume_path=last)
    optim = dataclasses.replace(first.optim, optimizer="SGD")
    with pytest.raises(InputError, match="AdamW"):
        train(dataclasses.replace(first, optim=optim), resume_path=last)


def test_a_lost_best_checkpoint_is_made_again(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 1})
    best = train(config)
    best.unlink()
    assert train(config, resume_path=str(tmp_path / "run" / "last.pth")).exists()
