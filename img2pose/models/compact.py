"""Weights in fewer bytes: 8 bits with a scale for each output channel, or half precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from img2pose.errors import InputError

COMPACT_WEIGHTS = ("int8", "float16")
_LARGEST_CODE = 127
# Smaller tensors weigh little: biases, norms, and the last layers, whose outputs are the results.
_SMALLEST_HALVED = 16_384
# Those below this one weigh little too; among them are the first layers, where 8 bits cost most.
_SMALLEST_QUANTISED = 131_072
# Where codes end, over the channel's largest weight: a few large weights then round to the end,
# and all others to finer steps.
_CLIPPINGS = (1.0, 0.9, 0.8, 0.7, 0.6)


def quantise_channels(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds weights to whole multiples of a scale for each output channel.

    Of several scales a channel gets the one with the smallest squared error. The same weights
    give the same bits on any number of threads.

    Args:
        weights: (C, ...) float32, finite.

    Returns:
        Codes (C, ...) int8 in -127..127, and scales (C,) float32: weights are about codes times
        scales. A channel of zeros has the scale 0.
    """
    # NumPy: the order of torch's sums depends on the number of threads.
    channels = weights.detach().cpu().reshape(len(weights), -1).numpy().astype(np.float64)
    largest = np.abs(channels).max(axis=1)
    codes = np.zeros(channels.shape, dtype=np.int8)
    scales = np.zeros(len(channels), dtype=np.float32)
    smallest_error = np.full(len(channels), np.inf)
    for clipping in _CLIPPINGS:
        # As it will be stored, so that the error is that of what is read again.
        scale = (clipping * largest / _LARGEST_CODE).astype(np.float32)
        steps = np.where(scale > 0, scale, 1).astype(np.float64)[:, None]
        rounded = np.clip(np.rint(channels / steps), -_LARGEST_CODE, _LARGEST_CODE)
        error = ((rounded * steps - channels) ** 2).sum(axis=1)
        better = error < smallest_error
        codes[better], scales[better] = rounded[better], scale[better]
        smallest_error[better] = error[better]
    shape = tuple(weights.shape)
    return torch.from_numpy(codes).reshape(shape), torch.from_numpy(scales)


def compact_state(
    state: Mapping[str, Tensor], weights: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A model's state in fewer bytes; `restored_state` is the way back.

    Only large weights of convolutions and linear layers change; biases, norms and statistics stay
    as they are.

    Args:
        state: State dict with float32 weights.
        weights: `int8` or `float16`.

    Returns:
        The state, and by name the scales (C,) float32 of what is int8 in it.

    Raises:
        InputError: A weight is beyond float16's range.
        ValueError: Weights of another type are asked for.
    """
    if weights not in COMPACT_WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(COMPACT_WEIGHTS)}: {weights!r}")
    compact: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if value.ndim < 2 or value.numel() < _SMALLEST_HALVED:
            # A copy of its own, for a view would be stored with all that it is a part of.
            compact[name] = value.clone(memory_format=torch.contiguous_format)
        elif weights == "int8" and value.numel() >= _SMALLEST_QUANTISED:
            compact[name], scales[name] = quantise_channels(value)
        else:
            compact[name] = value.half().contiguous()
            if not torch.isfinite(compact[name]).all():
                raise InputError(
                    f"{name}: has values beyond float16; leave the checkpoint as it is"
                )
    return compact, scales


def restored_state(
    state: Mapping[str, Tensor], scales: Mapping[str, Tensor], path: str
) -> dict[str, Tensor]:
    """The state dict, in float32, that `compact_state` made smaller.

    Args:
        state: Its first result.
        scales: Its second result.
        path: Names the file in errors.

    Raises:
        InputError: Codes and scales do not belong together.
    """
    for name, scale in scales.items():
        codes = state.get(name)
        if (
            codes is None
            or codes.dtype != torch.int8
            or scale.dtype != torch.float32
            or codes.ndim < 2
            or scale.shape != codes.shape[:1]
        ):
            raise InputError(f"{path}: weights and scales of {name} do not fit; use another copy")
    restored: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in scales:
            steps = scales[name].reshape(-1, *[1] * (value.ndim - 1))
            restored[name] = value.float() * steps
        else:
            restored[name] = value.float() if value.is_floating_point() else value
    return restored
