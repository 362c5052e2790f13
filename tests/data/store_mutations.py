"""Damage to stores, reproducible by number, and children that read what is left of them."""

from __future__ import annotations

import multiprocessing
import signal
import struct
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import msgpack
import numpy as np

from img2pose.data.records import Record, RecordInfo, StoreMeta, pack_record
from img2pose.data.store import PoseStore, write_store
from img2pose.data.store_writer import StoreWriter
from img2pose.errors import InputError

PAGE = 4096
META = StoreMeta("image", "0" * 64, "made")
KINDS = ("ours", "published", "unfinished")
_RECORDS = 90
_HANGS_AFTER_SECONDS = 30
# The children's own names of the outcomes; anything else is a fault.
SAME, OTHER, REFUSED = "same", "other", "refused"


def make_record(index: int) -> Record:
    """Every third one has a value page or more of its own, the others lie in leaf pages."""
    rng = np.random.default_rng(index)
    poses = rng.normal(size=(1, 6))
    size = int(rng.integers(4000, 12000)) if index % 3 == 0 else int(rng.integers(50, 900))
    landmarks = (rng.normal(size=(5, 2)),)
    return Record(rng.bytes(size), poses, rng.normal(size=(1, 4)), poses, landmarks)


def make_seed(kind: str, path: Path) -> bytes:
    """A small store with pages of all kinds: as we write it, as published, or unfinished."""
    records = [make_record(index) for index in range(_RECORDS)]
    if kind == "ours":
        write_store(
            path, [(r, RecordInfo(f"{k}.jpg", (9, 9))) for k, r in enumerate(records)], META
        )
    elif kind == "unfinished":
        with StoreWriter(path) as writer:
            for index, record in enumerate(records):
                writer.add(record)
                if index % 20 == 19:
                    writer.commit({"done": index})
            writer.commit({"done": _RECORDS})
    else:
        keys = [str(index).encode() for index in range(_RECORDS)]
        with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24) as environment:
            for start in range(0, _RECORDS, 30):
                with environment.begin(write=True) as transaction:
                    for index in range(start, start + 30):
                        transaction.put(keys[index], pack_record(records[index]))
            with environment.begin(write=True) as transaction:
                transaction.put(b"__keys__", msgpack.packb(keys))
                transaction.put(b"__len__", msgpack.packb(_RECORDS))
    return path.read_bytes()


def mutate(content: bytes, number: int) -> bytes:
    """Damages a file: bits, bytes, header fields, whole pages or its length."""
    rng = np.random.default_rng((17, number))
    changed = bytearray(content)
    pages = len(content) // PAGE
    flags = [struct.unpack_from("<H", content, page * PAGE + 10)[0] for page in range(pages)]
    # The later pages of long values have no flags, only data.
    flags = [found if found in (1, 2, 4, 8) else 4 for found in flags]
    # Pages of a rare kind get as much damage as the many that hold values.
    kind = rng.choice(sorted(set(flags)))
    page = int(rng.choice([p for p in range(pages) if flags[p] == kind]))
    start = page * PAGE
    used = 152 if page < 2 else PAGE
    action = rng.choice(["bit", "bit", "bytes", "header", "entry", "number", "page", "length"])
    if action == "bit":
        at = start + int(rng.integers(min(64, used) if rng.random() < 0.5 else used))
        changed[at] ^= 1 << int(rng.integers(8))
    elif action == "bytes":
        count = int(rng.integers(1, 9))
        at = start + int(rng.integers(used - count))
        changed[at : at + count] = rng.bytes(count)
    elif action == "header":
        value = int(rng.choice([0, 1, 2, 15, 16, 17, 18, 4094, 4095, 4096, 0x7FFF, 0xFFFF]))
        struct.pack_into("<H", changed, start + int(rng.choice([8, 10, 12, 14, 16, 18])), value)
    elif action == "entry":
        # A field of the entry that the page's first offsets point to.
        at = struct.unpack_from("<H", content, start + 16 + 2 * int(rng.integers(3)))[0] % 4080
        value = int(rng.choice([0, 1, 2, 4, 0x1000, 0x7FFF, 0xFFFF]))
        struct.pack_into("<H", changed, start + at + int(rng.choice([0, 2, 4, 6])), value)
    elif action == "number":
        # Any eight bytes as a page number, near or absurd.
        value = int(rng.choice([0, 1, pages - 1, pages, pages + 1, 2**31, 2**48, 2**63 - 1]))
        struct.pack_into("<Q", changed, start + int(rng.integers(used - 8)), value)
    elif action == "page":
        other = int(rng.integers(pages)) * PAGE
        one, two = content[start : start + PAGE], content[other : other + PAGE]
        how = rng.choice(["swap", "zero", "ones", "copy", "noise"])
        changed[start : start + PAGE] = {
            "swap": two,
            "zero": bytes(PAGE),
            "ones": b"\xff" * PAGE,
            "copy": two,
            "noise": rng.bytes(PAGE),
        }[str(how)]
        if how == "swap":
            changed[other : other + PAGE] = one
    else:
        del changed[int(rng.integers(len(content))) :]
    return bytes(changed)


