"""What a store holds, and as which bytes: records as published, and beside them what those lack.

| key | value, packed with msgpack |
|---|---|
| `0`, `1`, ... | image file bytes, poses in image, boxes, poses in box, landmarks |
| `__keys__` | list of these keys |
| `__len__` | their number |
| `0:info`, ... | map: image path, size, label source, checksum of the record |
| `__report__` | map: what the converter counted and left out |
| `__meta__` | map: how the labels were made, counts, pose statistics, checksums |

The first three are the published layout; its readers ignore the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import msgpack
import numpy as np

from img2pose.data.labels import POSE_CAMERAS, PoseCamera, has_pose
from img2pose.types import PoseStats

SCHEMA_VERSION = 2
"""Version 1 had no `:info`, no statistics and no checksums."""

KEYS_KEY, LENGTH_KEY, META_KEY = b"__keys__", b"__len__", b"__meta__"
REPORT_KEY = b"__report__"
_CHECKSUM = "crc32"
_INFO_CHECKSUM = "info_crc32"
_KEYS_CHECKSUM = "keys_crc32"
_REPORT_CHECKSUM = "report_crc32"


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
class RecordInfo:
    """What the published record lacks.

    Attributes:
        image_path: The image, relative to the data set's folder; None if it was not told.
        size_hw: Height and width of its pixels as they are stored, None if it was not told.
        label_source: Who or what made the labels, None if it was not told.
        crc32: Checksum of the packed record; None before it is stored.
    """

    image_path: str | None = None
    size_hw: tuple[int, int] | None = None
    label_source: str | None = None
    crc32: int | None = None


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
        pose_mean: Mean of the posed faces' poses in their boxes; None without any, and in stores
            of version 1. With `posed_faces` and `pose_stddev`, statistics of stores can be pooled.
        pose_stddev: Their standard deviation (of the population).
        fingerprint: Hash of everything that the store was made from; None where that is not known.
        schema_version: Of this note.
    """

    pose_camera: PoseCamera
    references_sha256: str
    references_name: str
    images: int = 0
    faces: int = 0
    posed_faces: int = 0
    pose_mean: tuple[float, ...] | None = None
    pose_stddev: tuple[float, ...] | None = None
    fingerprint: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def has_checksums(self) -> bool:
        """Whether the store has an info and a checksum for each record."""
        return self.schema_version >= 2

    @property
    def pose_stats(self) -> PoseStats | None:
        """Statistics of the poses in their boxes; None where they are not known.

        Raises:
            InputError: The poses do not vary.
        """
        if self.pose_mean is None or self.pose_stddev is None:
            return None
        return PoseStats(np.array(self.pose_mean), np.array(self.pose_stddev))


def pack(value: Any) -> bytes:
    """Msgpack."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(packed: bytes) -> Any:
    """The value of a key.

    Raises:
        ValueError: It is no msgpack.
    """
    # Extension types stay inert `ExtType` values: nothing in a store is ever executed.
    return msgpack.unpackb(packed, strict_map_key=False)


def info_key(key: bytes) -> bytes:
    """Where the `RecordInfo` of a record lies."""
    return key + b":info"


def pack_record(record: Record) -> bytes:
    """The published five-tuple."""
    return pack(
        (
            record.image_bytes,
            record.poses_in_image.tolist(),
            record.boxes_xyxy.tolist(),
            record.poses_in_box.tolist(),
            [points.tolist() for points in record.landmarks],
        )
    )


def unpack_record(packed: bytes) -> Record:
    """The record of a key.

    Raises:
        ValueError, TypeError, OverflowError: It is damaged.
    """
    image_bytes, poses_in_image, boxes, poses_in_box, landmarks = unpack(packed)
    if not isinstance(image_bytes, bytes):
        raise ValueError("the image is not bytes")
    return Record(
        image_bytes,
        np.asarray(poses_in_image, dtype=np.float64),
        np.asarray(boxes, dtype=np.float64),
        np.asarray(poses_in_box, dtype=np.float64),
        tuple(np.asarray(points, dtype=np.float64) for points in landmarks),
    )


def _with_checksum(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {**values, name: zlib.crc32(pack(values))}


def _without_checksum(packed: bytes, name: str) -> dict[str, Any]:
    values = unpack(packed)
    if not isinstance(values, dict):
        raise ValueError("not a map")
    expected = values.pop(name)
    if zlib.crc32(pack(values)) != expected:
        raise ValueError("its checksum differs")
    return values


def pack_info(info: RecordInfo, packed_record: bytes) -> bytes:
    """The info of a record, with checksums of the record and of itself."""
    values = {
        "image_path": info.image_path,
        "size_hw": info.size_hw,
        "label_source": info.label_source,
        _CHECKSUM: zlib.crc32(packed_record),
    }
    return pack(_with_checksum(values, _INFO_CHECKSUM))


def unpack_info(packed: bytes) -> RecordInfo:
    """The info of a record.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: It is damaged.
    """
    values = _without_checksum(packed, _INFO_CHECKSUM)
    size = values["size_hw"]
    return RecordInfo(
        values["image_path"],
        None if size is None else (int(size[0]), int(size[1])),
        values["label_source"],
        int(values[_CHECKSUM]),
    )


def check_record(packed_record: bytes, info: RecordInfo) -> None:
    """Refuses a record that is not the one its info was made for.

    Raises:
        ValueError: The checksums differ.
    """
    if zlib.crc32(packed_record) != info.crc32:
        raise ValueError("its checksum differs")


def pack_meta(meta: StoreMeta, packed_keys: bytes, packed_report: bytes) -> bytes:
    """The note, with checksums of the list of records, of the report, and of itself."""
    values = {
        **asdict(meta),
        _KEYS_CHECKSUM: zlib.crc32(packed_keys),
        _REPORT_CHECKSUM: zlib.crc32(packed_report),
    }
    return pack(_with_checksum(values, _CHECKSUM))


def unpack_meta(packed: bytes, packed_keys: bytes, packed_report: bytes | None) -> StoreMeta:
    """The note of a store of any version.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: It, the list of records or the
            report is damaged.
    """
    values: Mapping[str, Any] = unpack(packed)
    version = values["schema_version"]
    if version == SCHEMA_VERSION:
        values = _without_checksum(packed, _CHECKSUM)
        if zlib.crc32(packed_keys) != values[_KEYS_CHECKSUM]:
            raise ValueError("the checksum of its list of records differs")
        if packed_report is None or zlib.crc32(packed_report) != values[_REPORT_CHECKSUM]:
            raise ValueError("the checksum of its report differs")
    elif version != 1:
        raise ValueError(f"schema {version}, this version reads 1 to {SCHEMA_VERSION}")
    if values["pose_camera"] not in POSE_CAMERAS:
        raise ValueError(f"pose camera {values['pose_camera']!r}")
    known = {field.name for field in fields(StoreMeta)}
    made_of = {name: value for name, value in values.items() if name in known}
    for name in ("pose_mean", "pose_stddev"):
        if made_of.get(name) is not None:
            made_of[name] = tuple(map(float, made_of[name]))
    for name in ("images", "faces", "posed_faces"):
        made_of[name] = int(values[name])
    for name in ("references_sha256", "references_name"):
        made_of[name] = str(values[name])
    return StoreMeta(**made_of)
