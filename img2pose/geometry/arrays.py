"""Lets one implementation serve NumPy arrays (in -> out) and tensors (in -> out).

Functions here are written in the names that NumPy and torch share (`array_module`), and typed as
functions of tensors. torch is never imported for arrays alone: it may not be installed.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from img2pose.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor


def array_module(value: object) -> Any:
    """`torch` for a tensor, `numpy` for an array."""
    return sys.modules["torch"] if is_tensor(value) else np


def constant_like(value: Any, like: Tensor) -> Tensor:
    """Numbers or an array as what `like` is: a tensor of its type and device, or an array."""
    if not is_tensor(like):
        constant: Tensor = array_module(like).asarray(value, dtype=like.dtype)
        return constant
    return _tensor(value, like.dtype, like.device)


def stacked(components: list[Tensor]) -> Tensor:
    """Components (...) each, side by side along a new last axis."""
    result: Tensor = array_module(components[0]).stack(components, axis=-1)
    return result


def joined(parts: list[Tensor]) -> Tensor:
    """Arrays or tensors (..., K) each, one after the other along the last axis."""
    result: Tensor = array_module(parts[0]).concatenate(parts, axis=-1)
    return result


def _tensor(value: Any, dtype: Any, device: Any) -> Tensor:
    import torch

    from img2pose.devices import to_device

    return to_device(torch.as_tensor(value, dtype=dtype), device)


def _shared_dtype(values: list[np.ndarray]) -> type[np.floating[Any]]:
    return np.float32 if np.result_type(*values) == np.float32 else np.float64


def arrays_or_tensors(arguments: int) -> Callable[[Callable[..., Tensor]], Callable[..., Any]]:
    """Makes a function of tensors also take NumPy arrays, and then return one.

    The first `arguments` parameters are the arrays. When one of them is a tensor, arrays
    and numbers among them become tensors of its dtype and device; otherwise all become arrays of
    one float type (float32 only when every input is), and so does the result.
    """

    def decorate(function: Callable[..., Tensor]) -> Callable[..., Any]:
        names = list(inspect.signature(function).parameters)[:arguments]

        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            # Arrays may be given by name too.
            by_name = [name for name in names[len(args) :] if name in options]
            given = [*args[:arguments], *(options.pop(name) for name in by_name)]
            rest = args[arguments:]
            if len(given) < arguments:
                return function(*given, *rest, **options)  # Python's own message
            tensors = [value for value in given if is_tensor(value)]
            if tensors:
                # The first floating tensor leads, so integer boxes never truncate poses.
                leader = next((t for t in tensors if t.is_floating_point()), None)
                dtype = leader.dtype if leader is not None else sys.modules["torch"].float64
                device = tensors[0].device
                if all(is_tensor(v) and v.dtype == dtype and v.device == device for v in given):
                    return function(*given, *rest, **options)
                return function(*(_tensor(v, dtype, device) for v in given), *rest, **options)
            arrays = [np.asarray(value) for value in given]
            shared = _shared_dtype(arrays)
            # As torch does: what is divided by zero is infinite, without a word.
            with np.errstate(all="ignore"):
                return function(*(a.astype(shared) for a in arrays), *rest, **options)

        return wrapped

    return decorate
