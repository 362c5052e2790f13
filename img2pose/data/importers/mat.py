"""Arrays of numbers from MAT-files (MATLAB 5 to 7), of which no byte is trusted.

Structure and claimed sizes are checked here, from bytes that inflate within bounds; only a matrix
of plain numbers that passed is handed to SciPy, whose reader believes what a file says.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from img2pose.errors import InputError

MAX_FILE_BYTES = 16 << 20
MAX_VARIABLES = 1000
MAX_MATRIX_BYTES = 1 << 20
# Enough for a matrix's flags, its shape and its name.
_HEADER_BYTES = 1024

_FILE_HEADER = 128
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_COMPRESSED, _MATRIX = 15, 14
_INT8, _INT32, _UINT32 = 1, 5, 6
# Bytes a number of each numeric storage type.
_NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX_OR_LOGICAL = 0x0A00
_CLASS_NAMES = {
    1: "a cell array",
    2: "a struct",
    3: "an object",
    4: "text",
    5: "a sparse matrix",
    16: "a function handle",
    17: "an opaque object",
}


class _DamageError(ValueError):
    """What is wrong with the bytes, without the file's name."""


@dataclass(frozen=True)
class _MatrixHeader:
    name: str
    kind: int
    flags: int
    shape: tuple[int, ...]
    data_start: int


