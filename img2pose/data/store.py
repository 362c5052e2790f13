"""Stores of images with pose labels: one LMDB file, as published, with a note of its making.

Keys `0`, `1`, ... hold msgpack of (image file bytes, poses in image, boxes, poses in box,
landmarks); `__keys__` lists them, `__len__` counts them, and `__meta__`, which older readers
ignore, says how the labels were made.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np

from img2pose.data.labels import POSE_CAMERAS, PoseCamera, has_pose
from img2pose.errors import InputError
from img2pose.files import replace_when_complete

SCHEMA_VERSION = 1
KEYS_KEY, LENGTH_KEY, META_KEY = b"__keys__", b"__len__", b"__meta__"
_REMEDY = "make it with scripts/convert_json_list_to_lmdb.py"
_TRANSACTION_BYTES = 32 << 20
_FIRST_MAP_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class Record:
    """One image and its faces.

    Attributes:
        image_bytes: The image file, unchanged.
        poses_in_image: (N, 6) float64; rotation vector (radians) and translation (reference
            units) in the image's camera; six times -9 where the pose is not known.
        boxes_xyxy: (N, 4) float64, annotated boxes, pixels.
        poses_in_box: (N, 6) float64, the same poses in the cameras of the boxes.
        landmarks: N arrays (P, 2) float64, pixels.

    Raises:
        ValueError: Shapes do not match.
    """

    image_bytes: bytes
    poses_in_image: np.ndarray
    boxes_xyxy: np.ndarray
    poses_in_box: np.ndarray
    landmarks: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        count = len(self.poses_in_image)
        for name, width in (("poses_in_image", 6), ("boxes_xyxy", 4), ("poses_in_box", 6)):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            value = value.reshape(0, width) if value.size == 0 else value
            if value.shape != (count, width):
                raise ValueError(f"{name} must be ({count}, {width}), not {value.shape}")
            object.__setattr__(self, name, value)
        landmarks = tuple(np.asarray(points, dtype=np.float64) for points in self.landmarks)
        if len(landmarks) != count:
            raise ValueError(f"landmarks of {count} faces expected, not of {len(landmarks)}")
        object.__setattr__(self, "landmarks", landmarks)

    def __len__(self) -> int:
        return len(self.poses_in_image)

    @property
    def has_pose(self) -> np.ndarray:
        """(N,) bool: the faces whose pose is known."""
        return has_pose(self.poses_in_image)


@dataclass(frozen=True)
class StoreMeta:
    """How a store's labels were made.

    Attributes:
        pose_camera: Camera that the poses were fitted in, "box" or "image".
        references_sha256: `PoseReferences.sha256` of the reference points.
        references_name: What to call them in messages.
        images: Records in the store.
        faces: Faces in them.
        posed_faces: Those whose pose is known.
        schema_version: Of this note.
    """

    pose_camera: PoseCamera
    references_sha256: str
    references_name: str
    images: int = 0
    faces: int = 0
    posed_faces: int = 0
    schema_version: int = SCHEMA_VERSION


def _pack_record(record: Record) -> bytes:
    packed: bytes = msgpack.packb(
        (
            record.image_bytes,
            record.poses_in_image.tolist(),
            record.boxes_xyxy.tolist(),
            record.poses_in_box.tolist(),
            [points.tolist() for points in record.landmarks],
        )
    )
    return packed


def _unpack(value: bytes) -> Any:
    # Extension types stay inert `ExtType` values: nothing in a store is ever executed.
    return msgpack.unpackb(value, strict_map_key=False)


def _put_all(environment: lmdb.Environment, entries: list[tuple[bytes, bytes]]) -> None:
    """Writes entries in one transaction, with a larger map whenever it gets full."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in entries:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def write_store(path: str | os.PathLike[str], records: Iterable[Record], meta: StoreMeta) -> int:
    """Writes a store, whole or not at all.

    The map grows with the data, so the file is about as large as the images and any disk that
    holds them holds it.

    Args:
        path: The file; its folder is made if it is missing.
        records: Taken one by one; about 32 MiB of them are held in memory.
        meta: How the labels were made; its counts are replaced by those of the records.

    Returns:
        Records written.

    Raises:
        InputError: There are no records.
    """
    keys: list[bytes] = []
    faces = posed_faces = 0
    with replace_when_complete(path) as part:
        environment = lmdb.open(
            str(part),
            subdir=False,
            lock=False,
            sync=False,
            map_size=_FIRST_MAP_BYTES,
        )
        try:
            pending: list[tuple[bytes, bytes]] = []
            pending_bytes = 0
            for index, record in enumerate(records):
                keys.append(str(index).encode("ascii"))
                pending.append((keys[-1], _pack_record(record)))
                pending_bytes += len(pending[-1][1])
                faces += len(record)
                posed_faces += int(record.has_pose.sum())
                if pending_bytes >= _TRANSACTION_BYTES:
                    _put_all(environment, pending)
                    pending, pending_bytes = [], 0
            if not keys:
                raise InputError(f"{path}: no images to store; check the annotations")
            complete = replace(meta, images=len(keys), faces=faces, posed_faces=posed_faces)
            pending += [
                (KEYS_KEY, msgpack.packb(keys)),
                (LENGTH_KEY, msgpack.packb(len(keys))),
                (META_KEY, msgpack.packb(asdict(complete))),
            ]
            _put_all(environment, pending)
        except lmdb.DiskError as error:
            raise InputError(f"{path}: cannot be written ({error}); make room") from error
        finally:
            environment.close()
    return len(keys)


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
        status = (path / "data.mdb" if path.is_dir() else path).stat()
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
    except (OSError, lmdb.Error) as error:
        raise InputError(f"{path}: is not a pose store ({error}); {_REMEDY}") from error
    # Reading beyond the end of a mapped file would kill the process.
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if status.st_size < needed:
        environment.close()
        raise InputError(
            f"{path}: is cut short, {status.st_size} of {needed} bytes; copy it again or {_REMEDY}"
        )
    _open_environments[identity] = environment
    return environment


