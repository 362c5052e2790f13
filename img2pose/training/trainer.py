"""The training loop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from img2pose.config import TrainConfig
from img2pose.data.datasets import Sample
from img2pose.data.loaders import Batch, EpochBatches, batches
from img2pose.distributed import ALONE, Processes
from img2pose.errors import InputError
from img2pose.interrupts import StopRequest
from img2pose.models.img2pose import Img2Pose
from img2pose.models.losses import LossTerm
from img2pose.models.precision import autocast_to
from img2pose.training.averaging import WeightAverage
from img2pose.training.checkpoint import TrainingState
from img2pose.training.logging import StepClock
from img2pose.training.optimizer import build_optimizer, set_training, trained_names
from img2pose.training.schedule import EarlyStop, LearningRateSchedule

# Steps in a row whose scaled gradients overflow, before it is no longer the scale's fault.
_MOST_SKIPPED = 30


class NotFiniteError(FloatingPointError):
    """The loss or its gradient is not finite; the weights are those before the step.

    Attributes:
        step: Counted from 1.
        values: Losses and gradient norm.
        records: Keys of the records that each picture of the step shows, over all processes.
    """

    def __init__(self, step: int, values: dict[str, float], records: list[tuple[str, ...]]) -> None:
        super().__init__(f"the loss or its gradient is not finite at step {step}: {values}")
        self.step = step
        self.values = values
        self.records = records


@dataclass
class StepReport:
    """What one step did.

    Attributes:
        values: Losses over all processes by name, `loss` their sum, `gradient_norm` before
            clipping.
        stop_requested: Whether any process was asked to stop.
        unreadable: What was wrong with this process's records that others stand in for.
    """

    values: dict[str, float]
    stop_requested: bool
    unreadable: tuple[str, ...]


class _LossTerms(nn.Module):
    """Makes `Img2Pose.loss_terms` what a wrapper's `forward` calls."""

    def __init__(self, model: Img2Pose) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, LossTerm]:
        return self.model.loss_terms(images, targets)


