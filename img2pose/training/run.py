"""A whole training run: from its configuration to its best checkpoint."""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import math
import signal as signals
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from img2pose.config import TrainConfig
from img2pose.data.datasets import FaceDataset, TrainingDataset
from img2pose.data.loaders import (
    EpochBatches,
    end_workers,
    training_loader,
    validation_loader,
)
from img2pose.data.sources import JoinedStores, Mixture
from img2pose.data.store import PoseStore
from img2pose.distributed import ALONE, Processes
from img2pose.errors import InputError
from img2pose.evaluation.evaluators import EVALUATORS
from img2pose.files import (
    check_output_folder,
    link_or_copy,
    told_when_unwritable,
    write_json,
)
from img2pose.interrupts import StopRequest, stop_on_signals
from img2pose.models.img2pose import Img2Pose
from img2pose.models.weights import load_model
from img2pose.references import PoseReferences
from img2pose.training.checkpoint import TrainingState, load_training_state, save_checkpoint
from img2pose.training.logging import RunLog, RunningMean, StepClock
from img2pose.training.optimizer import freeze
from img2pose.training.run_folder import RunFolder, differences
from img2pose.training.trainer import NotFiniteError, Trainer
from img2pose.training.validation import Validation, monitored
from img2pose.types import PoseStats
from img2pose.versions import package_versions

logger = logging.getLogger(__name__)


class StoppedError(Exception):
    """The run was asked to stop and is saved.

    Attributes:
        signal: The number of the signal that asked.
    """

    def __init__(self, signal: int | None) -> None:
        # Without one, another process was asked; most are so by SIGTERM.
        self.signal = signals.SIGTERM if signal is None else signal
        super().__init__(f"stopped by signal {self.signal}")


def plain_values(value: Any) -> Any:
    """Nested values as YAML knows them: lists for tuples."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    return [plain_values(item) for item in value] if isinstance(value, tuple) else value


def _plain_config(config: TrainConfig) -> dict[str, Any]:
    plain: dict[str, Any] = plain_values(dataclasses.asdict(config))
    return plain


def _references(config: TrainConfig) -> PoseReferences:
    points_68, points_5 = config.data.threed_68_points, config.data.threed_5_points
    if points_68 is None or points_5 is None:
        return PoseReferences.default()
    return PoseReferences.from_files(points_68=points_68, points_5=points_5)


def _open_stores(paths: Sequence[str], references: PoseReferences) -> JoinedStores:
    stores = [_open_store(path, references) for path in paths]
    cameras = {store.meta.pose_camera for store in stores if store.meta is not None}
    if len(cameras) > 1:
        logger.warning(
            "%s: poses of some were fitted in the box's camera, of others in the image's (they"
            " differ by degrees); convert them with the same --pose_camera",
            ", ".join(paths),
        )
    return JoinedStores(stores)


def _open_store(path: str, references: PoseReferences) -> PoseStore:
    store = PoseStore(path)
    if not len(store):
        raise InputError(f"{path}: holds no pictures; convert some, or leave it out")
    if store.meta is not None and store.meta.references_sha256 != references.sha256:
        raise InputError(
            f"{path}: its poses were fitted to other reference points"
            f" ({store.meta.references_name}) than the run's; convert the data again or give"
            " --threed_68_points and --threed_5_points"
        )
    return store


def _given_stats(config: TrainConfig) -> PoseStats | None:
    data = config.data
    if data.pose_mean is None or data.pose_stddev is None:
        return None
    return PoseStats.from_files(data.pose_mean, data.pose_stddev)


def _stats_beside(stores: JoinedStores, weights: Sequence[float]) -> PoseStats:
    """Statistics of the stores' files, pooled."""
    parts, counts = [], []
    for store, weight in zip(stores.stores, weights, strict=True):
        stem = store.path.with_suffix("")
        parts.append(PoseStats.from_files(f"{stem}_pose_mean.npy", f"{stem}_pose_stddev.npy"))
        if len(stores.stores) == 1:
            return parts[0]
        if store.meta is None:
            raise InputError(
                f"{store.path}: does not say how many faces its statistics are of; give --pose_mean"
                " and --pose_stddev"
            )
        counts.append(weight * store.meta.posed_faces)
    return PoseStats.pooled(parts, counts)


