"""What is read is never executed, and what a file claims is not believed."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pytest

from img2pose.data.store import PoseStore, Record, StoreMeta, write_store
from img2pose.errors import InputError
from img2pose.files import read_npy

SHAPE = (6,)


class Canary:
    """Unpickling it makes a folder: proof that code ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def npy_header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    encoded = text.encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(encoded))
    return b"\x93NUMPY" + bytes(version) + size + encoded


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def described(shape: str, dtype: str = "'<f8'") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 zip", "cannot be read"),
        (npy_header(described("(6,)"))[:20], "cannot be read"),
        (npy_header(described("(6,)")) + bytes(47), "cannot be read"),
        (npy_header(described("(6,)"), (3, 0)) + bytes(48), "cannot be read"),
        (npy_header(described("(6,)"), (9, 9)) + bytes(48), "cannot be read"),
        (npy_header("__import__('os').mkdir('ran')"), "cannot be read"),
        (npy_header("[" * 9000), "cannot be read"),
        (npy_header(described("(6,)", "'|O'")) + bytes(48), "holds no array of numbers"),
        (npy_header(described("(6,)", "[('a', '<f8')]")) + bytes(48), "holds no array of numbers"),
        (npy_header(described("(6,)", "'<U2'")) + bytes(48), "holds no array of numbers"),
        (npy_header(described("(1000000000000,)")), "must have shape"),
        (npy_header(described("(4611686018427387904, 8)")), "must have shape"),
        (npy_header(described("(-6,)")) + bytes(48), "must have shape"),
        (npy_bytes(np.zeros(6, complex)), "not finite real numbers"),
        (npy_bytes(np.full(6, np.nan)), "not finite real numbers"),
    ],
)
def test_hostile_npy_files_are_refused_in_one_line_at_no_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.npy").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"^a\.npy: .*{message}.*; mend it$") as caught:
            read_npy("a.npy", SHAPE, "mend it")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


def test_a_pickle_in_a_npy_file_does_not_run(tmp_path: Path) -> None:
    holder = np.empty(6, dtype=object)
    holder[:] = Canary(tmp_path / "ran")
    for content in (npy_bytes(holder), pickle.dumps(Canary(tmp_path / "ran"))):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npy"):
            read_npy(tmp_path / "a.npy", SHAPE, "mend it")
        assert not (tmp_path / "ran").exists()
    # The same bytes do run where pickles are allowed, so the test would notice.
    (tmp_path / "a.npy").write_bytes(npy_bytes(holder))
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert (tmp_path / "ran").is_dir()


def store_with(path: Path, key: bytes, value: bytes) -> Path:
    """A store of one record, with one value exchanged."""
    poses = np.ones((1, 6))
    record = Record(b"image", poses, np.array([[0, 0, 1, 1]]), poses, (np.zeros((5, 2)),))
    write_store(path, [record], StoreMeta("image", "0" * 64, "made"))
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(key, value)
    return path


def as_record(image: Any, poses: Any) -> bytes:
    packed: bytes = msgpack.packb((image, poses, [[0, 0, 1, 1]], [[1] * 6], [[[0, 0]] * 5]))
    return packed


POSES = [[1.0] * 6]
HOSTILE_VALUES = [
    b"",
    b"\xc1",
    b"\x91" * 5000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    pickle.dumps({"a": 1}),
    msgpack.packb(None),
    msgpack.packb(7),
    msgpack.packb({b"a": 1, b"b": 2}),
    msgpack.packb(msgpack.ExtType(5, b"payload")),
    msgpack.packb([msgpack.ExtType(5, b"payload")] * 5),
    msgpack.packb(msgpack.Timestamp(1, 2)),
    b"\xd7\xff" + b"\xff" * 8,
    b"\xa2\xff\xfe",
]


@pytest.mark.parametrize(
    "value",
    [
        *HOSTILE_VALUES,
        as_record(b"image", msgpack.ExtType(1, b"x")),
        as_record(msgpack.ExtType(1, b"x"), POSES),
        as_record("text", POSES),
        as_record(b"image", [["a"] * 6]),
        as_record(b"image", {"a": 1}),
        as_record(b"image", [[1] * 5]),
        as_record(b"image", [[1], [1, 2]]),
    ],
)
def test_hostile_records_are_refused_in_one_line_at_no_cost(tmp_path: Path, value: bytes) -> None:
    store = PoseStore(store_with(tmp_path / "a.lmdb", b"0", value))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"a\.lmdb: record 0 is damaged") as caught:
            store[0]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [b"__keys__", b"__len__", b"__meta__"])
@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_hostile_notes_are_refused_in_one_line(tmp_path: Path, key: bytes, value: bytes) -> None:
    path = store_with(tmp_path / "a.lmdb", key, value)
    with pytest.raises(InputError, match=r"a\.lmdb: ") as caught:
        PoseStore(path)
    assert "\n" not in str(caught.value)
