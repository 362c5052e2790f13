"""Which weights are trained, and by which rule."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, AdamW, Optimizer

from img2pose.config import OptimConfig
from img2pose.errors import InputError


def freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Takes weights out of training.

    Args:
        model: Its parameters are marked.
        prefixes: Beginnings of parameters' names, whole parts between dots.

    Raises:
        InputError: A prefix is of no parameter, or none is left to train.
    """
    for prefix in prefixes:
        frozen = [p for name, p in model.named_parameters() if f"{name}.".startswith(f"{prefix}.")]
        if not frozen:
            parts = sorted({name.rsplit(".", 2)[0] for name, _ in model.named_parameters()})
            raise InputError(f"frozen: {prefix!r} names no weights; there are {', '.join(parts)}")
        for parameter in frozen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("frozen: no weights are left to train; freeze fewer")


def set_training(model: nn.Module) -> None:
    """Puts a model into training, but for batch norms whose weights are frozen."""
    model.train()
    for module in model.modules():
        weights = list(module.parameters(recurse=False))
        if isinstance(module, _BatchNorm) and not any(w.requires_grad for w in weights):
            module.eval()


def trained_names(model: nn.Module, optimizer: Optimizer) -> list[list[str]]:
    """Names of the weights in each of an optimizer's groups."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]


def build_optimizer(
    model: nn.Module, config: OptimConfig, step_size: int | None = None
) -> Optimizer:
    """SGD or AdamW over the parameters that are trained.

    Args:
        model: Whose parameters.
        config: See `OptimConfig`.
        step_size: Pictures a step, for `lr_batch_size`.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained}]
    if not config.decay_norms_and_biases:
        # Norms and biases are the parameters with one dimension.
        groups = [
            {"params": [p for p in trained if p.ndim > 1]},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
    lr = config.lr
    if config.lr_batch_size and step_size is not None:
        lr *= step_size / config.lr_batch_size
    if config.optimizer == "SGD":
        return SGD(groups, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return AdamW(groups, lr=lr, weight_decay=config.weight_decay, fused=True)