def _new_model(
    config: TrainConfig,
    references: PoseReferences,
    stores: JoinedStores,
    mixture: Mixture,
    device: torch.device,
) -> Img2Pose:
    stats = _given_stats(config)
    if config.pretrained_path is not None:
        # Weights are of use with the statistics they were trained with, which our files carry.
        settings = dataclasses.asdict(config.model)
        return load_model(
            config.pretrained_path,
            pose_stats=stats,
            references=references,
            device=device,
            **settings,
        )
    if stats is None:
        stats = _stats_beside(stores, mixture.weights)
    model = Img2Pose(config.model, stats, references)
    model.to(device)
    return model


def _resumed_model(
    config: TrainConfig, path: Path, state: TrainingState, device: torch.device
) -> Img2Pose:
    """The model of a run; its architecture, statistics and references are its own."""
    model = load_model(path, device=device)
    if model.references.sha256 != _references(config).sha256:
        raise InputError(
            f"{path}: its reference points differ from the run's; give the same"
            " --threed_68_points and --threed_5_points as when it began"
        )
    if state.optimizer_name != config.optim.optimizer:
        raise InputError(
            f"{path}: was trained with {state.optimizer_name}, not"
            f" {config.optim.optimizer}; give --optimizer {state.optimizer_name}, or start from its"
            " weights with --pretrained_path"
        )
    return model


def _place_of(resume_path: str) -> str:
    return str(Path(resume_path).resolve())


def _own_state(folder: RunFolder) -> TrainingState:
    try:
        return load_training_state(folder.last)
    except InputError as error:
        raise InputError(
            f"{error}; to go on from another checkpoint of the run, move {folder.last} away and"
            " give --resume_path"
        ) from error


def _state_to_resume(
    config: TrainConfig, folder: RunFolder, resume_path: str | None
) -> tuple[Path, TrainingState] | None:
    """The checkpoint to go on from: the one given, or that of the same run, started before."""
    own = resume_path is not None and Path(resume_path).resolve().parent == folder.path.resolve()
    if resume_path is not None and folder.last.exists() and not own:
        state = _own_state(folder)
        # The same command again: it is this run that goes on.
        if state.continues == _place_of(resume_path):
            return folder.last, state
    if resume_path is None and folder.last.exists():
        state = _own_state(folder)
        if changed := differences(state.config, _plain_config(config)):
            raise InputError(
                f"{folder.last}: a run with other settings is there ({'; '.join(changed)}); choose"
                " another --prefix, or continue it in spite of that with --resume_path"
            )
        return folder.last, state
    if folder.last.exists() and not own:
        raise InputError(
            f"{folder.last}: another run is there; choose another --prefix for what --resume_path"
            " continues"
        )
    if resume_path is None:
        return None
    return Path(resume_path), load_training_state(resume_path)


def _validation(
    config: TrainConfig, references: PoseReferences, processes: Processes
) -> Validation | None:
    if unknown := [name for name in config.evaluators if name not in EVALUATORS]:
        raise InputError(f"evaluators: no {', '.join(unknown)}; there are {', '.join(EVALUATORS)}")
    if not config.data.val_source:
        needed_by = {
            "plateau": config.optim.schedule == "plateau",
            "early_stop_patience": config.optim.early_stop_patience > 0,
            "evaluators": bool(config.evaluators),
            "sheet_pictures": config.sheet_pictures > 0,
        }
        for name, needed in needed_by.items():
            if needed:
                raise InputError(f"val_source: {name} needs an LMDB (--val_source)")
        return None
    store = _open_stores(config.data.val_source, references)
    pictures = validation_loader(
        FaceDataset(store, config.data, references),
        batch_size=config.optim.batch_size,
        workers=min(1, config.data.workers),
        process=processes.rank,
        processes=processes.count,
    )
    evaluators = tuple(EVALUATORS[name](store) for name in config.evaluators)
    skip = config.data.unreadable_records == "skip"
    return Validation(pictures, store, evaluators, skip, processes)