def read_mat(
    path: str | os.PathLike[str], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Reads some variables of a MAT-file.

    Args:
        path: The file; MATLAB's versions 5, 6 and 7, compressed or not.
        shapes: Names of the variables, and the only shape that will do for each.

    Returns:
        float64 arrays of finite numbers by name.

    Raises:
        InputError: The file cannot be read, is another format, damaged or larger than
            `MAX_FILE_BYTES`, or a variable is missing or holds something else.
    """
    content = _read_bounded(Path(path))
    try:
        return _find_arrays(content, shapes)
    except _DamageError as error:
        raise InputError(f"{path}: {error}; replace the file or leave it out") from error
    except (struct.error, zlib.error) as error:
        raise InputError(
            f"{path}: is damaged ({error}); replace the file or leave it out"
        ) from error


def _read_bounded(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a file; give a MAT-file")
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise InputError(
                    f"{path}: is larger than {MAX_FILE_BYTES} bytes, which labels of one image"
                    " never are; leave it out"
                )
            return handle.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a MAT-file ({error})") from error


def _find_arrays(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    order = _byte_order(content)
    found: dict[str, np.ndarray] = {}
    for is_compressed, stored in _elements(content, order):
        start = _inflate(stored, _HEADER_BYTES) if is_compressed else stored[:_HEADER_BYTES]
        header = _matrix_header(start, order)
        if header.name not in shapes or header.name in found:
            continue
        matrix = _inflate(stored, MAX_MATRIX_BYTES + 1) if is_compressed else stored
        if len(matrix) > MAX_MATRIX_BYTES:
            raise _DamageError(f"{header.name} is larger than {MAX_MATRIX_BYTES} bytes")
        _check_numbers(header, matrix, shapes[header.name], order)
        found[header.name] = _load(matrix, header.name, order)
        if len(found) == len(shapes):
            return found
    missing = ", ".join(name for name in shapes if name not in found)
    raise _DamageError(f"lacks the variable {missing}")


def _byte_order(content: bytes) -> str:
    if content[:512].startswith(b"MATLAB 7.3") or _HDF5_MAGIC in (content[:8], content[512:520]):
        raise _DamageError("is a MAT-file of version 7.3 (HDF5); save it with -v7")
    mark = content[126:128]
    order = {b"IM": "<", b"MI": ">"}.get(mark)
    if order is None or struct.unpack_from(f"{order}H", content, 124)[0] >> 8 != 1:
        raise _DamageError("is not a MAT-file of MATLAB 5 to 7")
    return order


def _elements(content: bytes, order: str) -> Iterator[tuple[bool, bytes]]:
    """Each variable: whether it is compressed, and its bytes (the matrix with its tag if not)."""
    position, count = _FILE_HEADER, 0
    while position < len(content):
        if position + 8 > len(content):
            raise _DamageError("is cut short")
        kind, size = struct.unpack_from(f"{order}II", content, position)
        end = position + 8 + size
        count += 1
        if size == 0 or end > len(content):
            raise _DamageError("is cut short")
        if kind not in (_COMPRESSED, _MATRIX):
            raise _DamageError(f"has an element of type {kind} where a variable should be")
        if count > MAX_VARIABLES:
            raise _DamageError(f"has more than {MAX_VARIABLES} variables")
        yield kind == _COMPRESSED, content[position + 8 * (kind == _COMPRESSED) : end]
        position = end


def _inflate(stored: bytes, at_most: int) -> bytes:
    return zlib.decompressobj().decompress(stored, at_most)


def _part(matrix: bytes, position: int, order: str) -> tuple[int, int, int, int]:
    """A part of a matrix at a position: storage type, first byte, end, and where the next is."""
    word, size = struct.unpack_from(f"{order}II", matrix, position)
    if word >> 16:
        # A small part: its size, its type and up to four bytes share eight.
        kind, size, start, following = word & 0xFFFF, word >> 16, position + 4, position + 8
        if size > 4:
            raise _DamageError("is damaged")
    else:
        kind, start = word, position + 8
        following = start + (size + 7) // 8 * 8
    return kind, start, start + size, following


def _matrix_header(start: bytes, order: str) -> _MatrixHeader:
    (tag,) = struct.unpack_from(f"{order}I", start)
    if tag != _MATRIX:
        raise _DamageError("is damaged")
    parts = []
    position = 8
    for expected in (_UINT32, _INT32, _INT8):
        kind, first, end, position = _part(start, position, order)
        if kind != expected or end > len(start):
            raise _DamageError("has a variable whose header is damaged")
        parts.append(start[first:end])
    flags, shape, name = parts
    if len(flags) != 8 or len(shape) % 4:
        raise _DamageError("has a variable whose header is damaged")
    (word,) = struct.unpack_from(f"{order}I", flags)
    sides = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    return _MatrixHeader(name.decode("latin1"), word & 0xFF, word, sides, position)


def _check_numbers(
    header: _MatrixHeader, matrix: bytes, shape: tuple[int, ...], order: str
) -> None:
    name = header.name
    if header.kind not in _NUMERIC_CLASSES:
        found = _CLASS_NAMES.get(header.kind, f"of class {header.kind}")
        raise _DamageError(f"{name} is {found}, not an array of numbers")
    if header.flags & _COMPLEX_OR_LOGICAL:
        raise _DamageError(f"{name} is complex or logical, not an array of real numbers")
    if header.shape != shape:
        raise _DamageError(f"{name} must have shape {shape}, not {header.shape}")
    storage, start, end, _ = _part(matrix, header.data_start, order)
    if end > len(matrix) or end - start != math.prod(shape) * _NUMBER_BYTES.get(storage, 0):
        raise _DamageError(f"{name} is damaged: it does not hold as many numbers as it says")


def _load(matrix: bytes, name: str, order: str) -> np.ndarray:
    # The file's own first bytes could send SciPy to its reader of another version.
    mark = b"IM" if order == "<" else b"MI"
    version = struct.pack(f"{order}H", 0x0100) + mark
    content = b"MATLAB 5.0 MAT-file".ljust(_FILE_HEADER - 4) + version + matrix
    try:
        loaded = scipy.io.loadmat(io.BytesIO(content), variable_names=[name])[name]
        array = np.asarray(loaded, dtype=np.float64)
    except (ValueError, TypeError, KeyError, OSError, scipy.io.matlab.MatReadError) as error:
        raise _DamageError(f"{name} cannot be read ({error})") from error
    if not np.isfinite(array).all():
        raise _DamageError(f"{name} has NaN or infinity")
    return array