def move_batch(batch: Batch, device: torch.device) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A batch as the model takes it: floats in 0..1 and target dicts, on its device."""
    images = [sample.image.to(device).float() / 255 for sample in batch]
    targets = []
    for sample in batch:
        target = {k: v.to(device) for k, v in sample.targets.as_model_targets().items()}
        # The host reads it: it makes generators of it.
        target["seed"] = torch.tensor(sample.seed)
        targets.append(target)
    return images, targets


def add_counts(terms: Iterable[Mapping[str, LossTerm]]) -> Tensor:
    """(L,) what each loss is divided by, over several batches."""
    return torch.stack([torch.stack([t.counted for t in batch.values()]) for batch in terms]).sum(0)


class Trainer:
    """Takes steps and knows where a run stands; `fit` in `run` calls it.

    Losses are divided by what they are counted over in all processes and all batches of a step,
    so N processes with batches of B take the steps of one with batches of N * B. What a step
    draws depends on its pictures' seeds.

    Differs: the published code divides in each process, so that the positives of a process with
    few of them weigh more.

    Args:
        config: The run.
        model: On the device it is trained on.
        training: Batches in the order of `order`.
        order: See `EpochBatches`.
        processes: Which this is of several.
        higher_is_better: Whether `config.monitor` is.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Img2Pose,
        training: DataLoader[Sample],
        order: EpochBatches,
        *,
        processes: Processes = ALONE,
        higher_is_better: bool = False,
    ) -> None:
        self.config = config
        self.model = model
        self.training = training
        self.order = order
        self.processes = processes
        self.device = next(model.parameters()).device
        optim = config.optim
        if optim.channels_last:
            model.to(memory_format=torch.channels_last)
        self.average = WeightAverage(model, optim.ema_decay) if optim.ema_decay else None
        self.optimizer = build_optimizer(model, optim, order.step_size)
        self.schedule = LearningRateSchedule(
            self.optimizer,
            optim,
            optim.epochs * order.steps_an_epoch,
            higher_is_better=higher_is_better,
        )
        self.early_stop = EarlyStop(optim.early_stop_patience, higher_is_better=higher_is_better)
        self.step = 0
        self._skipped = 0
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=optim.precision == "float16")
        self._terms: nn.Module = _LossTerms(model)
        self._wrapped: nn.Module = self._terms
        if processes.are_several:
            is_cpu = self.device.type == "cpu"
            # Looking for unused parameters keeps the wrapper from laying its buckets out anew after
            # the first step: three processes or more would then add up in another order than a run
            # that goes on from a checkpoint. On GPUs, where bits vary anyhow, speed counts more.
            warnings.filterwarnings("ignore", "find_unused_parameters=True was specified")
            self._wrapped = DistributedDataParallel(
                self._terms,
                device_ids=None if is_cpu else [self.device],
                gradient_as_bucket_view=True,
                find_unused_parameters=is_cpu,
            )

    @property
    def evaluated_model(self) -> Img2Pose:
        """The model that is validated and kept: the weights' average, if there is one."""
        return self.model if self.average is None else self.average.model

    @property
    def _place(self) -> int:
        """Steps that runs of the present step size have taken here; the schedule goes by it."""
        in_epoch = self.order.samples_done // self.order.step_size
        return self.order.epoch * self.order.steps_an_epoch + in_epoch

    @property
    def epochs_done(self) -> float:
        """Epochs that are done, with fraction."""
        return self._place / self.order.steps_an_epoch

    def state(self, config: dict[str, Any], continues: str | None) -> TrainingState:
        """Where the run stands.

        Args:
            config: The run's configuration as plain values.
            continues: See `TrainingState`.
        """
        return TrainingState(
            step=self.step,
            epoch=self.order.epoch,
            samples_done=self.order.samples_done,
            optimizer_name=self.config.optim.optimizer,
            optimizer=self.optimizer.state_dict(),
            trained=trained_names(self.model, self.optimizer),
            schedule=self.schedule.state_dict(),
            early_stop=self.early_stop.state_dict(),
            scaler=self.scaler.state_dict(),
            weights=None if self.average is None else self.model.state_dict(),
            config=config,
            continues=continues,
        )

    def resume(self, state: TrainingState) -> None:
        """Continues where a state was taken; the model has the checkpoint's weights already.

        Rates and other settings of the optimizer are those of the configuration.

        Raises:
            InputError: Other weights were trained.
        """
        if state.weights is not None:
            self.model.load_state_dict(state.weights)
        elif self.average is not None:
            self.average = WeightAverage(self.model, self.config.optim.ema_decay)
        if state.trained != trained_names(self.model, self.optimizer):
            raise InputError(
                "frozen, decay_norms_and_biases: other weights were trained until now; give the"
                " same, or start from the weights with --pretrained_path"
            )
        wanted = [
            {name: value for name, value in group.items() if name not in ("params", "lr")}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state.optimizer)
        for group, settings in zip(self.optimizer.param_groups, wanted, strict=True):
            group.update(settings)
        # What was seen of another figure says nothing about this one.
        same_figure = state.config["monitor"] == self.config.monitor
        self.schedule.load_state_dict(state.schedule, same_figure=same_figure)
        if same_figure:
            self.early_stop.load_state_dict(state.early_stop)
        if self.scaler.is_enabled() and state.scaler:
            self.scaler.load_state_dict(state.scaler)
        self.step = state.step
        self.order.epoch = state.epoch
        self.order.samples_done = state.samples_done

    def train_epoch(self, stop: StopRequest, clock: StepClock) -> Iterator[StepReport]:
        """Takes the steps of the epoch that are left, reporting each.

        Args:
            stop: Shared with the other processes, so that all end after the same step.
            clock: Told of waiting for data and of steps.

        Raises:
            NotFiniteError: Before the weights are touched.
            InputError: A record is damaged.
        """
        set_training(self.model)
        reading = batches(self.training)
        for _ in range(self.order.steps_left):
            began = time.perf_counter()
            step = [next(reading) for _ in range(self.order.batches_a_step)]
            clock.waited(time.perf_counter() - began)
            report = self._take_step(step, bool(stop))
            clock.stepped(self.order.step_size)
            yield report
            if report.stop_requested:
                return

    def share_statistics(self) -> None:
        """Gives every process the first one's statistics of norms, before the model is judged."""
        models = [self.model] if self.average is None else [self.model, self.average.model]
        for model in models:
            for buffer in model.buffers():
                self.processes.copy_from_main(buffer)

    def _take_step(self, step: list[Batch], stop_requested: bool) -> StepReport:
        # Nothing here draws from torch's own generators, but a backbone of the user's may.
        entropy = (self.config.optim.seed, self.step, self.processes.rank)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        self.schedule.before_step(self._place)
        self.optimizer.zero_grad(set_to_none=True)
        moved = [move_batch(batch, self.device) for batch in step]
        counts = self._counts_of_all(moved) if len(moved) > 1 else None
        sums = torch.zeros(0)
        names: list[str] = []
        for number, (images, targets) in enumerate(moved):
            # Gradients are added up over the processes once, after the last batch.
            with self._without_exchange(needed=number + 1 == len(moved)):
                with self._autocast():
                    terms = self._wrapped(images, targets)
                names = list(terms)
                totals = torch.stack([term.total for term in terms.values()])
                if counts is None:
                    counts = self.processes.sum(add_counts([terms]))
                parts = totals / counts.clamp(min=1)
                # DistributedDataParallel takes the mean over the processes.
                scaled = self.scaler.scale(parts.sum() * self.processes.count)
                scaled.backward()  # type: ignore[no-untyped-call]
            sums = parts.detach() if number == 0 else sums + parts.detach()
        self.scaler.unscale_(self.optimizer)
        norm = self._clip_gradients()
        asked = sums.new_tensor([float(stop_requested)])
        shared = self.processes.sum(torch.cat([sums, asked]))
        # Read back together, so that the host waits once for them all.
        *parts_now, asked_now, norm_now = torch.cat([shared, norm[None].to(shared)]).tolist()
        values = {"loss": sum(parts_now), **dict(zip(names, parts_now, strict=True))}
        values["gradient_norm"] = norm_now
        # Scaled gradients may overflow: the scaler skips such a step and lowers its scale.
        overflows = self.scaler.is_enabled() and not math.isfinite(norm_now)
        self._skipped = self._skipped + 1 if overflows else 0
        bears_it = overflows and self._skipped < _MOST_SKIPPED
        watched = [values["loss"]] if bears_it else [values["loss"], norm_now]
        if not all(map(math.isfinite, watched)):
            records = [sample.records for batch in step for sample in batch]
            everyones = [r for part in self.processes.gather(records) for r in part]
            raise NotFiniteError(self.step + 1, values, everyones)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.model, self.step)
        self.step += 1
        self.order.samples_done += self.order.step_size
        unreadable = tuple(m for batch in step for sample in batch for m in sample.unreadable)
        return StepReport(values, asked_now > 0, unreadable)

    def _counts_of_all(self, moved: list[tuple[list[Tensor], list[dict[str, Tensor]]]]) -> Tensor:
        """What losses are divided by, of batches that do not fit into memory together.

        Costs a forward pass more. Its statistics go into copies, so that norms see each batch once.
        """
        copies = {name: buffer.clone() for name, buffer in self._terms.named_buffers()}
        with torch.no_grad(), self._autocast():
            terms = [functional_call(self._terms, copies, arguments) for arguments in moved]
        return self.processes.sum(add_counts(terms))

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast_to(self.config.optim.precision, self.device)

    def _without_exchange(self, *, needed: bool) -> AbstractContextManager[Any]:
        if needed or not isinstance(self._wrapped, DistributedDataParallel):
            return nullcontext()
        return self._wrapped.no_sync()

    def _clip_gradients(self) -> Tensor:
        limit = self.config.optim.clip_gradient_norm or math.inf
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        return torch.nn.utils.clip_grad_norm_(parameters, limit)

    def end_epoch(self, figure: float | None) -> None:
        """Counts an epoch and, if it was validated, what `monitor` was."""
        if figure is not None:
            self.schedule.after_validation(figure, self._place)
            self.early_stop.note(figure)
        self.order.epoch += 1
        self.order.samples_done = 0
