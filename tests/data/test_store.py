"""Stores: records come back, the file stays small, and damaged files are named."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import msgpack
import numpy as np
import pytest

from img2pose.data.store import PoseStore, Record, StoreMeta, write_store
from img2pose.errors import InputError

META = StoreMeta("image", "0" * 64, "made")


def record(index: int, faces: int = 2, size: int = 500) -> Record:
    rng = np.random.default_rng(index)
    poses = rng.normal(size=(faces, 6))
    if faces:
        poses[-1] = -9
    return Record(
        rng.bytes(size),
        poses,
        rng.normal(size=(faces, 4)),
        poses + 1,
        tuple(rng.normal(size=(68 if k % 2 else 5, 2)) for k in range(faces)),
    )


def assert_equal(one: Record, other: Record) -> None:
    assert one.image_bytes == other.image_bytes
    for name in ("poses_in_image", "boxes_xyxy", "poses_in_box"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert len(one.landmarks) == len(other.landmarks)
    for ours, theirs in zip(one.landmarks, other.landmarks, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_records_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.lmdb"
    records = [record(k, faces=k % 4) for k in range(25)]
    assert write_store(path, iter(records), META) == 25
    store = PoseStore(path)
    assert len(store) == 25
    for index, expected in enumerate(records):
        assert_equal(store[index], expected)
    assert_equal(store[-1], records[-1])
    assert [len(r) for r in store] == [k % 4 for k in range(25)]
    with pytest.raises(IndexError):
        store[25]
    assert store[3].has_pose.tolist() == [True, True, False]
    assert store[0].has_pose.shape == (0,)
    assert [p.name for p in path.parent.iterdir()] == ["a.lmdb"]


def test_the_note_tells_how_labels_were_made(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(0), record(1, faces=1)], META)
    assert PoseStore(tmp_path / "a.lmdb").meta == StoreMeta("image", "0" * 64, "made", 2, 3, 1)


def test_layout_is_the_published_one(tmp_path: Path) -> None:
    expected = record(0)
    write_store(tmp_path / "a.lmdb", [expected], META)
    with (
        lmdb.open(str(tmp_path / "a.lmdb"), subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        entries = {key: msgpack.unpackb(value) for key, value in transaction.cursor()}
    assert set(entries) == {b"0", b"__keys__", b"__len__", b"__meta__"}
    assert entries[b"__len__"] == 1
    assert entries[b"__keys__"] == [b"0"]
    image, poses, boxes, poses_in_box, landmarks = entries[b"0"]
    assert image == expected.image_bytes
    np.testing.assert_array_equal(poses, expected.poses_in_image)
    np.testing.assert_array_equal(boxes, expected.boxes_xyxy)
    np.testing.assert_array_equal(poses_in_box, expected.poses_in_box)
    assert [np.shape(points) for points in landmarks] == [(5, 2), (68, 2)]


def write_raw(path: Path, entries: dict[bytes, bytes]) -> None:
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 20) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in entries.items():
            transaction.put(key, value)


def test_a_store_of_the_published_converter_is_read(tmp_path: Path) -> None:
    row = (b"image", [[0.1] * 6], [[1, 2, 3, 4]], [[0.2] * 6], [[[1, 2]] * 5])
    entries = {b"0": msgpack.packb(row), b"__keys__": msgpack.packb(["0"])}
    write_raw(tmp_path / "a.lmdb", {**entries, b"__len__": msgpack.packb(1)})
    store = PoseStore(tmp_path / "a.lmdb")
    assert store.meta is None
    assert store[0].boxes_xyxy.tolist() == [[1, 2, 3, 4]]


def test_the_map_grows_and_the_file_stays_small(tmp_path: Path) -> None:
    count, size = 90, 700_000
    write_store(tmp_path / "a.lmdb", (record(k, size=size) for k in range(count)), META)
    assert (tmp_path / "a.lmdb").stat().st_size <= 1.1 * count * size + 4096 * count
    assert len(PoseStore(tmp_path / "a.lmdb")[count - 1].image_bytes) == size


def test_small_images_cost_a_page_each_at_most(tmp_path: Path) -> None:
    count, size = 300, 3000
    records = [record(k, faces=1, size=size) for k in range(count)]
    write_store(tmp_path / "a.lmdb", records, META)
    # A record of one 5-point face takes 400 bytes beside its image.
    assert (tmp_path / "a.lmdb").stat().st_size <= 1.1 * count * (size + 400) + 4096 * count


def test_one_image_larger_than_the_first_map(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(0, size=70 << 20)], META)
    assert len(PoseStore(tmp_path / "a.lmdb")[0].image_bytes) == 70 << 20


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_store_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def stopping() -> Iterator[Record]:
        yield record(7)
        raise error

    with pytest.raises(error):
        write_store(tmp_path / "a.lmdb", stopping(), META)
    assert list(tmp_path.iterdir()) == []
    write_store(tmp_path / "a.lmdb", [record(1)], META)
    with pytest.raises(error):
        write_store(tmp_path / "a.lmdb", stopping(), META)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lmdb"]
    assert_equal(PoseStore(tmp_path / "a.lmdb")[0], record(1))


def test_a_store_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        write_store(tmp_path / "a.lmdb", [], META)
    assert list(tmp_path.iterdir()) == []


def test_two_readers_and_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    write_store(path, [record(0)], META)
    first, second = PoseStore(path), PoseStore(path)
    assert_equal(first[0], second[0])
    write_store(path, [record(1)], META)
    assert_equal(PoseStore(path)[0], record(1))
    assert_equal(first[0], record(0))


def image_bytes_of(store: PoseStore, index: int) -> bytes:
    return store[index].image_bytes


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_open_the_file_themselves(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on {sys.platform}")
    write_store(tmp_path / "a.lmdb", [record(k) for k in range(3)], META)
    store = PoseStore(tmp_path / "a.lmdb")
    expected = [store[k].image_bytes for k in range(3)]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.starmap(image_bytes_of, [(store, k) for k in range(3)]) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_reads_the_parents_store(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(0)], META)
    store, other = PoseStore(tmp_path / "a.lmdb"), PoseStore(tmp_path / "a.lmdb")
    child = os.fork()
    if child == 0:
        try:
            same = store[0].image_bytes == other[0].image_bytes
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert_equal(store[0], record(0))


def test_pickling_carries_no_open_file(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(0)], META)
    store = PoseStore(tmp_path / "a.lmdb")
    assert_equal(pickle.loads(pickle.dumps(store))[0], store[0])


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.lmdb: is not there"):
        PoseStore(tmp_path / "none.lmdb")
    for name, content in (("empty.lmdb", b""), ("text.lmdb", b"not a store\n" * 1000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: is not a pose store"):
            PoseStore(tmp_path / name)
    with pytest.raises(InputError, match="is not there"):
        PoseStore(tmp_path)
    write_raw(tmp_path / "other.lmdb", {b"a": b"b"})
    with pytest.raises(InputError, match=r"other\.lmdb: lacks __keys__"):
        PoseStore(tmp_path / "other.lmdb")


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(k, size=5000) for k in range(20)], META)
    content = (tmp_path / "a.lmdb").read_bytes()
    for name, length in (("few", 100), ("meta", 8192), ("half", 65536), ("page", -4096)):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"{name}: .*(cut short|not a pose store)"):
            PoseStore(tmp_path / name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({b"__keys__": b"\xc1"}, "list of records is damaged"),
        ({b"__keys__": msgpack.packb(5)}, "list of records is damaged"),
        ({b"__keys__": msgpack.packb([0])}, "list of records is damaged"),
        ({b"__len__": msgpack.packb(3)}, "list of records is damaged"),
        ({b"__meta__": msgpack.packb([1])}, "note is damaged"),
        ({b"__meta__": msgpack.packb({"schema_version": 99})}, "schema 99, this version reads 1"),
    ],
)
def test_a_damaged_index_is_named(tmp_path: Path, damage: dict[bytes, bytes], message: str) -> None:
    entries = {b"0": b"", b"__keys__": msgpack.packb([b"0"]), b"__len__": msgpack.packb(1)}
    write_raw(tmp_path / "a.lmdb", {**entries, **damage})
    with pytest.raises(InputError, match=rf"a\.lmdb: .*{message}"):
        PoseStore(tmp_path / "a.lmdb")


@pytest.mark.parametrize(
    "packed",
    [
        b"\xc1",
        msgpack.packb(1),
        msgpack.packb((b"", [])),
        msgpack.packb(("text", [], [], [], [])),
        msgpack.packb((b"", [[1] * 6], [], [], [])),
        msgpack.packb((b"", [["a"] * 6], [[1] * 4], [[1] * 6], [[]])),
        msgpack.packb((b"", msgpack.ExtType(5, b"code"), [], [], [])),
        pickle.dumps("never unpickled"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, packed: bytes) -> None:
    entries = {b"0": packed, b"__keys__": msgpack.packb([b"0"]), b"__len__": msgpack.packb(1)}
    write_raw(tmp_path / "a.lmdb", entries)
    store = PoseStore(tmp_path / "a.lmdb")
    with pytest.raises(InputError, match=r"a\.lmdb: record 0 is damaged"):
        store[0]


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    entries = {b"__keys__": msgpack.packb([b"0"]), b"__len__": msgpack.packb(1)}
    write_raw(tmp_path / "a.lmdb", entries)
    with pytest.raises(InputError, match="lacks 0"):
        PoseStore(tmp_path / "a.lmdb")[0]


def test_a_folder_store_is_read(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(0)], META)
    (tmp_path / "folder.lmdb").mkdir()
    shutil.copy(tmp_path / "a.lmdb", tmp_path / "folder.lmdb" / "data.mdb")
    assert_equal(PoseStore(tmp_path / "folder.lmdb")[0], record(0))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="boxes_xyxy"):
        Record(b"", np.zeros((2, 6)), np.zeros((1, 4)), np.zeros((2, 6)), ())
    with pytest.raises(ValueError, match="landmarks"):
        Record(b"", np.zeros((1, 6)), np.zeros((1, 4)), np.zeros((1, 6)), ())