def _monitor_is_higher_better(config: TrainConfig, validation: Validation | None) -> bool:
    """Whether a higher `config.monitor` is better.

    Raises:
        InputError: It is no figure of the run.
    """
    directions = {"loss": False}
    for evaluator in validation.evaluators if validation is not None else ():
        for name, higher in evaluator.higher_is_better.items():
            directions[f"{evaluator.name}/{name}"] = higher
    if config.monitor not in directions:
        raise InputError(
            f"monitor: {config.monitor!r} is none of {', '.join(directions)}; an evaluator's"
            " figures need it in evaluators"
        )
    return directions[config.monitor]


class Run:
    """Everything a run consists of, in one of its processes.

    Args:
        config: The run.
        resume_path: See `train`.
        processes: Which this is of several.

    Raises:
        InputError: Something given is missing or unusable.
    """

    def __init__(self, config: TrainConfig, resume_path: str | None, processes: Processes) -> None:
        if not config.data.train_source:
            raise InputError("train_source: give the LMDB to train on (--train_source)")
        self.processes = processes
        self.folder = RunFolder(Path(config.workspace) / config.prefix)
        check_output_folder(self.folder.path)
        self.device = processes.device(config.device)
        references = _references(config)
        stores = _open_stores(config.data.train_source, references)
        counts = [len(store) for store in stores.stores]
        mixture = Mixture(counts, config.data.train_weights or None)
        self.validation = _validation(config, references, processes)
        higher_is_better = _monitor_is_higher_better(config, self.validation)
        order = EpochBatches(
            mixture,
            batch_size=config.optim.batch_size,
            seed=config.optim.seed,
            process=processes.rank,
            processes=processes.count,
            batches_a_step=config.optim.accumulation_steps,
        )
        # The same in each process: their weights begin alike.
        torch.manual_seed(config.optim.seed)
        found = _state_to_resume(config, self.folder, resume_path)
        if found is None:
            model = _new_model(config, references, stores, mixture, self.device)
        else:
            model = _resumed_model(config, *found, self.device)
            config = dataclasses.replace(config, model=model.config)
        freeze(model, config.optim.frozen)
        self.config = config
        self.plain_config = _plain_config(config)
        dataset = TrainingDataset(stores, config.data, references, config.optim.seed, mixture)
        self.trainer = Trainer(
            config,
            model,
            training_loader(dataset, order, config.data.workers),
            order,
            processes=processes,
            higher_is_better=higher_is_better,
        )
        if found is not None:
            self.trainer.resume(found[1])
        self.resumed_from = None if found is None else found[0]
        self.continues = None if resume_path is None else _place_of(resume_path)
        if found is not None and found[0] == self.folder.last:
            self.continues = found[1].continues
        self._reported: set[str] = set()

    def check_common_start(self) -> None:
        """Makes sure that all processes go on from the same place; each has to call it.

        Raises:
            InputError: They do not.
        """
        order = self.trainer.order
        places = self.processes.gather((order.epoch, order.samples_done))
        if len(set(places)) > 1:
            raise InputError(
                f"{self.folder.last}: not all processes find the same checkpoint there; give a"
                " --workspace that all machines share, or copy the file to each"
            )

    def facts(self, command: str | None) -> dict[str, Any]:
        """What `run.json` says: of this start and those before it."""
        before: list[Any] = []
        if self.resumed_from is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                facts = json.loads(self.folder.facts.read_text(encoding="utf-8"))
                before = list(facts["starts"])
        is_gpu = self.device.type == "cuda"
        start = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": command,
            "resumed_from": None if self.resumed_from is None else str(self.resumed_from),
            "at_step": self.trainer.step,
            "device": torch.cuda.get_device_name(self.device) if is_gpu else str(self.device),
            "threads": torch.get_num_threads(),
            "processes": self.processes.count,
            "pictures_a_step": self.trainer.order.step_size,
            "versions": package_versions(),
        }
        return {"starts": [*before, start]}

    def save(self, path: Path, *others: Path) -> None:
        """Writes a checkpoint under one or more names in turn, in the main process."""
        if self.processes.is_main:
            state = self.trainer.state(self.plain_config, self.continues)
            save_checkpoint(path, self.trainer.evaluated_model, state)
            for other in others:
                with told_when_unwritable(other):
                    link_or_copy(path, other)

    def fit(self, log: RunLog | None, stop: StopRequest) -> None:
        """Trains until the last epoch or an early stop.

        Args:
            log: Of the main process.
            stop: Answered between two steps.

        Raises:
            StoppedError: After the checkpoint is written.
            NotFiniteError: After a note of the pictures is written.
            OutputError: A file cannot be written.
        """
        trainer, epochs = self.trainer, self.config.optim.epochs
        while trainer.order.epoch < epochs and not trainer.early_stop.should_stop:
            if self._train_epoch(log, stop):
                self.save(self.folder.last)
                raise StoppedError(stop.signal)
            epoch = trainer.order.epoch + 1
            is_due = epoch == epochs or epoch % self.config.validate_every_epochs == 0
            figure, is_best = None, False
            if self.validation is not None and is_due:
                # Validation may take longer than who asks for a stop will wait.
                self.save(self.folder.last)
                trainer.share_statistics()
                figure = self._validate(self.validation, log)
                is_best = trainer.early_stop.is_better(figure)
            trainer.end_epoch(figure)
            every = self.config.keep_every_epochs
            # Without validation the last is the best; a run that is done writes it no second time.
            becomes_best = is_best or (self.validation is None and epoch == epochs)
            self.save(
                *([self.folder.best] if becomes_best else []),
                *([self.folder.of_epoch(epoch)] if every and epoch % every == 0 else []),
                # The last: a run killed before it does this epoch's validation again.
                self.folder.last,
            )
            if any(self.processes.gather(bool(stop))):
                raise StoppedError(stop.signal)
        if trainer.early_stop.should_stop and self.processes.is_main:
            logger.info(
                "ended early: %d validations without a better %s",
                trainer.early_stop.without_improvement,
                self.config.monitor,
            )
        if not self.folder.best.exists():
            self.save(self.folder.best)

    def _train_epoch(self, log: RunLog | None, stop: StopRequest) -> bool:
        """Whether it was stopped."""
        trainer, order = self.trainer, self.trainer.order
        means, clock = RunningMean(), StepClock(self.device)
        reports = tqdm(
            trainer.train_epoch(stop, clock),
            desc=f"epoch {order.epoch + 1}/{self.config.optim.epochs}",
            unit="step",
            mininterval=1.0,
            initial=order.steps_an_epoch - order.steps_left,
            total=order.steps_an_epoch,
            disable=not self.processes.is_main,
        )
        try:
            for report in reports:
                self._report(report.unreadable)
                means.add(report.values)
                if trainer.step % self.config.log_every_steps == 0:
                    self._log_training(log, means.means(), clock)
                    reports.set_postfix({k: f"{v:.3f}" for k, v in means.means().items()})
                    means.reset()
                    clock.reset()
                if report.stop_requested:
                    return True
                every = self.config.checkpoint_every_steps
                if every and trainer.step % every == 0 and order.steps_left:
                    self.save(self.folder.last)
        except NotFiniteError as error:
            self._note_not_finite(error)
            raise
        if means.means():
            self._log_training(log, means.means(), clock)
        return False

    def _log_training(self, log: RunLog | None, means: dict[str, float], clock: StepClock) -> None:
        if log is None:
            return
        rate = self.trainer.optimizer.param_groups[0]["lr"]
        values = {**means, "learning_rate": rate, **clock.values()}
        log.scalars("train", values, step=self.trainer.step, epoch=self.trainer.epochs_done)

    def _report(self, unreadable: Iterable[str]) -> None:
        for message in unreadable:
            if message not in self._reported:
                self._reported.add(message)
                logger.warning("skipped: %s", message)

    def _note_not_finite(self, error: NotFiniteError) -> None:
        if not self.processes.is_main:
            return
        note = {
            "step": error.step,
            "epoch": self.trainer.order.epoch + 1,
            # JSON knows no NaN.
            "values": {n: v if math.isfinite(v) else str(v) for n, v in error.values.items()},
            "train_source": list(self.config.data.train_source),
            "records": error.records,
        }
        path = self.folder.path / f"not_finite_step_{error.step:06d}.json"
        try:
            write_json(path, note, indent=1)
            logger.error("the pictures of that step are listed in %s", path)
        except OSError as failure:
            logger.error("%s: cannot be written (%s)", path, failure.strerror)

    def _validate(self, validation: Validation, log: RunLog | None) -> float:
        """Runs all that judges the model; returns `monitor`, NaN where it is not defined."""
        trainer, model = self.trainer, self.trainer.evaluated_model
        figures = validation.figures(model, self.device, self._report)
        figure = monitored(figures, self.config.monitor)
        if log is None:
            return figure
        for group, values in figures.items():
            log.scalars(group, values, step=trainer.step, epoch=trainer.epochs_done)
        if self.config.sheet_pictures:
            sheet = validation.sheet(model, self.config.sheet_pictures)
            if sheet is not None:
                log.picture("validation/predictions", sheet, step=trainer.step)
        told = [f"{group} {n} {v:.4f}" for group, part in figures.items() for n, v in part.items()]
        best = " (best)" if trainer.early_stop.is_better(figure) else ""
        logger.info("epoch %d: %s%s", trainer.order.epoch + 1, ", ".join(told), best)
        return figure