def read_everything(path: Path) -> str:
    """Opens a store and reads all of it, as often as single records are damaged."""
    try:
        store = PoseStore(path)
    except InputError:
        return REFUSED
    refused, same = False, len(store) == _RECORDS
    for index in range(len(store)):
        try:
            record = store[index]
            info = store.info(index)
            store.report()
        except InputError:
            refused = True
            continue
        same &= index < _RECORDS and pack_record(record) == pack_record(make_record(index))
        same &= info is None or info.image_path == f"{index}.jpg"
    return REFUSED if refused else SAME if same else OTHER


def go_on(path: Path) -> str:
    """Goes on with an unfinished store, as a converter does that was killed."""
    try:
        writer = StoreWriter(path)
    except ValueError:
        return REFUSED
    with writer:
        done = writer.images
        for index in range(done, _RECORDS + 20):
            writer.add(make_record(index))
            if index % 10 == 0:
                writer.commit({"done": index})
        writer.finish(META)
    found = [pack_record(record) for record in PoseStore(path)]
    same = found == [pack_record(make_record(index)) for index in range(_RECORDS + 20)]
    return SAME if same else OTHER


def _child(connection: Connection, kind: str, content: bytes, path: Path) -> None:
    while True:
        number = connection.recv()
        path.write_bytes(mutate(content, number) if number >= 0 else content)
        try:
            outcome = go_on(path) if kind == "unfinished" else read_everything(path)
        except BaseException as error:
            outcome = f"traceback: {error!r}"
        path.unlink()
        connection.send(outcome)


def outcomes_in_child(
    kind: str, content: bytes, numbers: Iterable[int], folder: Path
) -> dict[int, str]:
    """What became of each mutation; a child that dies is replaced, and named as the outcome.

    Args:
        kind: Of the seed.
        content: The seed.
        numbers: Of the mutations; a negative one stands for no damage.
        folder: For the children's files.
    """
    context = multiprocessing.get_context("fork")
    found = {}
    child = None
    for number in numbers:
        if child is None:
            ours, theirs = context.Pipe()
            arguments = (theirs, kind, content, folder / f"{kind}.lmdb")
            child = context.Process(target=_child, args=arguments, daemon=True)
            child.start()
            theirs.close()
        ours.send(number)
        try:
            found[number] = ours.recv() if ours.poll(_HANGS_AFTER_SECONDS) else "hangs"
        except EOFError:
            child.join()
            code = child.exitcode or 0
            found[number] = f"died of {signal.Signals(-code).name if code < 0 else code}"
        if found[number].startswith(("hangs", "died")):
            child.kill()
            child = None
    if child is not None:
        child.kill()
        child.join()
    return found
