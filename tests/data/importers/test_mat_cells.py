"""Cell arrays: what SciPy and MATLAB write is read, and nothing hostile does harm."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from img2pose.data.importers import mat_cells
from img2pose.data.importers.mat_cells import MAX_CELLS, read_cells
from img2pose.errors import InputError

REMEDY = "get another"


def cells(*values: Any) -> np.ndarray:
    array = np.empty((len(values), 1), dtype=object)
    for index, value in enumerate(values):
        array[index, 0] = value
    return array


NESTED = cells(cells("a name", np.arange(6.0).reshape(2, 3)), np.zeros((0, 4)), "ü")


def mat_bytes(compressed: bool = True, **variables: Any) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


def part(number: int, content: bytes, size: int | None = None) -> bytes:
    padded = content + bytes(-len(content) % 8)
    return struct.pack("<II", number, len(content) if size is None else size) + padded


def matrix(kind: int, shape: tuple[int, ...], data: bytes, name: bytes = b"") -> bytes:
    body = part(6, struct.pack("<II", kind, 0)) + part(5, struct.pack(f"<{len(shape)}i", *shape))
    body += part(1, name) + data
    return struct.pack("<II", 14, len(body)) + body


def file_of(*elements: bytes) -> bytes:
    return bytes(124) + struct.pack("<H", 0x0100) + b"IM" + b"".join(elements)


def packed(element: bytes) -> bytes:
    content = zlib.compress(element, 9)
    return struct.pack("<II", 15, len(content)) + content


def nested(depth: int) -> bytes:
    cell = matrix(6, (1, 1), part(9, bytes(8)))
    for _ in range(depth):
        cell = matrix(1, (1, 1), cell)
    return matrix(1, (1, 1), cell, b"x")


@pytest.mark.parametrize("compressed", [True, False])
def test_nested_cells_come_back(tmp_path: Path, compressed: bool) -> None:
    content = mat_bytes(compressed, other=np.ones((3, 3)), x=NESTED, y=cells(np.int8([[-5]])))
    (tmp_path / "a.mat").write_bytes(content)
    found = read_cells(tmp_path / "a.mat", ("x", "y"), REMEDY)
    (inner, empty, umlaut), (number,) = found["x"], found["y"]
    assert isinstance(inner, list) and inner[0] == "a name"
    np.testing.assert_array_equal(inner[1], np.arange(6.0).reshape(2, 3))
    assert isinstance(empty, np.ndarray) and empty.shape == (0, 4)
    assert umlaut == "ü"
    np.testing.assert_array_equal(number, [[-5.0]])


def test_what_matlab_writes_for_an_empty_cell_is_an_empty_array(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(file_of(matrix(1, (1, 1), struct.pack("<II", 14, 0), b"x")))
    (empty,) = read_cells(tmp_path / "a.mat", ["x"], REMEDY)["x"]
    assert isinstance(empty, np.ndarray) and empty.shape == (0, 0)


TEXT = matrix(4, (1, 2), part(16, b"ab"))
NUMBER = matrix(6, (1, 1), part(9, bytes(8)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a MAT-file"),
        (mat_bytes(y=NESTED), "lacks the variable x"),
        (mat_bytes(x=np.ones(3)), "x is no cell array"),
        (mat_bytes(x=cells({"a": 1})), "x has a cell that is a struct"),
        (mat_bytes(x=cells(np.array([[True]]))), "logical"),
        (mat_bytes(x=cells(np.array([[1j]]))), "complex"),
        (mat_bytes(x=cells(np.array([[np.nan]]))), "NaN"),
        (mat_bytes(x=cells(np.array(["ab", "cd"]))), "no single line"),
        (mat_bytes(x=NESTED)[:-9], "cut short"),
        (file_of(nested(9)), "nests cells deeper"),
        (file_of(matrix(1, (3, 1), TEXT, b"x")), "as many cells as it says"),
        (file_of(matrix(1, (-1, 1), TEXT, b"x")), "is damaged"),
        (file_of(matrix(1, (MAX_CELLS, 2), TEXT, b"x")), "has more than"),
        (file_of(matrix(1, (1, 1), NUMBER[:-8], b"x")), "damaged"),
        (file_of(matrix(1, (1, 1), matrix(6, (9, 1), part(9, bytes(8))), b"x")), "as many numbers"),
        (file_of(matrix(1, (1, 1), matrix(6, (1, 1), part(99, bytes(8))), b"x")), "unknown type"),
        (file_of(matrix(1, (1, 1), matrix(6, (1, 1), part(9, bytes(8), 800)), b"x")), "cut short"),
        (file_of(matrix(1, (1, 1), matrix(4, (1, 2), part(16, b"\xff\xff")), b"x")), "damaged"),
        (file_of(packed(matrix(1, (1, 1), bytes(1 << 27), b"x"))), "x is larger than"),
        (file_of(matrix(1, (1, 1), matrix(6, (), part(9, bytes(8))), b"x")), "as many numbers"),
        (file_of(matrix(1, (1, 1), matrix(6, (1,) * 65, part(9, bytes(8))), b"x")), "impossible"),
        (
            file_of(matrix(1, (1, 1), matrix(6, (*[2**31 - 1] * 3, 0), part(9, b"")), b"x")),
            "impossible shape",
        ),
    ],
)
def test_hostile_files_are_refused_in_one_line_within_bounds(
    tmp_path: Path, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat_cells, "MAX_VARIABLE_BYTES", 1 << 20)
    path = tmp_path / "bad.mat"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as caught:
            read_cells(path, ["x"], REMEDY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ") and str(caught.value).endswith(REMEDY)
    assert "\n" not in str(caught.value)
    assert peak < 4 * len(content) + (8 << 20)


@pytest.mark.parametrize("compressed", [True, False])
def test_random_damage_is_told_or_harmless(tmp_path: Path, compressed: bool) -> None:
    whole = mat_bytes(compressed, x=NESTED)
    rng = np.random.default_rng(5)
    path = tmp_path / "a.mat"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(120, len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_cells(path, ["x"], REMEDY)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
    assert refused > 100