def train(
    config: TrainConfig,
    resume_path: str | None = None,
    *,
    processes: Processes = ALONE,
    command: str | None = None,
) -> Path:
    """Runs a training from its configuration, or goes on with it if it was begun before.

    Args:
        config: The run; files go to `workspace/prefix`.
        resume_path: Checkpoint to continue from in spite of other settings. Architecture and pose
            statistics are then the checkpoint's. Not needed to go on with a run of the same
            configuration.
        processes: Which this is of several; each calls this.
        command: What the user typed, for `run.json`.

    Returns:
        The best checkpoint.

    Raises:
        InputError: A file is missing or unusable, or the run's folder holds another run. Of
            several processes one raises it; the others raise SystemExit.
        StoppedError: By Ctrl-C or SIGTERM, after `last.pth` is written.
        NotFiniteError: A loss or gradient is not finite; the pictures' records are in
            `not_finite_step_N.json`.
        OutputError: A file cannot be written; the checkpoint before it is whole.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        with processes.one_error():
            run = Run(config, resume_path, processes)
        with processes.one_error():
            run.check_common_start()
            if processes.is_main:
                stack.enter_context(run.folder.claimed())
        stack.callback(end_workers, run.trainer.training)
        if run.validation is not None:
            stack.callback(end_workers, run.validation.pictures)
        log = None
        if processes.is_main:
            resumed = run.resumed_from is not None
            log = RunLog(
                run.folder.path,
                resume_at_step=run.trainer.step if resumed else None,
            )
            stack.callback(log.close)
            run.folder.describe(run.plain_config, run.facts(command))
            logger.info(
                "training on %s: %d pictures, run %s, %s",
                run.device,
                run.trainer.order.count,
                run.folder.path,
                f"going on at step {run.trainer.step}" if resumed else "from the start",
            )
        run.fit(log, stop)
        return run.folder.best
