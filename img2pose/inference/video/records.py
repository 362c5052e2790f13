"""What is found in a video, a line of JSON a frame, appended as it is found.

Each line can be read by itself: `FaceDetections.from_dict` takes it. A run that was stopped leaves
whole lines and perhaps the beginning of one more, which is dropped when the run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2pose.detections import FaceDetections
from img2pose.errors import InputError
from img2pose.files import told_when_unwritable


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """The faces of one frame.

    Attributes:
        number: Of the frame, from 0.
        ticks: Its time since the first frame in units of the source's time base.
        time_s: The same in seconds.
        found: As the detector found them.
        tracks: (N,) number of each face; None without tracking.
        smoothed: The same faces with smoothed poses and boxes; None without smoothing.
    """

    number: int
    ticks: int
    time_s: float
    found: FaceDetections
    tracks: np.ndarray | None = None
    smoothed: FaceDetections | None = None

    @property
    def shown(self) -> FaceDetections:
        """The faces to draw."""
        return self.found if self.smoothed is None else self.smoothed

    def to_line(self) -> str:
        """One line of JSON with its end.

        Raises:
            ValueError: A number is not finite.
        """
        described = self.found.to_dict(euler=True)
        faces: list[dict[str, Any]] = described["faces"]
        if self.tracks is not None:
            for face, track in zip(faces, self.tracks.tolist(), strict=True):
                face["track"] = track
        if self.smoothed is not None:
            smoothed = self.smoothed.to_dict(euler=True)["faces"]
            for face, calmer in zip(faces, smoothed, strict=True):
                del calmer["score"]  # it is the same
                face["smoothed"] = calmer
        line = {"frame": self.number, "ticks": self.ticks, "time_s": self.time_s, **described}
        return json.dumps(line, allow_nan=False) + "\n"


def read_found(path: Path) -> list[tuple[int, FaceDetections]]:
    """What earlier runs found: of each frame its ticks and faces, in order.

    What follows the last whole line is not looked at.

    Raises:
        InputError: The file holds something else.
    """
    if not path.exists():
        return []
    found: list[tuple[int, FaceDetections]] = []
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                if entry["frame"] != len(found):
                    raise ValueError(f"frame {entry['frame']} where {len(found)} was expected")
                found.append((int(entry["ticks"]), FaceDetections.from_dict(entry)))
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                raise InputError(
                    f"{path}: line {len(found) + 1} is not one of this command's; move the file"
                    " away or give --overwrite"
                ) from error
    return found


class FrameLines:
    """The file of lines, which only grows.

    Args:
        path: Lines after the first `kept` are cut off.
        kept: How many frames stay.

    Raises:
        OutputError: It cannot be written to.
    """

    def __init__(self, path: Path, kept: int) -> None:
        self._path = path
        with told_when_unwritable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b")  # noqa: SIM115 (closed by `close`)
            self._file.seek(0)
            for _ in range(kept):
                self._file.readline()
            self._file.truncate(self._file.tell())

    def append(self, frames: Sequence[FrameFaces]) -> None:
        """Adds the lines of a batch, on the disk when this returns.

        Raises:
            OutputError: The disk is full, for example.
        """
        content = "".join(frame.to_line() for frame in frames).encode()
        with told_when_unwritable(self._path):
            self._file.write(content)
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
