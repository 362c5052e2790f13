"""Lets one torch implementation serve NumPy arrays (in -> out) and tensors (in -> out)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from img2pose.devices import to_device

Array = TypeVar("Array", np.ndarray, Tensor)


def _shared_dtype(values: list[np.ndarray]) -> type[np.floating[Any]]:
    return np.float32 if np.result_type(*values) == np.float32 else np.float64


def arrays_or_tensors(arguments: int) -> Callable[[Callable[..., Tensor]], Callable[..., Any]]:
    """Makes a function of tensors also take NumPy arrays, and then return one.

    The first `arguments` parameters are the arrays. When one of them is a tensor, arrays
    and numbers among them become tensors of its dtype and device; otherwise all become arrays of
    one float type (float32 only when every input is), and the result is an array of that type.
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
            tensors = [value for value in given if isinstance(value, Tensor)]
            if tensors:
                # The first floating tensor leads, so integer boxes never truncate poses.
                leader = next((t for t in tensors if t.is_floating_point()), None)
                dtype = leader.dtype if leader is not None else torch.float64
                device = tensors[0].device
                if all(
                    isinstance(v, Tensor) and v.dtype == dtype and v.device == device for v in given
                ):
                    return function(*given, *rest, **options)
                converted = [to_device(torch.as_tensor(v, dtype=dtype), device) for v in given]
                return function(*converted, *rest, **options)
            arrays = [np.asarray(value) for value in given]
            shared = _shared_dtype(arrays)
            with torch.no_grad():
                # A copy also frees read-only arrays from torch's warning.
                converted = [torch.from_numpy(np.array(a, dtype=shared)) for a in arrays]
                return function(*converted, *rest, **options).numpy()

        return wrapped

    return decorate
