"""Whole runs on a small data set: what they leave, how they stop, how they go on."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pytest
import torch
import yaml
from torchvision.models import resnet18

from img2pose.config import ModelConfig, TrainConfig, config_from_mapping, read_config
from img2pose.errors import InputError, OutputError
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.training.checkpoint import load_training_state
from img2pose.training.optimizer import build_optimizer
from img2pose.training.run import StoppedError, train
from img2pose.training.run_folder import RunFolder
from img2pose.training.trainer import NotFiniteError, Trainer
from img2pose.training.validation import Validation
from img2pose.types import PoseStats
from img2pose.versions import package_versions
from tests.settings import SMALL_MODEL
from tests.training import kill_and_resume


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
        "metrics.jsonl",
        "run.json",
        "tensorboard",
    ]
    stored = config_from_mapping(TrainConfig, yaml.safe_load((folder / "config.yaml").read_text()))
    assert stored == config
    assert any((folder / "tensorboard").iterdir())
    model = load_model(best)
    assert model.config.fpn_channels == SMALL_MODEL["fpn_channels"]
    state = load_training_state(folder / "last.pth")
    assert (state.epoch, state.samples_done) == (2, 0)
    start = json.loads((folder / "run.json").read_text())["starts"][0]
    assert start["versions"] == package_versions()


def metrics_of(folder: Path, group: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


def test_training_lowers_the_loss(face_dataset: Path, tmp_path: Path) -> None:
    train(small_run(face_dataset, tmp_path, **{"optim.epochs": 8, "optim.lr": 2e-3}))
    steps = metrics_of(tmp_path / "run", "train")
    assert [step["step"] for step in steps] == list(range(1, 17))
    losses = [step["loss"] for step in steps]
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])
    assert all(0 <= step["data_wait_share"] <= 1 for step in steps)
    assert all(step["gradient_norm"] > 0 and step["images_per_second"] > 0 for step in steps)


def test_the_same_run_gives_the_same_weights(face_dataset: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(small_run(face_dataset, tmp_path, prefix=name))
    one, two = weights_of(tmp_path / "one" / "last.pth"), weights_of(tmp_path / "two" / "last.pth")
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("kills", "epochs"),
    [(1, 4), pytest.param(10, 10, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_a_killed_run_ends_as_an_uninterrupted_one(
    face_dataset: Path, kills: int, epochs: int
) -> None:
    assert kill_and_resume.main(face_dataset, kills, seed=kills, epochs=epochs) == []


def test_a_stopped_run_goes_on_with_the_same_command(
    face_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = {"optim.epochs": 8, "optim.schedule": "cosine", "checkpoint_every_steps": 0}
    epochs |= {"optim.batch_size": 1, "validate_every_epochs": 8, "optim.optimizer": "SGD"}
    whole = small_run(face_dataset, tmp_path, prefix="whole", **epochs)
    train(whole)
    stopped = small_run(face_dataset, tmp_path, prefix="stopped", **epochs)
    take_step = Trainer._take_step
    for number in (signal.SIGINT, signal.SIGTERM):
        steps = itertools.count()

        def step_with_signal(*given: Any, number: int = number, steps: Any = steps) -> Any:
            # In the second step of a start, however fast the machine is; one more is taken.
            if next(steps) == 1:
                os.kill(os.getpid(), number)
            return take_step(*given)

        with monkeypatch.context() as patched, pytest.raises(StoppedError) as caught:
            patched.setattr(Trainer, "_take_step", step_with_signal)
            train(stopped)
        assert caught.value.signal == number
    train(stopped)
    names = ("whole", "stopped")
    expected, found = (weights_of(tmp_path / name / "last.pth") for name in names)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    starts = json.loads((tmp_path / "stopped" / "run.json").read_text())["starts"]
    assert len(starts) == 3
    assert [start["at_step"] for start in starts] == [0, 3, 6]
    steps = [line["step"] for line in metrics_of(tmp_path / "stopped", "train")]
    assert steps == list(range(1, 33))


def test_a_complete_run_is_left_as_it_is(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 1})
    before = train(config).read_bytes()
    assert train(config).read_bytes() == before


def test_a_run_gets_more_epochs_when_asked_to_go_on(face_dataset: Path, tmp_path: Path) -> None:
    train(small_run(face_dataset, tmp_path, **{"optim.epochs": 1}))
    longer = small_run(face_dataset, tmp_path, **{"optim.epochs": 2, "data.workers": 1})
    last = tmp_path / "run" / "last.pth"
    with pytest.raises(InputError, match=r"\(optim\.epochs 1, now 2\)"):
        train(longer)
    train(longer, resume_path=str(last))
    assert load_training_state(last).epoch == 2
    # Another figure to steer by begins anew.
    other = dataclasses.replace(
        longer,
        evaluators=("landmarks",),
        monitor="landmarks/recall_at_50",
        data=dataclasses.replace(longer.data, workers=0),
        optim=dataclasses.replace(longer.optim, epochs=3),
    )
    train(other, resume_path=str(last))
    assert load_training_state(last).early_stop == {"best": 0.0, "without_improvement": 0}
    frozen = dataclasses.replace(
        other, optim=dataclasses.replace(other.optim, epochs=4, decay_norms_and_biases=False)
    )
    with pytest.raises(InputError, match="decay_norms_and_biases"):
        train(frozen, resume_path=str(last))


class PoisonedModel(Img2Pose):
    """Its losses are not finite from the third batch on."""

    batches = 0

    def loss_terms(self, *args: Any) -> Any:
        self.batches += 1
        if self.batches == 3:
            self.roi_heads.pose_stddev.fill_(float("nan"))
        return super().loss_terms(*args)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    face_dataset: Path, tmp_path: Path
) -> None:
    config = small_run(face_dataset, tmp_path, checkpoint_every_steps=1, validate_every_epochs=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("img2pose.training.run.Img2Pose", PoisonedModel)
        with pytest.raises(NotFiniteError, match="not finite at step 3"):
            train(config)
    folder = tmp_path / "run"
    note = json.loads((folder / "not_finite_step_000003.json").read_text())
    assert note["values"]["loss"] == "nan"
    assert len(note["records"]) == 2
    assert all(record == [str(int(record[0]))] for record in note["records"])
    # What is kept is what the second step left; it goes on from there.
    assert load_training_state(folder / "last.pth").epoch == 1
    weights = weights_of(folder / "last.pth")
    assert all(torch.isfinite(value).all() for value in weights.values())
    train(config)


def test_a_full_disk_leaves_the_checkpoint_before(face_dataset: Path, tmp_path: Path) -> None:
    command = kill_and_resume.command(face_dataset, tmp_path, ["optim.epochs=1"])
    subprocess.run(command, check=True, capture_output=True)
    last = tmp_path / "run" / "last.pth"
    before = last.read_bytes()
    # No file may grow larger than a hundred blocks of 1 KiB; as on a full disk, writing fails.
    longer = " ".join([*command, "--set", "optim.epochs=2", "--resume_path", str(last)])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 100; {longer}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "last.pth" in errors[0]
    assert "make room" in errors[0]
    assert "Traceback" not in done.stderr
    assert last.read_bytes() == before
    assert not list(last.parent.glob(".*.part*"))


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


def with_validation_losses(losses: Iterable[float]) -> Any:
    """Stands in for what validation finds, which no real run would give in a wanted order."""
    remaining = iter(losses)
    patch = pytest.MonkeyPatch()
    found = lambda *_: {"validation": {"loss": next(remaining)}}  # noqa: E731
    patch.setattr(Validation, "figures", found)
    return patch


def test_validation_chooses_the_best(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 3, "keep_every_epochs": 2})
    patch = with_validation_losses([3.0, 1.0, 2.0])
    try:
        train(config)
    finally:
        patch.undo()
    folder = tmp_path / "run"
    assert load_training_state(folder / "best.pth").epoch == 2
    kept = weights_of(folder / "epoch_0002.pth")
    assert all(torch.equal(v, kept[n]) for n, v in weights_of(folder / "best.pth").items())
    assert not (folder / "epoch_0003.pth").exists()


def test_early_stop_ends_the_run(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(
        face_dataset, tmp_path, **{"optim.epochs": 9, "optim.early_stop_patience": 2}
    )
    patch = with_validation_losses([1.0] * 9)
    try:
        train(config)
    finally:
        patch.undo()
    assert load_training_state(tmp_path / "run" / "last.pth").epoch == 3


def test_an_evaluator_steers_the_best_and_the_early_stop(
    face_dataset: Path, tmp_path: Path
) -> None:
    # With no rate nothing changes: the first is the best, and patience ends.
    settings = {"evaluators": "landmarks", "monitor": "landmarks/recall_at_50", "optim.lr": 1e-12}
    settings |= {"optim.epochs": 9, "optim.early_stop_patience": 2, "sheet_pictures": 2}
    best = train(small_run(face_dataset, tmp_path, **settings))
    assert load_training_state(best).epoch == 1
    assert load_training_state(best).early_stop == {"best": 0.0, "without_improvement": 0}
    assert load_training_state(tmp_path / "run" / "last.pth").epoch == 3
    figures = metrics_of(tmp_path / "run", "landmarks")
    assert [line["epoch"] for line in figures] == [1, 2, 3]
    assert all(line["recall_at_50"] == 0 for line in figures)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"evaluators": "landmark"}, "landmarks"),
        ({"monitor": "landmarks/recall_at_50"}, "recall_at_50"),
        ({"evaluators": "landmarks", "monitor": "landmarks/recall"}, "recall_at_50"),
        ({"optim.frozen": "backbon"}, "backbone"),
        ({"optim.batch_size": 5}, "batch_size"),
        ({"optim.accumulation_steps": 3}, "batch_size"),
    ],
)
def test_a_setting_without_meaning_is_refused(
    face_dataset: Path, tmp_path: Path, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        train(small_run(face_dataset, tmp_path, **settings))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"optim.precision": "bfloat16"},
        pytest.param({"optim.precision": "float16"}, marks=pytest.mark.slow),
        {"optim.channels_last": True, "optim.ema_decay": 0.9},
        {"optim.schedule": "cosine", "optim.warmup_steps": 2, "optim.lr_batch_size": 8},
        {"optim.decay_norms_and_biases": False, "optim.frozen": "backbone.body,rpn.head"},
    ],
)
def test_each_way_of_training_trains_and_goes_on(
    face_dataset: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    settings = {"optim.epochs": 4, "optim.lr": 3e-3, "optim.batch_size": 1, **settings}
    settings |= {"validate_every_epochs": 4}
    whole = small_run(face_dataset, tmp_path, prefix="whole", **settings)
    train(whole)
    losses = [line["loss"] for line in metrics_of(tmp_path / "whole", "train")]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    halves = {"prefix": "halves", "keep_every_epochs": 2, **settings}
    train(small_run(face_dataset, tmp_path, **halves))
    folder = tmp_path / "halves"
    # As if it had been killed after the second epoch.
    (folder / "epoch_0002.pth").replace(folder / "last.pth")
    train(small_run(face_dataset, tmp_path, **halves))
    differing = kill_and_resume.differing(tmp_path / "whole" / "last.pth", folder / "last.pth")
    assert differing == []


def test_the_average_is_what_is_kept_and_judged(face_dataset: Path, tmp_path: Path) -> None:
    train(small_run(face_dataset, tmp_path, **{"optim.ema_decay": 0.9}))
    last = tmp_path / "run" / "last.pth"
    raw, average = load_training_state(last).weights, weights_of(last)
    assert raw is not None
    assert raw.keys() == average.keys()
    name = "roi_heads.box_head.fc6.weight"
    assert not torch.equal(raw[name], average[name])


def test_frozen_weights_stay_and_others_move(face_dataset: Path, tmp_path: Path) -> None:
    first = train(small_run(face_dataset, tmp_path, prefix="first", **{"optim.epochs": 1}))
    settings = {"pretrained_path": str(first), "optim.frozen": "backbone.body"}
    second = train(small_run(face_dataset, tmp_path, prefix="second", **settings))
    before, after = weights_of(first), weights_of(second)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert not [name for name in moved if name.startswith("backbone.body.")]
    assert "rpn.head.bbox_pred.weight" in moved


def test_one_run_a_folder(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path)
    with RunFolder(tmp_path / "run").claimed(), pytest.raises(InputError, match="another process"):
        train(config)


@pytest.mark.parametrize("source", ["train_source", "val_source"])
def test_a_store_without_pictures_is_named(face_dataset: Path, tmp_path: Path, source: str) -> None:
    path = tmp_path / "none.lmdb"
    with lmdb.open(str(path), subdir=False) as store, store.begin(write=True) as transaction:
        transaction.put(b"__keys__", msgpack.packb([]))
        transaction.put(b"__len__", msgpack.packb(0))
    sources = {f"data.{source}": str(path)}
    with pytest.raises(InputError, match=r"none\.lmdb: holds no pictures"):
        train(small_run(face_dataset, tmp_path, **sources))
    assert not (tmp_path / "run").exists()


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


def test_several_stores_are_trained_on_by_their_weights(face_dataset: Path, tmp_path: Path) -> None:
    train_lmdb, val_lmdb = face_dataset / "train.lmdb", face_dataset / "val.lmdb"
    other = tmp_path / "other.lmdb"
    other.write_bytes(val_lmdb.read_bytes())
    settings = {
        "data.train_source": f"{train_lmdb}, {other}",
        "data.train_weights": "0.5, 3",
        "data.val_source": f"{val_lmdb}, {other}",
        "evaluators": "landmarks",
        "optim.epochs": 1,
    }
    with pytest.raises(InputError, match=r"other_pose_mean\.npy"):
        train(small_run(face_dataset, tmp_path, **settings))
    first = PoseStats.from_files(
        face_dataset / "train_pose_mean.npy", face_dataset / "train_pose_stddev.npy"
    )
    second = PoseStats(first.mean + 1, first.stddev * 2)
    second.write(tmp_path / "other_pose_mean.npy", tmp_path / "other_pose_stddev.npy")
    best = train(small_run(face_dataset, tmp_path, **settings))
    # Half of four pictures and three times two make four steps of two.
    assert metrics_of(tmp_path / "run", "train")[-1]["step"] == 4
    pooled = PoseStats.pooled([first, second], [0.5 * 4, 3 * 2])
    np.testing.assert_allclose(load_model(best).pose_stats.mean, pooled.mean, rtol=1e-6)
    np.testing.assert_allclose(load_model(best).pose_stats.stddev, pooled.stddev, rtol=1e-6)


def test_a_run_is_not_overwritten(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 1})
    train(config)
    other = dataclasses.replace(config, optim=dataclasses.replace(config.optim, lr=0.5))
    before = (tmp_path / "run" / "last.pth").read_bytes()
    with pytest.raises(InputError, match=r"optim\.lr 0\.001, now 0\.5.*resume_path"):
        train(other)
    assert (tmp_path / "run" / "last.pth").read_bytes() == before


def test_plateau_needs_validation(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.schedule": "plateau"})
    data = dataclasses.replace(config.data, val_source=())
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


def test_a_run_that_continues_another_goes_on_with_the_same_command(
    face_dataset: Path, tmp_path: Path
) -> None:
    first = small_run(face_dataset, tmp_path, prefix="first", **{"optim.epochs": 1})
    train(first)
    last = str(tmp_path / "first" / "last.pth")
    second = small_run(face_dataset, tmp_path, prefix="second", **{"optim.epochs": 3})
    train(dataclasses.replace(second, optim=dataclasses.replace(second.optim, epochs=2)), last)
    train(second, resume_path=last)
    state = load_training_state(tmp_path / "second" / "last.pth")
    assert (state.epoch, state.step) == (3, 6)
    with pytest.raises(InputError, match="another run"):
        train(second, resume_path=str(tmp_path / "first" / "best.pth"))


def test_going_on_takes_rates_and_decay_of_the_new_settings_and_keeps_what_was_logged(
    face_dataset: Path, tmp_path: Path
) -> None:
    train(small_run(face_dataset, tmp_path, **{"optim.epochs": 2, "optim.batch_size": 1}))
    last = tmp_path / "run" / "last.pth"
    settings = {"optim.lr": 5e-4, "optim.weight_decay": 0.25, "optim.epochs": 3}
    train(small_run(face_dataset, tmp_path, **settings), resume_path=str(last))
    (group,) = load_training_state(last).optimizer["param_groups"]
    assert (group["lr"], group["weight_decay"]) == (5e-4, 0.25)
    # Eight steps of one picture, then two of two.
    lines = metrics_of(tmp_path / "run", "train")
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert [line["epoch"] for line in lines[-3:]] == [2, 2.5, 3]


def test_going_on_with_other_frozen_weights_is_refused(face_dataset: Path, tmp_path: Path) -> None:
    # As many weights, of other shapes.
    frozen = {"optim.epochs": 1, "optim.frozen": "backbone.body.layer2"}
    train(small_run(face_dataset, tmp_path, **frozen))
    other = {"optim.epochs": 2, "optim.frozen": "backbone.body.layer3"}
    with pytest.raises(InputError, match="other weights were trained"):
        train(
            small_run(face_dataset, tmp_path, **other),
            resume_path=str(tmp_path / "run" / "last.pth"),
        )


def test_a_full_disk_is_told_in_one_line_whatever_meets_it_first(
    face_dataset: Path, tmp_path: Path
) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ("run_folder.write_text", "logging.json.dumps", "run.link_or_copy"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"img2pose.training.{place}", full)
            with pytest.raises(OutputError, match=r"run.*No space left"):
                train(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
        train(config)
    assert metrics_of(tmp_path / "run", "validation")


def test_a_lost_best_checkpoint_is_made_again(face_dataset: Path, tmp_path: Path) -> None:
    config = small_run(face_dataset, tmp_path, **{"optim.epochs": 1})
    best = train(config)
    best.unlink()
    assert train(config, resume_path=str(tmp_path / "run" / "last.pth")).exists()


def test_a_run_that_is_done_leaves_its_checkpoint_as_it_is(
    face_dataset: Path, tmp_path: Path
) -> None:
    """Evaluations know a checkpoint by its bytes."""
    settings = {"optim.epochs": 1, "data.val_source": ""}
    best = train(small_run(face_dataset, tmp_path, **settings))
    content = best.read_bytes()
    assert train(small_run(face_dataset, tmp_path, **settings)) == best
    assert best.read_bytes() == content
    assert load_training_state(best).epoch == 1
    # Without validation, the last is the best.
    longer = small_run(face_dataset, tmp_path, **settings | {"optim.epochs": 2})
    train(longer, resume_path=str(tmp_path / "run" / "last.pth"))
    assert load_training_state(best).epoch == 2
