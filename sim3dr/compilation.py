"""How loops are compiled by numba: without Python's global lock, kept on disk where that may be.

They are compiled when their module is first imported and kept on disk after that: beside the file,
or in the user's cache where that may not be written, or not at all where neither may be or a kept
file is damaged. Signatures are fixed, so nothing is compiled in the middle of drawing, and arrays
that are only read may be read-only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, types

f8, f4 = types.float64, types.float32
i8, i4 = types.int64, types.int32
b1 = types.boolean


def read(dtype: Any, dimensions: int) -> Any:
    """The type of an array in C order that is only read."""
    return types.Array(dtype, dimensions, "C", readonly=True)


def written(dtype: Any, dimensions: int) -> Any:
    """The type of an array in C order that is written to."""
    return types.Array(dtype, dimensions, "C")


# Divisions by zero give infinity or NaN, as in NumPy, rather than an exception.
_SETTINGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

part = njit(**_SETTINGS)
"""Decorator of parts of compiled loops: compiled into them, so kept on disk with them."""


def compiled(*signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that compiles a function for arguments of these types."""

    def compile_it(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            result: Callable[..., Any] = njit(signature, cache=True, **_SETTINGS)(function)
        except Exception:
            # No folder for the cache, no room in it, or a damaged file, which numba answers with
            # whatever it comes upon. A fault of the code itself shows again.
            result = njit(signature, **_SETTINGS)(function)
        return result

    return compile_it
