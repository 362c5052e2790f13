"""MAT-files: what SciPy and MATLAB write is read, and nothing hostile gets as far as SciPy."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from img2pose.data.importers.mat import MAX_FILE_BYTES, read_mat
from img2pose.errors import InputError

POINTS = np.random.default_rng(0).uniform(0, 450, (2, 68))
ANGLES = np.array([[0.1, -0.7, 0.05, 180, 190, -80, 1e-3]], dtype=np.float32)
SHAPES = {"pt2d": (2, 68), "Pose_Para": (1, 7)}


def mat_bytes(*, compressed: bool = True, **variables: Any) -> bytes:
    stream = io.BytesIO()
    content = {"pt2d": POINTS, "Pose_Para": ANGLES, "Tex_Para": np.zeros((199, 1)), **variables}
    content = {name: value for name, value in content.items() if value is not None}
    scipy.io.savemat(stream, content, do_compression=compressed)
    return stream.getvalue()


def matrix(
    name: str,
    shape: tuple[int, ...],
    data: bytes,
    *,
    kind: int = 6,
    flags: int = 0,
    claimed: int | None = None,
    order: str = "<",
) -> bytes:
    """A matrix as MATLAB writes it: `claimed` bytes of doubles, whatever `data` holds."""

    def part(number: int, content: bytes, size: int | None = None) -> bytes:
        padded = content + bytes(-len(content) % 8)
        return struct.pack(f"{order}II", number, len(content) if size is None else size) + padded

    body = part(6, struct.pack(f"{order}II", kind | flags, 0))
    body += part(5, struct.pack(f"{order}{len(shape)}i", *shape))
    body += part(1, name.encode()) + part(9, data, claimed)
    return struct.pack(f"{order}II", 14, len(body)) + body


def file_of(*elements: bytes, order: str = "<") -> bytes:
    mark = b"IM" if order == "<" else b"MI"
    return bytes(124) + struct.pack(f"{order}H", 0x0100) + mark + b"".join(elements)


def packed(element: bytes, order: str = "<") -> bytes:
    content = zlib.compress(element)
    return struct.pack(f"{order}II", 15, len(content)) + content


@pytest.mark.parametrize("compressed", [True, False])
def test_what_scipy_writes_comes_back(tmp_path: Path, compressed: bool) -> None:
    (tmp_path / "a.mat").write_bytes(mat_bytes(compressed=compressed))
    arrays = read_mat(tmp_path / "a.mat", SHAPES)
    assert {name: array.dtype for name, array in arrays.items()} == dict.fromkeys(SHAPES, float)
    np.testing.assert_array_equal(arrays["pt2d"], POINTS)
    np.testing.assert_array_equal(arrays["Pose_Para"], ANGLES)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(tmp_path: Path, order: str) -> None:
    element = matrix("x", (2, 3), struct.pack(f"{order}6d", *range(6)), order=order)
    for content in (element, packed(element, order)):
        (tmp_path / "a.mat").write_bytes(file_of(content, order=order))
        array = read_mat(tmp_path / "a.mat", {"x": (2, 3)})["x"]
        np.testing.assert_array_equal(array, [[0, 2, 4], [1, 3, 5]])


def test_whole_numbers_stored_in_few_bytes_are_read(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.array([[1, 2, 3, 250]], dtype=np.uint8)})
    array = read_mat(tmp_path / "a.mat", {"x": (1, 4)})["x"]
    np.testing.assert_array_equal(array, [[1, 2, 3, 250]])


def a_cell(value: Any) -> np.ndarray:
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = value
    return cell


BOMB = matrix("pt2d", (2, 1 << 27), bytes(1 << 23), claimed=(1 << 32) - 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a MAT-file"),
        (b"no MAT-file at all" * 20, "is not a MAT-file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(1000), r"version 7\.3 \(HDF5\); save it with -v7"),
        (b"MATLAB 7.3 MAT-file" + bytes(493) + b"\x89HDF\r\n\x1a\n", r"version 7\.3"),
        (mat_bytes(Tex_Para=None)[:-10], "cut short"),
        (mat_bytes()[:130], "cut short"),
        (mat_bytes(pt2d=None), "lacks the variable pt2d"),
        (mat_bytes(pt2d=POINTS.T), r"pt2d must have shape \(2, 68\), not \(68, 2\)"),
        (mat_bytes(pt2d=np.zeros((2, 21))), r"pt2d must have shape"),
        (mat_bytes(pt2d=np.full((2, 68), np.nan)), "pt2d has NaN or infinity"),
        (mat_bytes(Pose_Para=np.full((1, 7), np.inf)), "Pose_Para has NaN or infinity"),
        (mat_bytes(pt2d=POINTS + 1j), "pt2d is complex"),
        (mat_bytes(pt2d=POINTS > 9), "pt2d is complex or logical"),
        (mat_bytes(pt2d=a_cell(POINTS)), "pt2d is a cell array, not an array of numbers"),
        (mat_bytes(pt2d={"x": POINTS}), "pt2d is a struct"),
        (mat_bytes(pt2d="text"), "pt2d is text"),
        (file_of(matrix("pt2d", (1, 1), b"", kind=16)), "pt2d is a function handle"),
        (file_of(matrix("pt2d", (1, 1), b"", kind=3)), "pt2d is an object"),
        (file_of(matrix("pt2d", (1, 1), b"", kind=17)), "pt2d is an opaque object"),
        (file_of(matrix("pt2d", (1, 1), b"", kind=5)), "pt2d is a sparse matrix"),
        (file_of(matrix("pt2d", (1, 1), b"", kind=200)), "pt2d is of class 200"),
        (file_of(matrix("pt2d", (2, 68), bytes(8))), "as many numbers as it says"),
        (file_of(matrix("pt2d", (2, 68), b"", claimed=1088)), "as many numbers as it says"),
        (file_of(matrix("pt2d", (2, 1 << 30), b"", claimed=(1 << 32) - 8)), "pt2d must have shape"),
        (file_of(matrix("pt2d", (-2, -68), bytes(1088))), "pt2d must have shape"),
        (file_of(packed(BOMB)), "pt2d is larger than 1048576 bytes"),
        (file_of(struct.pack("<II", 15, 40) + b"no zlib here" + bytes(28)), "decompress"),
        (file_of(struct.pack("<II", 14, (1 << 32) - 1)), "cut short"),
        (file_of(struct.pack("<II", 14, 0)), "cut short"),
        (file_of(struct.pack("<II", 77, 8) + bytes(8)), "an element of type 77"),
        (file_of(packed(struct.pack("<II", 9, 8) + bytes(80))), "is damaged"),
        (file_of(matrix("n" * 5000, (1, 1), bytes(8))), "header is damaged"),
        (file_of(*[packed(matrix("x", (1, 1), bytes(8)))] * 1001), "more than 1000 variables"),
    ],
)
def test_hostile_files_are_refused_in_one_line_at_no_cost(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad.mat"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as caught:
            read_mat(path, SHAPES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert peak < 4 * len(content) + (8 << 20)


def test_a_bomb_that_nobody_asked_for_stays_packed(tmp_path: Path) -> None:
    bomb = packed(matrix("Tex_Para", (1, 1 << 21), bytes(1 << 24)))
    wanted = packed(matrix("x", (1, 1), struct.pack("<d", 4.5)))
    (tmp_path / "a.mat").write_bytes(file_of(bomb, wanted))
    tracemalloc.start()
    try:
        assert read_mat(tmp_path / "a.mat", {"x": (1, 1)})["x"] == [[4.5]]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def large(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [(large, "is larger than"), (Path.mkdir, "is not a file"), (lambda path: None, "cannot be")],
)
def test_what_is_no_label_file_is_named(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "a.mat")
    with pytest.raises(InputError, match=rf"a\.mat: {message}"):
        read_mat(tmp_path / "a.mat", SHAPES)


def test_the_reference_face_of_real_files_is_read(shared: Path) -> None:
    files = sorted((shared / "data" / "aflw2000").glob("*.mat"))
    assert len(files) == 8
    for path in files:
        theirs = scipy.io.loadmat(path)
        ours = read_mat(path, {"pt3d_68": (3, 68), "Pose_Para": (1, 7)})
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name])
