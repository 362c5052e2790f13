"""Predictions on disk: made once, scored any number of times.

A cache is a folder. `provenance.json` says what the predictions depend on, `model.json` what
scoring needs to know of the model, and each process appends a line a picture to a
`part_RANK.jsonl` of its own: JSON whose last entry is a CRC-32 of what stands before it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import statistics
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.distributed import ALONE, Processes
from img2pose.errors import InputError, OutputError
from img2pose.files import check_output_folder, told_when_unwritable, write_json
from img2pose.inference.detector import Detector
from img2pose.references import PoseReferences
from img2pose.versions import package_versions

try:
    import fcntl
except ImportError:  # Windows has none: there, two commands in one folder are not noticed.
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PROVENANCE_FILE = "provenance.json"
MODEL_FILE = "model.json"
REMEDY = "give another --output_path, or --overwrite_predictions"
"""What messages tell the user to do; every command with a cache has these flags."""

FORMAT = "img2pose-predictions"
FORMAT_VERSION = 1
_PARTS = "part_*.jsonl"
_CHECKSUM = re.compile(rb', "crc32": (\d{1,10})\}\n\Z')
_LONGEST_VALUE = 24


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model found in one picture, best first.

    Attributes:
        boxes: (N, 4) float64; left, top, right, bottom in pixels of the picture.
        scores: (N,) float64.
        size_hw: Height and width of the picture in pixels.
        poses: (N, 6) float64 in the picture's camera; None from protocols without poses.
        intrinsics: (3, 3) float64, the camera of the poses; None without poses.
        seconds: What the prediction took, without reading the picture.

    Raises:
        ValueError: A shape is wrong.
    """

    boxes: np.ndarray
    scores: np.ndarray
    size_hw: tuple[int, int]
    poses: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = {"boxes": (count, 4), "scores": (count,)}
        if (self.poses is None) != (self.intrinsics is None):
            raise ValueError("poses and intrinsics belong together")
        if self.poses is not None:
            shapes |= {"poses": (count, 6), "intrinsics": (3, 3)}
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            # JSON cannot tell an empty list of boxes from one of numbers.
            value = value.reshape(shape) if value.size == 0 and count == 0 else value
            if value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {value.shape}")
            object.__setattr__(self, name, value)
        height, width = self.size_hw
        object.__setattr__(self, "size_hw", (int(height), int(width)))

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def from_detections(cls, found: FaceDetections, seconds: float = 0.0) -> Prediction:
        """The same faces."""
        return cls(found.boxes, found.scores, found.size_hw, found.poses, found.intrinsics, seconds)

    def as_detections(self) -> FaceDetections:
        """The same faces.

        Raises:
            ValueError: There are no poses.
        """
        if self.poses is None or self.intrinsics is None:
            raise ValueError("predictions without poses are no detections")
        return FaceDetections(self.poses, self.boxes, self.scores, self.intrinsics, self.size_hw)


