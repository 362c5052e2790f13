"""Stores: records come back, the file stays small, and damaged files are named."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import lmdb
import msgpack
import numpy as np
import pytest

from img2pose.data.store import PoseStore, Record, RecordInfo, StoreMeta, write_store
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
    meta = PoseStore(tmp_path / "a.lmdb").meta
    assert meta is not None
    assert meta.pose_mean is not None
    expected = StoreMeta("image", "0" * 64, "made", 2, 3, 1, meta.pose_mean, meta.pose_stddev)
    assert meta == expected
    assert expected.schema_version == 2


def test_the_note_holds_statistics_that_pool(tmp_path: Path) -> None:
    records = [record(k, faces=4) for k in range(9)]
    metas = []
    for name, part in (("a", records[:3]), ("b", records[3:])):
        write_store(tmp_path / name, part, META)
        metas.append(PoseStore(tmp_path / name).meta)
    poses = np.concatenate([r.poses_in_box[r.has_pose] for r in records])
    counts = np.array([meta.posed_faces for meta in metas if meta is not None])[:, None]
    means, deviations = (
        np.array([getattr(meta, name) for meta in metas]) for name in ("pose_mean", "pose_stddev")
    )
    mean = (counts * means).sum(0) / counts.sum()
    variance = (counts * (deviations**2 + (means - mean) ** 2)).sum(0) / counts.sum()
    np.testing.assert_allclose(mean, poses.mean(0), atol=1e-12)
    np.testing.assert_allclose(np.sqrt(variance), poses.std(0), atol=1e-12)


def test_infos_come_back(tmp_path: Path) -> None:
    told = RecordInfo("folder/a.jpg", (60, 80), "yunet")
    write_store(tmp_path / "a.lmdb", [(record(0), told), record(1)], META)
    store = PoseStore(tmp_path / "a.lmdb")
    info, other = store.info(0), store.info(1)
    assert info is not None
    assert other is not None
    assert dataclasses.replace(info, crc32=None) == told
    assert dataclasses.replace(other, crc32=None) == RecordInfo()
    with pytest.raises(IndexError):
        store.info(2)


def rewrite(path: Path, changes: Mapping[bytes, bytes | None]) -> None:
    """Changes values under keys (None: removes them), as damage to the data would."""
    with (
        lmdb.open(str(path), subdir=False, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in changes.items():
            if value is None:
                assert transaction.delete(key)
            else:
                transaction.put(key, value)


def entries_of(path: Path) -> dict[bytes, bytes]:
    with (
        lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def test_a_record_that_is_not_the_stored_one_is_named(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(k) for k in range(3)], META)
    entries = entries_of(tmp_path / "a.lmdb")
    changed = bytearray(entries[b"1"])
    changed[100] ^= 1
    rewrite(tmp_path / "a.lmdb", {b"1": bytes(changed), b"2": entries[b"0"]})
    store = PoseStore(tmp_path / "a.lmdb")
    assert_equal(store[0], record(0))
    for index in (1, 2):
        with pytest.raises(InputError, match=rf"record {index} is damaged \(its checksum differs"):
            store[index]


@pytest.mark.parametrize(
    ("key", "damage", "message"),
    [
        (b"0:info", None, "lacks 0:info"),
        (
            b"0:info",
            lambda value: value.replace(b"size_hw", b"size_hx"),
            "record 0 has a damaged info",
        ),
        (b"0:info", lambda value: b"\xc1", "0 has a damaged info"),
        (b"__meta__", None, "note is damaged"),
        (b"__meta__", lambda value: value.replace(b"image", b"imagf"), "note is damaged"),
        (b"__meta__", lambda value: value.replace(b"made", b"mode"), "note is damaged"),
        (b"__keys__", lambda value: value.replace(b"0", b"1"), "note is damaged"),
        (b"__report__", None, "note is damaged"),
        (b"__report__", lambda value: msgpack.packb({"a": 1}), "note is damaged"),
    ],
)
def test_damaged_notes_are_named(
    tmp_path: Path, key: bytes, damage: Callable[[bytes], bytes] | None, message: str
) -> None:
    write_store(tmp_path / "a.lmdb", [record(0), record(1)], META)
    value = entries_of(tmp_path / "a.lmdb")[key]
    rewrite(tmp_path / "a.lmdb", {key: damage(value) if damage else None})
    with pytest.raises(InputError, match=message):
        PoseStore(tmp_path / "a.lmdb")[0]


def test_a_store_of_version_1_is_read(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(0)], META)
    note = {"pose_camera": "image", "references_sha256": "0" * 64, "references_name": "made"}
    counts = {"images": 1, "faces": 2, "posed_faces": 1, "schema_version": 1}
    rewrite(
        tmp_path / "a.lmdb",
        {b"__meta__": msgpack.packb({**note, **counts}), b"0:info": None, b"__report__": None},
    )
    store = PoseStore(tmp_path / "a.lmdb")
    assert store.meta == StoreMeta("image", "0" * 64, "made", 1, 2, 1, schema_version=1)
    assert store.info(0) is None
    assert store.report() == {}
    assert_equal(store[0], record(0))


def test_layout_is_the_published_one(tmp_path: Path) -> None:
    expected = record(0)
    write_store(tmp_path / "a.lmdb", [expected], META)
    with (
        lmdb.open(str(tmp_path / "a.lmdb"), subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        entries = {key: msgpack.unpackb(value) for key, value in transaction.cursor()}
    added = {b"0:info", b"__meta__", b"__report__"}
    assert set(entries) == {b"0", b"__keys__", b"__len__"} | added
    assert set(entries[b"0:info"]) == {
        "image_path",
        "size_hw",
        "label_source",
        "crc32",
        "info_crc32",
    }
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
    assert store.info(0) is None
    assert store[0].boxes_xyxy.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("count", "image_bytes", "faces"),
    # Thumbnails, Helen's photographs, WIDER's, photographs that the map has to grow for.
    [(600, 3_000, 1), (200, 45_000, 1), (150, 110_000, 12), (30, 1_500_000, 3)],
)
def test_the_file_is_hardly_larger_than_its_images(
    tmp_path: Path, count: int, image_bytes: int, faces: int
) -> None:
    rng = np.random.default_rng(count)
    sizes = rng.integers(image_bytes // 2, image_bytes * 3 // 2, count).tolist()

    def records() -> Iterator[tuple[Record, RecordInfo]]:
        for index, size in enumerate(sizes):
            points = 68 if faces == 1 and image_bytes > 10_000 else 5
            poses = rng.normal(size=(faces, 6))
            boxes = rng.normal(size=(faces, 4))
            landmarks = tuple(rng.normal(size=(faces, points, 2)))
            info = RecordInfo(f"61--Street_Battle/61_Street_{index}.jpg", (768, 1024), "retinaface")
            yield Record(rng.bytes(size), poses, boxes, poses, landmarks), info

    write_store(tmp_path / "a.lmdb", records(), META)
    assert (tmp_path / "a.lmdb").stat().st_size <= 1.1 * sum(sizes) + 4096 * count
    assert [len(r.image_bytes) for r in PoseStore(tmp_path / "a.lmdb")] == sizes


def test_one_image_larger_than_the_first_map(tmp_path: Path) -> None:
    write_store(tmp_path / "a.lmdb", [record(0, size=20 << 20)], META)
    assert len(PoseStore(tmp_path / "a.lmdb")[0].image_bytes) == 20 << 20


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
        ({b"__keys__": msgpack.packb(["\xe9"])}, "list of records is damaged"),
        ({b"__keys__": msgpack.packb([b"\xe9"])}, "list of records is damaged"),
        ({b"__meta__": msgpack.packb({"schema_version": 99})}, "schema 99, this version reads 1"),
        ({b"__meta__": msgpack.packb({"schema_version": 2})}, "note is damaged"),
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
