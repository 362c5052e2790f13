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
HEADER_BYTES = 1024

_FILE_HEADER = 128
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_COMPRESSED, MATRIX = 15, 14
_INT8, _INT32, _UINT32 = 1, 5, 6
# Bytes a number of each numeric storage type.
NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
NUMERIC_CLASSES = range(6, 16)
COMPLEX_OR_LOGICAL = 0x0A00
CLASS_NAMES = {
    1: "a cell array",
    2: "a struct",
    3: "an object",
    4: "text",
    5: "a sparse matrix",
    16: "a function handle",
    17: "an opaque object",
}


class DamageError(ValueError):
    """What is wrong with a file's bytes, without the file's name."""


@dataclass(frozen=True)
class MatrixHeader:
    """What a matrix says of itself.

    Attributes:
        name: The variable's; empty in a cell.
        kind: MATLAB's class: 1 a cell array, 4 text, 6 to 15 numbers, ...
        flags: The word with the class and whether it is complex or logical.
        shape: As claimed.
        data_start: Where in the matrix's bytes its data begin.
    """

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
    content = read_bounded(Path(path))
    try:
        return _find_arrays(content, shapes)
    except DamageError as error:
        raise InputError(f"{path}: {error}; replace the file or leave it out") from error
    except (struct.error, zlib.error) as error:
        raise InputError(
            f"{path}: is damaged ({error}); replace the file or leave it out"
        ) from error


def read_bounded(path: Path) -> bytes:
    """A MAT-file's bytes.

    Raises:
        InputError: It cannot be read or is larger than `MAX_FILE_BYTES`.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a file; give a MAT-file")
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise InputError(
                    f"{path}: is larger than {MAX_FILE_BYTES} bytes, which label files never are;"
                    " leave it out"
                )
            return handle.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a MAT-file ({error})") from error


def _find_arrays(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    order = byte_order(content)
    found: dict[str, np.ndarray] = {}
    for is_compressed, stored in variables(content, order):
        start = inflate(stored, HEADER_BYTES) if is_compressed else stored[:HEADER_BYTES]
        header = matrix_header(start, order)
        if header.name not in shapes or header.name in found:
            continue
        matrix = inflate(stored, MAX_MATRIX_BYTES + 1) if is_compressed else stored
        if len(matrix) > MAX_MATRIX_BYTES:
            raise DamageError(f"{header.name} is larger than {MAX_MATRIX_BYTES} bytes")
        _check_numbers(header, matrix, shapes[header.name], order)
        found[header.name] = _load(matrix, header.name, order)
        if len(found) == len(shapes):
            return found
    missing = ", ".join(name for name in shapes if name not in found)
    raise DamageError(f"lacks the variable {missing}")


def byte_order(content: bytes) -> str:
    """The `struct` mark of a file's numbers.

    Raises:
        DamageError: It is no MAT-file of the versions that can be read.
    """
    if content[:512].startswith(b"MATLAB 7.3") or _HDF5_MAGIC in (content[:8], content[512:520]):
        raise DamageError("is a MAT-file of version 7.3 (HDF5); save it with -v7")
    mark = content[126:128]
    order = {b"IM": "<", b"MI": ">"}.get(mark)
    if order is None or struct.unpack_from(f"{order}H", content, 124)[0] >> 8 != 1:
        raise DamageError("is not a MAT-file of MATLAB 5 to 7")
    return order


def variables(content: bytes, order: str) -> Iterator[tuple[bool, bytes]]:
    """Each variable: whether it is compressed, and its bytes (the matrix with its tag if not).

    Raises:
        DamageError: The file is cut short or has something else in it.
    """
    position, count = _FILE_HEADER, 0
    while position < len(content):
        if position + 8 > len(content):
            raise DamageError("is cut short")
        kind, size = struct.unpack_from(f"{order}II", content, position)
        end = position + 8 + size
        count += 1
        if size == 0 or end > len(content):
            raise DamageError("is cut short")
        if kind not in (_COMPRESSED, MATRIX):
            raise DamageError(f"has an element of type {kind} where a variable should be")
        if count > MAX_VARIABLES:
            raise DamageError(f"has more than {MAX_VARIABLES} variables")
        yield kind == _COMPRESSED, content[position + 8 * (kind == _COMPRESSED) : end]
        position = end


def inflate(stored: bytes, at_most: int) -> bytes:
    """The first bytes of what a compressed variable holds."""
    return zlib.decompressobj().decompress(stored, at_most)


def matrix_part(matrix: bytes | memoryview, position: int, order: str) -> tuple[int, int, int, int]:
    """A part of a matrix at a position: storage type, first byte, end, and where the next is."""
    word, size = struct.unpack_from(f"{order}II", matrix, position)
    if word >> 16:
        # A small part: its size, its type and up to four bytes share eight.
        kind, size, start, following = word & 0xFFFF, word >> 16, position + 4, position + 8
        if size > 4:
            raise DamageError("is damaged")
    else:
        kind, start = word, position + 8
        following = start + (size + 7) // 8 * 8
    return kind, start, start + size, following


def matrix_header(start: bytes | memoryview, order: str) -> MatrixHeader:
    """Reads the header of a matrix from its first bytes, tag included.

    Raises:
        DamageError: It is damaged.
    """
    (tag,) = struct.unpack_from(f"{order}I", start)
    if tag != MATRIX:
        raise DamageError("is damaged")
    parts = []
    position = 8
    for expected in (_UINT32, _INT32, _INT8):
        kind, first, end, position = matrix_part(start, position, order)
        if kind != expected or end > len(start):
            raise DamageError("has a variable whose header is damaged")
        parts.append(start[first:end])
    flags, shape, name = parts
    if len(flags) != 8 or len(shape) % 4:
        raise DamageError("has a variable whose header is damaged")
    (word,) = struct.unpack_from(f"{order}I", flags)
    sides = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    return MatrixHeader(bytes(name).decode("latin1"), word & 0xFF, word, sides, position)


def _check_numbers(header: MatrixHeader, matrix: bytes, shape: tuple[int, ...], order: str) -> None:
    name = header.name
    if header.kind not in NUMERIC_CLASSES:
        found = CLASS_NAMES.get(header.kind, f"of class {header.kind}")
        raise DamageError(f"{name} is {found}, not an array of numbers")
    if header.flags & COMPLEX_OR_LOGICAL:
        raise DamageError(f"{name} is complex or logical, not an array of real numbers")
    if header.shape != shape:
        raise DamageError(f"{name} must have shape {shape}, not {header.shape}")
    storage, start, end, _ = matrix_part(matrix, header.data_start, order)
    if end > len(matrix) or end - start != math.prod(shape) * NUMBER_BYTES.get(storage, 0):
        raise DamageError(f"{name} is damaged: it does not hold as many numbers as it says")


def _load(matrix: bytes, name: str, order: str) -> np.ndarray:
    # The file's own first bytes could send SciPy to its reader of another version.
    mark = b"IM" if order == "<" else b"MI"
    version = struct.pack(f"{order}H", 0x0100) + mark
    content = b"MATLAB 5.0 MAT-file".ljust(_FILE_HEADER - 4) + version + matrix
    try:
        loaded = scipy.io.loadmat(io.BytesIO(content), variable_names=[name])[name]
        array = np.asarray(loaded, dtype=np.float64)
    except (ValueError, TypeError, KeyError, OSError, scipy.io.matlab.MatReadError) as error:
        raise DamageError(f"{name} cannot be read ({error})") from error
    if not np.isfinite(array).all():
        raise DamageError(f"{name} has NaN or infinity")
    return array