@dataclass(frozen=True, eq=False)
class ModelNotes:
    """What scoring and reports need to know of a model that is not loaded.

    Attributes:
        references: The reference face of the poses.
        config: Fields of `ModelConfig` that it ran with, as JSON has them.
        score_threshold: Detections have a greater score.
        device: Where it ran first; a run may go on elsewhere.
        versions: Of the packages that it ran with first.
    """

    references: PoseReferences
    config: Mapping[str, Any]
    score_threshold: float
    device: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, detector: Detector) -> ModelNotes:
        """Notes on a loaded model."""
        config = json.loads(json.dumps(asdict(detector.model.config)))
        return cls(
            detector.references,
            config,
            detector.score_threshold,
            str(detector.device),
            package_versions(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; numbers stay exact."""
        return {
            "config": dict(self.config),
            "score_threshold": self.score_threshold,
            "device": self.device,
            "versions": dict(self.versions),
            "points_68": self.references.points_68.tolist(),
            "points_5": self.references.points_5.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelNotes:
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: Something is missing or of another kind.
        """
        return cls(
            PoseReferences(np.array(values["points_68"]), np.array(values["points_5"])),
            dict(values["config"]),
            float(values["score_threshold"]),
            str(values["device"]),
            dict(values["versions"]),
        )


def _pack(name: str, prediction: Prediction) -> bytes:
    """One line.

    Raises:
        ValueError: A number is not finite.
    """
    values = {
        "name": name,
        "size_hw": prediction.size_hw,
        "seconds": prediction.seconds,
        "intrinsics": None if prediction.intrinsics is None else prediction.intrinsics.tolist(),
        "boxes": prediction.boxes.tolist(),
        "scores": prediction.scores.tolist(),
        "poses": None if prediction.poses is None else prediction.poses.tolist(),
    }
    body = json.dumps(values, allow_nan=False)[:-1].encode("ascii")
    return body + b', "crc32": %d}\n' % zlib.crc32(body)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}")


def _unpack(line: bytes) -> tuple[str, Prediction]:
    """The inverse of `_pack`.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: The line is damaged.
    """
    checksum = _CHECKSUM.search(line)
    if checksum is None or zlib.crc32(line[: checksum.start()]) != int(checksum[1]):
        raise ValueError("its checksum is wrong")
    values = json.loads(line, parse_constant=_refuse_constant)
    name = values["name"]
    if not isinstance(name, str):
        raise TypeError("its name is no text")
    return name, Prediction(
        values["boxes"],
        values["scores"],
        values["size_hw"],
        values["poses"],
        values["intrinsics"],
        float(values["seconds"]),
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested entries by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shortened(value: Any) -> str:
    if value is None:
        return "none given"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _check_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    was, now = _flat(found), _flat(wanted)
    for name in {**now, **was}:
        if name not in was or name not in now or was[name] != now[name]:
            old, new = (
                _shortened(values[name]) if name in values else "not there" for values in (was, now)
            )
            raise InputError(
                f"{path}: predictions made with another {name} ({old}, now {new}); {REMEDY}"
            )


def _read_json(path: Path) -> Any:
    """What a file holds, or None where there is none.

    Raises:
        InputError: It is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON; {REMEDY}") from error


def _opened(path: Path) -> IO[bytes]:
    """A part to be read.

    Raises:
        InputError: It cannot be.
    """
    try:
        return open(path, "rb")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); remove it or give another --output_path"
        ) from error


def _lock(file: IO[bytes], path: Path) -> None:
    """Keeps other commands from writing the file; the lock ends with the file's closing.

    Raises:
        InputError: Another one writes it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{path}: another process is predicting into it; wait for it or give another"
            " --output_path"
        ) from error
    except OSError:
        # Some network file systems have no locks.
        logger.debug("%s: cannot be locked", path)


class PredictionCache:
    """Predictions by picture name; see the module. `open` makes one.

    Attributes:
        folder: Where it lies.
        provenance: What the predictions depend on.
        model: Notes on the model, None until one was loaded for it.
    """

    def __init__(self, folder: Path, provenance: Mapping[str, Any], rank: int) -> None:
        self.folder = folder
        self.provenance = provenance
        self.model: ModelNotes | None = None
        self._own_path = folder / f"part_{rank}.jsonl"
        self._own_file: IO[bytes] | None = None
        # Bytes of the own part up to its last whole line.
        self._own_length = 0
        self._predictions: dict[str, Prediction] = {}

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        provenance: Mapping[str, Any],
        *,
        overwrite: bool = False,
        processes: Processes = ALONE,
    ) -> PredictionCache:
        """Opens a folder, which appears with the first prediction.

        A line without its end, as a killed process leaves it, does not count and is written anew.

        Args:
            folder: The cache's own.
            provenance: What the predictions depend on: plain values as JSON has them, maybe
                nested, the same in all processes.
            overwrite: Remove the predictions that are there.
            processes: Each has to call this; each appends to a part of its own. How many there are
                may change from one start to the next.

        Raises:
            InputError: The predictions there depend on something else, are damaged or are just
                being written; the folder cannot be written to.
        """
        cache = cls(Path(folder), json.loads(json.dumps(dict(provenance))), processes.rank)
        with processes.one_error():
            check_output_folder(folder)
            if processes.is_main and overwrite:
                cache._remove()
        # Not before the main process has removed what was there.
        with processes.one_error():
            cache.reload()
        return cache

    @property
    def done(self) -> frozenset[str]:
        """Names of the pictures that are predicted."""
        return frozenset(self._predictions)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those that are not predicted, each once, in their order."""
        return [name for name in dict.fromkeys(names) if name not in self._predictions]

    def __contains__(self, name: object) -> bool:
        return name in self._predictions

    def __len__(self) -> int:
        return len(self._predictions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._predictions)

    def __getitem__(self, name: str) -> Prediction:
        """The prediction of a picture.

        Raises:
            KeyError: There is none.
        """
        return self._predictions[name]

    def add(self, name: str, prediction: Prediction, seconds: float) -> None:
        """Appends a prediction to this process's part; it outlives the process.

        Args:
            name: The picture's.
            prediction: What was found.
            seconds: What it took.

        Raises:
            InputError: A number is not finite, or another command predicts into this cache.
            OutputError: The disk is full, for example; the part then ends with the line before.
        """
        prediction = replace(prediction, seconds=seconds)
        try:
            line = _pack(name, prediction)
        except ValueError as error:
            raise InputError(
                f"{name}: the model predicts numbers that are not finite; use another checkpoint"
            ) from error
        file = self._own_file or self._begin()
        with told_when_unwritable(self._own_path):
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(self._own_length)
                raise
        self._own_length += len(line)
        self._predictions[name] = prediction

    def inference_seconds(self) -> dict[str, float | None]:
        """`inference_total` and `inference_median` of a picture; None without pictures."""
        seconds = [prediction.seconds for prediction in self._predictions.values()]
        return {
            "inference_total": sum(seconds),
            "inference_median": statistics.median(seconds) if seconds else None,
        }

    def note_model(self, model: ModelNotes) -> None:
        """Keeps notes on the model, unless there are some already."""
        self.model = self.model or model
        if (self.folder / PROVENANCE_FILE).exists():
            self._write_model()

    def close(self) -> None:
        """Lets others write this process's part."""
        if self._own_file is not None:
            self._own_file.close()
            self._own_file = None

    def reload(self) -> None:
        """Reads what all processes have written.

        Raises:
            InputError: See `open`.
        """
        if not self._check_provenance():
            return
        self.model = self._read_model()
        self._predictions = {}
        for path in sorted(self.folder.glob(_PARTS)):
            self._read_part(path)

    def _check_provenance(self) -> bool:
        """Whether there is a cache; an older one has to have the same provenance."""
        path = self.folder / PROVENANCE_FILE
        content = _read_json(path)
        if content is None:
            if any(self.folder.glob(_PARTS)):
                raise InputError(f"{path}: missing beside predictions; {REMEDY}")
            return False
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path}: does not describe predictions; {REMEDY}")
        if content.get("format_version") != FORMAT_VERSION:
            raise InputError(f"{path}: predictions in the format of another release; {REMEDY}")
        if not isinstance(content.get("provenance"), dict):
            raise InputError(f"{path}: does not describe predictions; {REMEDY}")
        _check_same(path, content["provenance"], self.provenance)
        return True

    def _read_model(self) -> ModelNotes | None:
        path = self.folder / MODEL_FILE
        content = _read_json(path)
        try:
            return None if content is None else ModelNotes.from_dict(content)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: does not describe a model; {REMEDY}") from error

    def _read_part(self, path: Path) -> None:
        with _opened(path) as file:
            length = 0
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    logger.info("%s: line %d is cut short and does not count", path, number)
                    break
                try:
                    name, prediction = _unpack(line)
                except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                    raise InputError(
                        f"{path}: line {number} is damaged ({error}); {REMEDY}"
                    ) from error
                # Two commands at once may both have predicted a picture.
                self._predictions.setdefault(name, prediction)
                length += len(line)
        if path == self._own_path:
            self._own_length = length

    def _begin(self) -> IO[bytes]:
        """Opens this process's part for writing; the cache appears if it is new."""
        with told_when_unwritable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / PROVENANCE_FILE
            if not path.exists():
                write_json(
                    path,
                    {
                        "format": FORMAT,
                        "format_version": FORMAT_VERSION,
                        "provenance": self.provenance,
                    },
                    indent=1,
                )
            # Another command may have been the first.
            self._check_provenance()
            self._write_model()
            file = open(self._own_path, "ab", buffering=0)  # noqa: SIM115
            try:
                _lock(file, self._own_path)
                file.truncate(self._own_length)
            except BaseException:
                file.close()
                raise
        self._own_file = file
        return file

    def _write_model(self) -> None:
        path = self.folder / MODEL_FILE
        if self.model is not None and not path.exists():
            with told_when_unwritable(path):
                write_json(path, self.model.to_dict())

    def _remove(self) -> None:
        """Removes the predictions, and nothing else that may lie in the folder."""
        for path in self.folder.glob(_PARTS):
            with _opened(path) as file:
                _lock(file, path)
        try:
            # The provenance last: without it, what a stop leaves would be refused.
            for path in (*self.folder.glob(_PARTS), self.folder / MODEL_FILE):
                path.unlink(missing_ok=True)
            (self.folder / PROVENANCE_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder}: old predictions cannot be removed ({error})"
            ) from error
