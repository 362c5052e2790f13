"""The training loop."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader
from tqdm import tqdm

from img2pose.config import OptimConfig, TrainConfig
from img2pose.data.datasets import FaceDataset, Sample, TrainingDataset
from img2pose.data.loaders import Batch, batches, training_loader, validation_loader
from img2pose.data.store import PoseStore
from img2pose.devices import choose_device
from img2pose.errors import InputError
from img2pose.files import check_output_folder, write_text
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences
from img2pose.training.checkpoint import TrainingState, load_training_state, save_checkpoint
from img2pose.training.logging import RunLog, RunningMean
from img2pose.training.schedule import EarlyStop, LearningRateSchedule
from img2pose.types import PoseStats

logger = logging.getLogger(__name__)


def build_optimizer(model: Img2Pose, config: OptimConfig) -> Optimizer:
    """SGD or AdamW over the parameters that are trained."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.optimizer == "SGD":
        return SGD(
            trained, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return AdamW(trained, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def move_batch(batch: Batch, device: torch.device) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A batch as the model takes it: floats in 0..1 and target dicts, on its device."""
    images, targets = batch
    moved = [image.to(device).float() / 255 for image in images]
    dicts = [
        {name: value.to(device) for name, value in t.as_model_targets().items()} for t in targets
    ]
    return moved, dicts


class Trainer:
    """Trains a model and keeps its best and last checkpoint in the run's folder.

    Args:
        config: The run.
        model: On the device it is trained on.
        training: Batches of augmented pictures; `set_epoch` is called before each pass.
        set_epoch: Tells the sampler the epoch.
        validation: Batches of whole pictures, or None.
        folder: Where checkpoints and logs go.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Img2Pose,
        training: DataLoader[Sample],
        set_epoch: Callable[[int], None],
        validation: DataLoader[Sample] | None,
        folder: Path,
    ) -> None:
        self.config = config
        self.model = model
        self.training = training
        self.set_epoch = set_epoch
        self.validation = validation
        self.folder = folder
        self.device = next(model.parameters()).device
        self.optimizer = build_optimizer(model, config.optim)
        total_steps = config.optim.epochs * len(training)
        self.schedule = LearningRateSchedule(self.optimizer, config.optim, total_steps)
        self.early_stop = EarlyStop(config.optim.early_stop_patience)
        self.epoch = 0
        self.step = 0

    @property
    def best_path(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self.folder / "best.pth"

    @property
    def last_path(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.pth"

    def resume(self, state: TrainingState) -> None:
        """Continues a run at the start of the first epoch that is not complete."""
        self.optimizer.load_state_dict(state.optimizer)
        self.schedule.load_state_dict(state.schedule)
        self.early_stop.load_state_dict(state.early_stop)
        self.epoch = state.epoch
        # Steps of an interrupted epoch are done again, at the rates they had.
        self.step = state.epoch * len(self.training)
        torch.set_rng_state(state.torch_random_state)

    def save(self, path: Path) -> None:
        """Writes model and state."""
        state = TrainingState(
            epoch=self.epoch,
            step=self.step,
            optimizer_name=self.config.optim.optimizer,
            optimizer=self.optimizer.state_dict(),
            schedule=self.schedule.state_dict(),
            early_stop=self.early_stop.state_dict(),
            torch_random_state=torch.get_rng_state(),
        )
        save_checkpoint(path, self.model, state, dataclasses.asdict(self.config))

    def fit(self) -> None:
        """Trains until the last epoch or an early stop; Ctrl-C leaves `last.pth` first.

        Raises:
            FloatingPointError: A loss is not finite; the weights are those before that step.
            KeyboardInterrupt: After the checkpoint is written.
        """
        log = RunLog(self.folder)
        try:
            while self.epoch < self.config.optim.epochs and not self.early_stop.should_stop:
                self._train_epoch(log)
                self.epoch += 1
                if self._is_due() and self.validation is not None:
                    self._validate(batches(self.validation), log)
                self.save(self.last_path)
        except KeyboardInterrupt:
            self.save(self.last_path)
            logger.info("stopped in epoch %d; saved %s", self.epoch + 1, self.last_path)
            raise
        finally:
            log.close()
        if self.validation is None or not self.best_path.exists():
            self.save(self.best_path)

    def _is_due(self) -> bool:
        is_last = self.epoch == self.config.optim.epochs
        return is_last or self.epoch % self.config.validate_every_epochs == 0

    def _train_epoch(self, log: RunLog) -> None:
        self.model.train()
        self.set_epoch(self.epoch)
        means = RunningMean()
        name = f"epoch {self.epoch + 1}/{self.config.optim.epochs}"
        total = len(self.training)
        with tqdm(
            batches(self.training), desc=name, unit="step", mininterval=1.0, total=total
        ) as progress:
            for batch in progress:
                values = self._train_step(batch)
                means.add(values)
                if self.step % self.config.log_every_steps == 0:
                    rate = self.optimizer.param_groups[0]["lr"]
                    log.scalars("train", {**means.means(), "learning_rate": rate}, self.step)
                    progress.set_postfix({k: f"{v:.3f}" for k, v in means.means().items()})
                    means.reset()

    def _train_step(self, batch: Any) -> dict[str, float]:
        self.schedule.before_step(self.step)
        images, targets = move_batch(batch, self.device)
        losses = self.model(images, targets)
        total = total_loss(losses)
        values = total_and_parts(total, losses)
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the loss is not finite at step {self.step + 1}: {values}; lower --lr, or use"
                " group_norm when the backbone is not pretrained"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self.config.optim.clip_gradient_norm > 0:
            torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), self.config.optim.clip_gradient_norm
            )
        self.optimizer.step()
        self.step += 1
        return values

    def _validate(self, pictures: Iterable[Batch], log: RunLog) -> None:
        means = validation_means(self.model, pictures, self.device)
        self.schedule.after_validation(means["loss"])
        log.scalars("validation", means, self.step)
        best = means["loss"] < self.early_stop.best_loss
        if best:
            # Written before it is noted: an interrupt between the two must not lose the file.
            self.save(self.best_path)
        self.early_stop.note(means["loss"])
        logger.info(
            "epoch %d: validation %s%s",
            self.epoch,
            ", ".join(f"{name} {value:.4f}" for name, value in means.items()),
            " (best)" if best else "",
        )


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The unweighted sum that is trained on."""
    return torch.stack(list(losses.values())).sum()


def total_and_parts(total: Tensor, losses: dict[str, Tensor]) -> dict[str, float]:
    """The sum as `loss` and each part by its name, with one transfer from the device."""
    values = torch.stack([total, *losses.values()]).detach().tolist()
    return dict(zip(["loss", *losses], values, strict=True))


def validation_means(
    model: Img2Pose, pictures: Iterable[Batch], device: torch.device
) -> dict[str, float]:
    """Mean losses over a data set, in evaluation mode; the same proposals are drawn each time."""
    means = RunningMean()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        for batch in pictures:
            images, targets = move_batch(batch, device)
            losses = model.validation_losses(images, targets)
            total = total_loss(losses)
            means.add(total_and_parts(total, losses), weight=len(images))
    return means.means()


def _pose_stats(config: TrainConfig) -> PoseStats:
    stem = Path(config.data.train_source).with_suffix("")
    mean = config.data.pose_mean or f"{stem}_pose_mean.npy"
    stddev = config.data.pose_stddev or f"{stem}_pose_stddev.npy"
    return PoseStats.from_files(mean, stddev)


def _references(config: TrainConfig) -> PoseReferences:
    points_68, points_5 = config.data.threed_68_points, config.data.threed_5_points
    if points_68 is None or points_5 is None:
        return PoseReferences.default()
    return PoseReferences.from_files(points_68=points_68, points_5=points_5)


def _check_labels(store: PoseStore, references: PoseReferences, source: str) -> None:
    if store.meta is not None and store.meta.references_sha256 != references.sha256:
        raise InputError(
            f"{source}: its poses were fitted to other reference points"
            f" ({store.meta.references_name}) than the run's; convert the data again or give"
            " --threed_68_points and --threed_5_points"
        )


def _build(config: TrainConfig, references: PoseReferences, device: torch.device) -> Img2Pose:
    stats = _pose_stats(config)
    if config.pretrained_path is None:
        model = Img2Pose(config.model, stats, references)
        model.to(device)
        return model
    settings = dataclasses.asdict(config.model)
    return load_model(
        config.pretrained_path,
        pose_stats=stats,
        references=references,
        device=device,
        **settings,
    )


def _load_run(
    config: TrainConfig, resume_path: str, references: PoseReferences, device: torch.device
) -> tuple[Img2Pose, TrainingState]:
    """The model and state of a run; its architecture, statistics and references are its own."""
    state = load_training_state(resume_path)
    model = load_model(resume_path, device=device)
    if model.references.sha256 != references.sha256:
        raise InputError(
            f"{resume_path}: its reference points differ from the run's; give the same"
            " --threed_68_points and --threed_5_points as when it began"
        )
    if state.optimizer_name != config.optim.optimizer:
        raise InputError(
            f"{resume_path}: was trained with {state.optimizer_name}, not"
            f" {config.optim.optimizer}; give --optimizer {state.optimizer_name}, or start from its"
            " weights with --pretrained_path"
        )
    return model, state


def train(config: TrainConfig, resume_path: str | None = None) -> Path:
    """Runs a training from its configuration.

    Args:
        config: The run; files go to `workspace/prefix`.
        resume_path: Checkpoint of the same run to continue from. Architecture, pose statistics
            and learning rates are then the checkpoint's.

    Returns:
        The best checkpoint.

    Raises:
        InputError: A file is missing or unusable, or the run's folder holds another run.
    """
    if not config.data.train_source:
        raise InputError("train_source: give the LMDB to train on (--train_source)")
    needs_validation = config.optim.schedule == "plateau" or config.optim.early_stop_patience > 0
    if needs_validation and config.data.val_source is None:
        raise InputError("val_source: plateau and early stop need an LMDB (--val_source)")
    folder = Path(config.workspace) / config.prefix
    own = resume_path is not None and Path(resume_path).resolve().parent == folder.resolve()
    if (folder / "last.pth").exists() and not own:
        raise InputError(
            f"{folder / 'last.pth'}: a run is there; continue it with --resume_path or choose"
            " another --prefix"
        )
    check_output_folder(folder)
    device = choose_device(config.device)
    torch.manual_seed(config.optim.seed)
    references = _references(config)
    store = PoseStore(config.data.train_source)
    _check_labels(store, references, config.data.train_source)
    validation = None
    if config.data.val_source is not None:
        val_store = PoseStore(config.data.val_source)
        _check_labels(val_store, references, config.data.val_source)
        validation = validation_loader(
            FaceDataset(val_store, config.data, references),
            batch_size=config.optim.batch_size,
            workers=min(1, config.data.workers),
        )
    state = None
    if resume_path is None:
        model = _build(config, references, device)
    else:
        model, state = _load_run(config, resume_path, references, device)
        config = dataclasses.replace(config, model=model.config)
    loader, sampler = training_loader(
        TrainingDataset(store, config.data, references, config.optim.seed),
        batch_size=config.optim.batch_size,
        workers=config.data.workers,
        seed=config.optim.seed,
    )

    def set_epoch(epoch: int) -> None:
        sampler.epoch = epoch

    trainer = Trainer(config, model, loader, set_epoch, validation, folder)
    if state is not None:
        trainer.resume(state)
    folder.mkdir(parents=True, exist_ok=True)
    plain = plain_values(dataclasses.asdict(config))
    write_text(folder / "config.yaml", yaml.safe_dump(plain, sort_keys=False))
    logger.info("training on %s: %d pictures, run %s", device, len(store), folder)
    trainer.fit()
    return trainer.best_path


def plain_values(value: Any) -> Any:
    """Nested values as YAML knows them: lists for tuples."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    return [plain_values(item) for item in value] if isinstance(value, tuple) else value
