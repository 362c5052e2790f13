"""The folder of a run: what lies in it, and that only one process writes it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from img2pose.errors import InputError
from img2pose.files import (
    check_output_folder,
    told_when_unwritable,
    unfinished_files,
    write_json,
    write_text,
)

try:
    import fcntl
except ImportError:  # Windows has none: there, two runs in one folder are not noticed.
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

# What may be changed between two starts of a run without changing its course.
NEUTRAL_FIELDS = (
    "workspace",
    "prefix",
    "device",
    "log_every_steps",
    "sheet_pictures",
    "checkpoint_every_steps",
    "keep_every_epochs",
    "data.workers",
    "data.unreadable_records",
    # What is done with a model later; a run's own figures are at fixed thresholds.
    "model.face_score_threshold",
)


class RunFolder:
    """Names the files of a run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def best(self) -> Path:
        """The checkpoint whose validation was the best."""
        return self.path / "best.pth"

    @property
    def last(self) -> Path:
        """The newest checkpoint, from which the run goes on."""
        return self.path / "last.pth"

    @property
    def facts(self) -> Path:
        """What the run was started with, each time."""
        return self.path / "run.json"

    def of_epoch(self, epoch: int) -> Path:
        """A checkpoint that is kept for good."""
        return self.path / f"epoch_{epoch:04d}.pth"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Makes the folder and keeps other runs out of it; leftovers of a killed one go.

        Raises:
            InputError: Another process trains here, or the folder cannot be made.
        """
        check_output_folder(self.path)
        is_new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = None if fcntl is None else os.open(self.path, os.O_RDONLY)
        try:
            if lock is not None:
                self._lock(lock)
            for leftover in unfinished_files(self.path):
                leftover.unlink()
            yield
        finally:
            if lock is not None:
                os.close(lock)
            if is_new and not any(self.path.iterdir()):
                self.path.rmdir()

    def _lock(self, folder: int) -> None:
        try:
            # The system releases it with the process, however that ends.
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path}: another process trains here; wait for it or choose another --prefix"
            ) from error
        except OSError as error:
            logger.warning(
                "%s: cannot be locked (%s); start no second run here", self.path, error.strerror
            )

    def describe(self, config: dict[str, Any], facts: dict[str, Any]) -> None:
        """Writes the resolved configuration, and the facts of this start.

        Args:
            config: As plain values.
            facts: Versions, command and so on, for `run.json`.

        Raises:
            OutputError: They cannot be written.
        """
        with told_when_unwritable(self.path):
            write_text(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))
            write_json(self.facts, facts, indent=1)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What two configurations have otherwise, of what changes the course of a run."""
    before, now = _flat(stored), _flat(wanted)
    return [
        f"{name} {before.get(name)}, now {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if name not in NEUTRAL_FIELDS and before.get(name) != now.get(name)
    ]
