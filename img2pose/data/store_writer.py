"""Writes stores step by step; what was committed outlives the process and can be gone on with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb
import numpy as np

from img2pose.data.lmdb_check import check_lmdb
from img2pose.data.records import (
    KEYS_KEY,
    LENGTH_KEY,
    META_KEY,
    REPORT_KEY,
    Record,
    RecordInfo,
    StoreMeta,
    check_record,
    info_key,
    pack,
    pack_info,
    pack_meta,
    pack_record,
    unpack,
    unpack_info,
    unpack_meta,
    unpack_record,
)
from img2pose.errors import OutputError

_JOURNAL_PREFIX = b"__journal__"
_TRANSACTION_BYTES = 32 << 20
_TRANSACTION_RECORDS = 256
_FIRST_MAP_BYTES = 16 << 20


class StoreWriter:
    """Adds records to a store under the keys `0`, `1`, ...

    Records wait in memory until they are committed. The file becomes a store with `finish`; before
    that it holds a journal, the notes that were committed together with records, so that another
    process can go on after the last commit, however this one ended.

    The map grows with the data, so the file is about as large as the images and any disk that
    holds them holds it.

    Args:
        path: The file, new or empty, or a file of an unfinished writer.

    Attributes:
        images: Records so far, those of an unfinished writer included.
        faces: Faces in them.
        posed_faces: Those whose pose is known.
        journal: Notes that were found in the file, oldest first.
        finished: The complete note if the file was a store already, else None.
        report: What then goes with it.

    Raises:
        ValueError: The file is damaged or something else: begin with an empty one.
        OutputError: The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.images = self.faces = self.posed_faces = 0
        self.journal: list[Any] = []
        self.finished: StoreMeta | None = None
        self.report: Any = None
        self._poses_in_box: list[np.ndarray] = []
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        self._commits = 0
        size = self._path.stat().st_size if self._path.exists() else 0
        if size:
            check_lmdb(self._path, before_writing=True)
        try:
            # Nothing is flushed to the disk before the end: what a loss of power leaves, the
            # check and the checksums tell from what a killed process leaves.
            self._environment = lmdb.open(
                str(self._path),
                subdir=False,
                lock=False,
                sync=False,
                map_size=max(_FIRST_MAP_BYTES, 2 * size),
            )
        except (OSError, lmdb.Error) as error:
            if size:
                raise ValueError(f"{self._path}: cannot be gone on with ({error})") from error
            raise OutputError(f"{self._path}: cannot be written ({error})") from error
        try:
            if size:
                self._read_unfinished()
        except (ValueError, TypeError, KeyError, OverflowError, lmdb.Error) as error:
            self.close()
            raise ValueError(f"{self._path}: cannot be gone on with ({error})") from error

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; what was not committed is lost."""
        self._environment.close()

    @property
    def should_commit(self) -> bool:
        """Whether enough records wait."""
        return (
            self._pending_bytes >= _TRANSACTION_BYTES
            or len(self._pending) >= 2 * _TRANSACTION_RECORDS
        )

    def add(self, record: Record, info: RecordInfo | None = None) -> None:
        """Takes a record.

        Args:
            record: Image and labels.
            info: What else is known; its checksum is replaced.
        """
        key = str(self.images).encode("ascii")
        packed = pack_record(record)
        self._pending += [
            (key, packed),
            (info_key(key), pack_info(info or RecordInfo(), packed)),
        ]
        self._pending_bytes += len(packed)
        self._count(record)

    def commit(self, note: Any = None) -> None:
        """Writes the records that wait and, together with them, a note (msgpack) to the journal.

        Raises:
            OutputError: The disk is full, for example; what was committed before stays.
        """
        entries = list(self._pending)
        if note is not None:
            entries.append((b"%s%08d" % (_JOURNAL_PREFIX, self._commits), pack(note)))
        if entries:
            self._write(entries)
            self._commits += 1
        self._pending, self._pending_bytes = [], 0

    def finish(self, meta: StoreMeta, report: dict[str, Any] | None = None) -> StoreMeta:
        """Writes what waits and makes the file a store.

        Args:
            meta: How the labels were made; counts and statistics are replaced by the records'.
            report: What its maker counted and left out, as msgpack knows values.

        Returns:
            The complete note.

        Raises:
            OutputError: The disk is full, for example.
        """
        poses = np.concatenate([np.zeros((0, 6)), *self._poses_in_box])
        complete = replace(
            meta,
            images=self.images,
            faces=self.faces,
            posed_faces=self.posed_faces,
            pose_mean=tuple(poses.mean(axis=0).tolist()) if len(poses) else None,
            pose_stddev=tuple(poses.std(axis=0).tolist()) if len(poses) else None,
        )
        packed_keys = pack([str(index).encode("ascii") for index in range(self.images)])
        packed_report = pack(report or {})
        entries = [
            *self._pending,
            (KEYS_KEY, packed_keys),
            (LENGTH_KEY, pack(self.images)),
            (REPORT_KEY, packed_report),
            (META_KEY, pack_meta(complete, packed_keys, packed_report)),
        ]
        self._write(entries, without_journal=True)
        self._pending, self._pending_bytes = [], 0
        return complete

    def _count(self, record: Record) -> None:
        posed = record.has_pose
        self.images += 1
        self.faces += len(record)
        self.posed_faces += int(posed.sum())
        self._poses_in_box.append(record.poses_in_box[posed])

    def _write(self, entries: list[tuple[bytes, bytes]], *, without_journal: bool = False) -> None:
        """Writes entries in one transaction, with a larger map whenever it gets full."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in entries:
                        transaction.put(key, value)
                    if without_journal:
                        for key in [key for key, _ in _journal(transaction)]:
                            transaction.delete(key)
                return
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as error:
                raise OutputError(f"{self._path}: cannot be written ({error})") from error

    def _read_unfinished(self) -> None:
        """Takes stock of a file; every record is compared with its checksum."""
        with self._environment.begin() as transaction:
            packed_meta = transaction.get(META_KEY)
            if packed_meta is not None:
                packed_keys, packed_report = (
                    transaction.get(key) or b"" for key in (KEYS_KEY, REPORT_KEY)
                )
                self.finished = unpack_meta(packed_meta, packed_keys, packed_report)
                self.report = unpack(packed_report)
            self.journal = [unpack(value) for _, value in _journal(transaction)]
            self._commits = len(self.journal)
            others = self._commits + (4 if self.finished else 0)
            while (packed := transaction.get(str(self.images).encode("ascii"))) is not None:
                packed_info = transaction.get(info_key(str(self.images).encode("ascii")))
                if packed_info is None:
                    raise ValueError(f"record {self.images} has no info")
                check_record(packed, unpack_info(packed_info))
                self._count(unpack_record(packed))
        if self._environment.stat()["entries"] != 2 * self.images + others:
            raise ValueError("it has entries of another kind")


def _journal(transaction: lmdb.Transaction) -> Iterator[tuple[bytes, bytes]]:
    with transaction.cursor() as cursor:
        if not cursor.set_range(_JOURNAL_PREFIX):
            return
        for key, value in cursor:
            if not bytes(key).startswith(_JOURNAL_PREFIX):
                return
            yield bytes(key), bytes(value)
