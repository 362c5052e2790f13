"""Cell arrays of numbers and text from MAT-files (MATLAB 5 to 7), of which no byte is trusted.

Nothing is handed to SciPy: every size is checked against the bytes that are there.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TypeAlias

import numpy as np

from img2pose.data.importers.mat import (
    CLASS_NAMES,
    COMPLEX_OR_LOGICAL,
    HEADER_BYTES,
    MATRIX,
    NUMERIC_CLASSES,
    DamageError,
    MatrixHeader,
    byte_order,
    inflate,
    matrix_header,
    matrix_part,
    read_bounded,
    variables,
)
from img2pose.errors import InputError

Cell: TypeAlias = "str | np.ndarray | list[Cell]"
"""Text, an array of float64 numbers, or a cell array as a list in MATLAB's (column) order."""

MAX_VARIABLE_BYTES = 64 << 20
MAX_CELLS = 1 << 20
MAX_DEPTH = 8

_CELL, _TEXT = 1, 4
_NUMBER_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_TEXT_ENCODINGS = {1: "latin1", 2: "latin1", 16: "utf-8"}


def read_cells(
    path: str | os.PathLike[str], names: Collection[str], remedy: str
) -> dict[str, list[Cell]]:
    """Reads some cell arrays of a MAT-file.

    Args:
        path: The file; MATLAB's versions 5, 6 and 7, compressed or not.
        names: Names of the variables.
        remedy: What the error tells the user to do.

    Returns:
        Cell arrays by name.

    Raises:
        InputError: The file cannot be read, is another format, damaged or too large, or a variable
            is missing, is no cell array or holds something else than numbers, text and cells.
    """
    content = read_bounded(Path(path))
    try:
        return _find_cells(content, names)
    except DamageError as error:
        raise InputError(f"{path}: {error}; {remedy}") from error
    except (struct.error, zlib.error) as error:
        raise InputError(f"{path}: is damaged ({error}); {remedy}") from error


def _find_cells(content: bytes, names: Collection[str]) -> dict[str, list[Cell]]:
    order = byte_order(content)
    found: dict[str, list[Cell]] = {}
    for is_compressed, stored in variables(content, order):
        start = inflate(stored, HEADER_BYTES) if is_compressed else stored[:HEADER_BYTES]
        header = matrix_header(start, order)
        if header.name not in names or header.name in found:
            continue
        if header.kind != _CELL:
            raise DamageError(f"{header.name} is no cell array")
        matrix = inflate(stored, MAX_VARIABLE_BYTES + 1) if is_compressed else stored
        if len(matrix) > MAX_VARIABLE_BYTES:
            raise DamageError(f"{header.name} is larger than {MAX_VARIABLE_BYTES} bytes")
        found[header.name] = _Reader(header.name, order).cells(memoryview(matrix), header, 0)
        if len(found) == len(names):
            return found
    missing = ", ".join(name for name in names if name not in found)
    raise DamageError(f"lacks the variable {missing}")


class _Reader:
    """Reads the cells of one variable."""

    def __init__(self, name: str, order: str) -> None:
        self.name = name
        self.order = order
        self.count = 0

    def _damage(self, text: str) -> DamageError:
        return DamageError(f"{self.name} {text}")

    def cells(self, matrix: memoryview, header: MatrixHeader, depth: int) -> list[Cell]:
        """The contents of a cell array, whose matrix begins with its tag."""
        if depth > MAX_DEPTH:
            raise self._damage(f"nests cells deeper than {MAX_DEPTH}")
        found: list[Cell] = []
        position = header.data_start
        for _ in range(self._number_of_cells(header)):
            if position + 8 > len(matrix):
                raise self._damage("is damaged: it does not hold as many cells as it says")
            kind, size = struct.unpack_from(f"{self.order}II", matrix, position)
            end = position + 8 + size
            if kind != MATRIX or end > len(matrix):
                raise self._damage("has a cell that is damaged")
            # MATLAB's shortest way to write an empty array is a tag alone.
            found.append(
                self._content(matrix[position:end], depth + 1) if size else np.empty((0, 0))
            )
            position = end
        return found

    def _number_of_cells(self, header: MatrixHeader) -> int:
        if any(side < 0 for side in header.shape):
            raise self._damage("has a cell that is damaged")
        count = math.prod(header.shape)
        self.count += count
        if self.count > MAX_CELLS:
            raise self._damage(f"has more than {MAX_CELLS} cells")
        return count

    def _content(self, matrix: memoryview, depth: int) -> Cell:
        header = matrix_header(matrix, self.order)
        if header.kind == _CELL:
            return self.cells(matrix, header, depth)
        if header.kind == _TEXT:
            return self._text(matrix, header)
        if header.kind not in NUMERIC_CLASSES or header.flags & COMPLEX_OR_LOGICAL:
            found = CLASS_NAMES.get(header.kind, "complex, logical or of an unknown class")
            raise self._damage(f"has a cell that is {found}")
        return self._numbers(matrix, header)

    def _data(self, matrix: memoryview, header: MatrixHeader) -> tuple[int, memoryview]:
        """Storage type and bytes of a matrix's data."""
        storage, start, end, _ = matrix_part(matrix, header.data_start, self.order)
        if end > len(matrix):
            raise self._damage("has a cell that is cut short")
        return storage, matrix[start:end]

    def _numbers(self, matrix: memoryview, header: MatrixHeader) -> np.ndarray:
        storage, data = self._data(matrix, header)
        number_type = _NUMBER_TYPES.get(storage)
        if number_type is None:
            raise self._damage("has a cell whose numbers are of an unknown type")
        number_type = f"{self.order}{number_type}"
        shape = header.shape
        item_bytes = np.dtype(number_type).itemsize
        if len(shape) < 2 or min(shape) < 0 or math.prod(shape) * item_bytes != len(data):
            raise self._damage("has a cell that does not hold as many numbers as it says")
        array = np.frombuffer(data, number_type).astype(np.float64)
        if not np.isfinite(array).all():
            raise self._damage("has a cell with NaN or infinity")
        try:
            return array.reshape(shape, order="F")
        except ValueError as error:
            # Too many sides, or, of an array without numbers, too long ones.
            raise self._damage("has a cell of an impossible shape") from error

    def _text(self, matrix: memoryview, header: MatrixHeader) -> str:
        storage, data = self._data(matrix, header)
        utf_16 = "utf-16-le" if self.order == "<" else "utf-16-be"
        encoding = utf_16 if storage == 4 else _TEXT_ENCODINGS.get(storage)
        if encoding is None or len(header.shape) != 2 or header.shape[0] > 1:
            raise self._damage("has a cell with text that is no single line")
        try:
            return bytes(data).decode(encoding)
        except UnicodeDecodeError as error:
            raise self._damage("has a cell whose text is damaged") from error
