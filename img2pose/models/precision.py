"""Which parts run in 16 bits: convolutions and heads may, geometry and losses may not.

Whoever runs the model may do so under `torch.autocast`: what must stay in float32 is marked here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, rather than converting it to float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # torch before 2.9 cannot tell.
        features: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False


def lower_precision(device: torch.device, *, wanted: bool) -> AbstractContextManager[object]:
    """Runs what is inside in bfloat16 if that is wanted and the device gains by it."""
    if wanted and multiplies_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast_to(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Runs what is inside in one of `PRECISIONS`; geometry and losses stay in float32."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def in_float32(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Keeps an outer autocast out of a function: poses and boxes do not bear 16 bits."""

    @functools.wraps(function)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped
