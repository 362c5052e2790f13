"""Stores of images with pose labels: one LMDB file, as published, with notes beside the records.

`img2pose.data.records` says what lies under which key.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lmdb

from img2pose.data.lmdb_check import LmdbError, check_lmdb
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
    unpack,
    unpack_info,
    unpack_meta,
    unpack_record,
)
from img2pose.data.store_writer import StoreWriter
from img2pose.errors import InputError
from img2pose.files import replace_when_complete

__all__ = ["PoseStore", "Record", "RecordInfo", "StoreMeta", "write_store"]

_REMEDY = "make it with scripts/convert_json_list_to_lmdb.py"
# What msgpack and the classes of records answer to damaged bytes.
_DAMAGES = (ValueError, TypeError, KeyError, OverflowError)


def write_store(
    path: str | os.PathLike[str],
    records: Iterable[Record | tuple[Record, RecordInfo]],
    meta: StoreMeta,
) -> int:
    """Writes a store, whole or not at all.

    Args:
        path: The file; its folder is made if it is missing.
        records: Taken one by one; about 32 MiB of them are held in memory.
        meta: How the labels were made; its counts and statistics are replaced by the records'.

    Returns:
        Records written.

    Raises:
        InputError: There are no records.
        OutputError: The disk is full, for example.
    """
    with replace_when_complete(path) as part, StoreWriter(part) as writer:
        for item in records:
            record, info = item if isinstance(item, tuple) else (item, None)
            writer.add(record, info)
            if writer.should_commit:
                writer.commit()
        if not writer.images:
            raise InputError(f"{path}: no images to store; check the annotations")
        writer.finish(meta)
    return writer.images


# LMDB forbids opening a file twice in one process, so all stores of a file share its environment.
_open_environments: weakref.WeakValueDictionary[tuple[int, int, int], lmdb.Environment] = (
    weakref.WeakValueDictionary()
)


def _close_inherited() -> None:
    """Closes what a forked process got from its parent; a mapping must not cross a fork."""
    for identity, environment in list(_open_environments.items()):
        if identity[0] != os.getpid():
            environment.close()
            del _open_environments[identity]


def _open_environment(path: Path) -> lmdb.Environment:
    _close_inherited()
    try:
        file = path / "data.mdb" if path.is_dir() else path
        # LMDB trusts the file: one that is damaged could kill the process.
        check_lmdb(file)
        status = file.stat()
        identity = (os.getpid(), status.st_dev, status.st_ino)
        environment = _open_environments.get(identity)
        if environment is None:
            environment = lmdb.open(
                str(path),
                subdir=path.is_dir(),
                readonly=True,
                lock=False,
                readahead=False,
                create=False,
            )
    except FileNotFoundError as error:
        raise InputError(f"{path}: is not there; {_REMEDY}") from error
    except LmdbError as error:
        raise InputError(f"{path}: {error}; copy it again or {_REMEDY}") from error
    except (OSError, lmdb.Error) as error:
        raise InputError(f"{path}: is not a pose store ({error}); {_REMEDY}") from error
    _open_environments[identity] = environment
    return environment


class PoseStore:
    """Reads a store; a sequence of `Record`s.

    It may be pickled and used by forked and spawned worker processes: each opens the file for
    itself. Stores of the published converter are read too; they have no `meta`.

    Args:
        path: The `.lmdb` file.

    Attributes:
        path: The same.
        meta: How the labels were made; None in stores of the published converter.

    Raises:
        InputError: The file is missing, damaged or something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._environment: lmdb.Environment | None = None
        self._pid = -1
        self._keys = self._read_keys()
        self.meta = self._read_meta()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Record:
        """The record of an image.

        Raises:
            IndexError: There is no such image.
            InputError: The record is damaged.
        """
        key = self._keys[index]
        packed = self._get(key)
        info = self.info(index)
        try:
            if info is not None:
                check_record(packed, info)
            return unpack_record(packed)
        except _DAMAGES as error:
            raise InputError(f"{self.where(index)} is damaged ({error}); {_REMEDY}") from error

    def info(self, index: int) -> RecordInfo | None:
        """What the record itself does not hold; None in stores without it, as published.

        Raises:
            IndexError: There is no such image.
            InputError: It is damaged.
        """
        key = self._keys[index]
        if self.meta is None or not self.meta.has_checksums:
            return None
        packed = self._get(info_key(key))
        try:
            return unpack_info(packed)
        except _DAMAGES as error:
            raise InputError(
                f"{self.where(index)} has a damaged info ({error}); {_REMEDY}"
            ) from error

    def key(self, index: int) -> str:
        """What a record is called."""
        return self._keys[index].decode()

    def where(self, index: int) -> str:
        """A record's store and key, for messages."""
        return f"{self.path}: record {self.key(index)}"

    def report(self) -> dict[str, Any]:
        """What its maker counted and left out (`conversion.Tally`); empty if it does not tell.

        Raises:
            InputError: It is damaged.
        """
        packed = self._find(REPORT_KEY)
        try:
            value = {} if packed is None else unpack(packed)
            if not isinstance(value, dict):
                raise TypeError("not a map")
            return value
        except _DAMAGES as error:
            raise InputError(f"{self.path}: its report is damaged ({error}); {_REMEDY}") from error

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_environment": None, "_pid": -1}

    def _get(self, key: bytes) -> bytes:
        value = self._find(key)
        if value is None:
            raise InputError(f"{self.path}: lacks {key.decode()}; {_REMEDY}")
        return value

    def _find(self, key: bytes) -> bytes | None:
        if self._environment is None or self._pid != os.getpid():
            self._environment, self._pid = _open_environment(self.path), os.getpid()
        try:
            with self._environment.begin() as transaction:
                value = transaction.get(key)
        except lmdb.Error as error:
            raise InputError(f"{self.path}: is damaged ({error}); {_REMEDY}") from error
        return None if value is None else bytes(value)

    def _read_keys(self) -> tuple[bytes, ...]:
        packed_keys, packed_length = self._get(KEYS_KEY), self._get(LENGTH_KEY)
        try:
            keys, length = unpack(packed_keys), unpack(packed_length)
            keys = tuple(key.encode("ascii") if isinstance(key, str) else key for key in keys)
            if len(keys) != length or not all(isinstance(key, bytes) for key in keys):
                raise ValueError(f"{len(keys)} keys for {length} records")
            for key in keys:
                key.decode("ascii")
        except _DAMAGES as error:
            raise InputError(
                f"{self.path}: its list of records is damaged ({error}); {_REMEDY}"
            ) from error
        return keys

    def _read_meta(self) -> StoreMeta | None:
        packed = self._find(META_KEY)
        try:
            if packed is None:
                if self._keys and self._find(info_key(self._keys[0])) is not None:
                    raise ValueError("it is missing")
                return None
            meta = unpack_meta(packed, self._get(KEYS_KEY), self._find(REPORT_KEY))
            if meta.has_checksums and meta.images != len(self):
                raise ValueError(f"{meta.images} images, {len(self)} records")
            return meta
        except InputError:
            raise
        except _DAMAGES as error:
            raise InputError(f"{self.path}: its note is damaged ({error}); {_REMEDY}") from error