class PoseStore:
    """Reads a store; a sequence of `Record`s.

    It may be pickled and used by forked and spawned worker processes: each opens the file for
    itself. Stores of the published converter are read too; they have no `meta`.

    Args:
        path: The `.lmdb` file.

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
        try:
            image_bytes, poses_in_image, boxes, poses_in_box, landmarks = _unpack(packed)
            if not isinstance(image_bytes, bytes):
                raise ValueError("the image is not bytes")
            return Record(
                image_bytes,
                np.asarray(poses_in_image, dtype=np.float64),
                np.asarray(boxes, dtype=np.float64),
                np.asarray(poses_in_box, dtype=np.float64),
                tuple(np.asarray(points, dtype=np.float64) for points in landmarks),
            )
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.where(index)} is damaged ({error}); {_REMEDY}") from error

    def key(self, index: int) -> str:
        """What a record is called."""
        return self._keys[index].decode()

    def where(self, index: int) -> str:
        """A record's store and key, for messages."""
        return f"{self.path}: record {self.key(index)}"

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
            keys, length = _unpack(packed_keys), _unpack(packed_length)
            keys = tuple(key.encode("ascii") if isinstance(key, str) else key for key in keys)
            if len(keys) != length or not all(isinstance(key, bytes) for key in keys):
                raise ValueError(f"{len(keys)} keys for {length} records")
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{self.path}: its list of records is damaged ({error}); {_REMEDY}"
            ) from error
        return keys

    def _read_meta(self) -> StoreMeta | None:
        packed = self._find(META_KEY)
        if packed is None:
            return None
        try:
            return _meta_from(_unpack(packed))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self.path}: its note is damaged ({error}); {_REMEDY}") from error


def _meta_from(value: Mapping[str, Any]) -> StoreMeta:
    if value["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema {value['schema_version']}, this version reads {SCHEMA_VERSION}")
    if value["pose_camera"] not in POSE_CAMERAS:
        raise ValueError(f"pose camera {value['pose_camera']!r}")
    return StoreMeta(
        value["pose_camera"],
        str(value["references_sha256"]),
        str(value["references_name"]),
        int(value["images"]),
        int(value["faces"]),
        int(value["posed_faces"]),
    )
