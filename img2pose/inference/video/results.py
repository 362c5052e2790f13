"""The files that come of a video, and what they were made with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2pose.errors import InputError
from img2pose.files import told_when_unwritable, write_json

_FORMAT = "img2pose-video-1"
_REMEDY = "give --overwrite or another --output_path"


@dataclass(frozen=True)
class VideoFiles:
    """Where results go.

    Attributes:
        run: JSON: what the others were made with and, once they are complete, what came of it.
        lines: A line of JSON a frame.
        video: The annotated video; None for none.
        segments: Folder of its parts until it is complete.
    """

    run: Path
    lines: Path
    video: Path | None
    segments: Path

    @classmethod
    def of(cls, folder: Path, name: str, video_suffix: str | None) -> VideoFiles:
        """The files of a source.

        Args:
            folder: Of all.
            name: What their names begin with.
            video_suffix: `.mp4` for example; None without a video.
        """
        return cls(
            folder / f"{name}_run.json",
            folder / f"{name}_faces.jsonl",
            None if video_suffix is None else folder / f"{name}_faces{video_suffix}",
            folder / f"{name}_segments",
        )

    def begin(
        self,
        faces: Mapping[str, Any],
        drawing: Mapping[str, Any],
        *,
        overwrite: bool,
        repeatable: bool,
    ) -> dict[str, Any] | None:
        """Makes ready for a run or for going on with one that was stopped.

        Args:
            faces: What the lines depend on, as JSON has it.
            drawing: What the video depends on besides.
            overwrite: Throw away what is there.
            repeatable: Whether the source can be read again; results of others are never gone on
                with.

        Returns:
            What came of a run that is complete; None where there is something to do.

        Raises:
            InputError: There are results of something else.
            OutputError: The disk is full, for example.
        """
        found = None if overwrite else self._read()
        if found is not None and not repeatable:
            raise InputError(f"{self.run}: tells of a recording that is there; {_REMEDY}")
        if found is None and not overwrite and self.lines.exists():
            raise InputError(f"{self.lines}: is there, but not {self.run.name}; {_REMEDY}")
        entries = json.loads(json.dumps({"faces": dict(faces), "drawing": dict(drawing)}))
        if found is not None:
            self._check_same(found["faces"], entries["faces"])
            redrawn = found["drawing"] != entries["drawing"]
            files_there = all(path.is_file() for path in (self.lines, self.video) if path)
            if found["summary"] is not None and files_there and not redrawn:
                summary: dict[str, Any] = found["summary"]
                return summary
        if overwrite:
            self.lines.unlink(missing_ok=True)
        if overwrite or (found is not None and redrawn):
            shutil.rmtree(self.segments, ignore_errors=True)
        self._write(entries, None)
        return None

    def complete(self, summary: Mapping[str, Any]) -> None:
        """Notes what came of the run.

        Raises:
            OutputError: The disk is full, for example.
        """
        entries = self._read()
        if entries is None:
            raise InputError(f"{self.run}: is gone; give the same command again")
        self._write(entries, summary)

    def _write(self, entries: Mapping[str, Any], summary: Mapping[str, Any] | None) -> None:
        kept = {name: entries[name] for name in ("faces", "drawing")}
        with told_when_unwritable(self.run):
            write_json(self.run, {"format": _FORMAT, **kept, "summary": summary}, indent=1)

    def _read(self) -> dict[str, Any] | None:
        try:
            run = json.loads(self.run.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.run}: cannot be read as JSON; {_REMEDY}") from error
        if (
            not isinstance(run, dict)
            or run.get("format") != _FORMAT
            or not isinstance(run.get("faces"), dict)
            or not {"drawing", "summary"} <= run.keys()
        ):
            raise InputError(f"{self.run}: is no file of this command; {_REMEDY}")
        return run

    def _check_same(self, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        others = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
        if others:
            raise InputError(f"{self.run}: made with other {', '.join(others)}; {_REMEDY}")
