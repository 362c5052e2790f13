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

    def finished(
        self,
        faces: Mapping[str, Any],
        drawing: Mapping[str, Any],
        *,
        overwrite: bool,
        repeatable: bool,
    ) -> dict[str, Any] | None:
        """Looks at what is there; writes nothing.

        Args:
            faces: What the lines depend on.
            drawing: What the video depends on besides.
            overwrite: What is there does not count.
            repeatable: Whether the source can be read again; a recording is never gone on with.

        Returns:
            What came of a run that is complete; None where there is something to do.

        Raises:
            InputError: There are results of something else.
        """
        found = None if overwrite else self._read()
        if found is None:
            if self.lines.exists() and not overwrite:
                raise InputError(f"{self.lines}: is there, but not {self.run.name}; {_REMEDY}")
            return None
        if not repeatable:
            raise InputError(f"{self.run}: tells of a recording that is there; {_REMEDY}")
        was, now = found["faces"], _as_json(faces)
        others = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
        if others:
            raise InputError(f"{self.run}: made with other {', '.join(others)}; {_REMEDY}")
        files_there = all(path.is_file() for path in (self.lines, self.video) if path)
        if not files_there or found["drawing"] != _as_json(drawing):
            return None
        summary: dict[str, Any] | None = found["summary"]
        return summary

    def begin(
        self, faces: Mapping[str, Any], drawing: Mapping[str, Any], *, overwrite: bool
    ) -> None:
        """Makes ready for a run, or for going on with what `finished` found unfinished.

        Args:
            faces: See `finished`.
            drawing: The same.
            overwrite: Throw away what is there.

        Raises:
            OutputError: The disk is full, for example.
        """
        found = None if overwrite else self._read()
        with told_when_unwritable(self.run):
            if overwrite:
                self.lines.unlink(missing_ok=True)
            if found is None or found["drawing"] != _as_json(drawing):
                shutil.rmtree(self.segments, ignore_errors=True)
            self._write(faces, drawing, None)

    def complete(self, summary: Mapping[str, Any]) -> None:
        """Notes what came of the run.

        Raises:
            OutputError: The disk is full, for example.
        """
        found = self._read()
        if found is None:
            raise InputError(f"{self.run}: is gone; give the same command again")
        with told_when_unwritable(self.run):
            self._write(found["faces"], found["drawing"], summary)

    def _write(
        self,
        faces: Mapping[str, Any],
        drawing: Mapping[str, Any],
        summary: Mapping[str, Any] | None,
    ) -> None:
        entries = {"format": _FORMAT, "faces": faces, "drawing": drawing, "summary": summary}
        write_json(self.run, entries, indent=1)

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


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """As they are once they were written and read."""
    read: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return read
