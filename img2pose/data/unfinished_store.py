"""The hidden file that becomes a store, and that only one process writes it."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from img2pose.errors import InputError, OutputError

try:
    import fcntl
except ImportError:  # Windows has none: there, two conversions to one file are not noticed.
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


class UnfinishedStore:
    """The hidden file beside a store that a conversion writes to; one process holds it.

    Args:
        target: The store that it is to become. Its folder is made if it is missing.

    Raises:
        InputError: Another process holds it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.unfinished")
        self._folder_is_new = not target.parent.exists()
        self._lock: int | None = None

    def __enter__(self) -> UnfinishedStore:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._open_locked()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours() and not self.path.stat().st_size:
            self.discard()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Removes the file, and the folder if it was made for it."""
        self.path.unlink(missing_ok=True)
        if self._folder_is_new:
            with suppress(OSError):
                self.target.parent.rmdir()

    def empty(self) -> None:
        """Begins anew."""
        os.truncate(self.path, 0)

    def complete(self) -> None:
        """Gives the file the store's name, in place of what was there.

        Raises:
            OutputError: The disk is full, for example.
        """
        try:
            with open(self.path, "rb") as written:
                os.fsync(written.fileno())
            os.replace(self.path, self.target)
        except OSError as error:
            raise OutputError(f"{self.target}: cannot be written ({error.strerror})") from error

    def _is_ours(self) -> bool:
        """Whether the file still has its hidden name; another process may have made a new one."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        return self._lock is None or os.path.samestat(os.fstat(self._lock), status)

    def _open_locked(self) -> int | None:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            if fcntl is None:
                # Windows neither renames nor removes open files.
                os.close(descriptor)
                return None
            try:
                # The system releases it with the process, however that ends.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise InputError(
                    f"{self.target}: another process converts to it; wait for that or give another"
                    " --dest"
                ) from error
            except OSError as error:
                logger.warning(
                    "%s: cannot be locked (%s); start no second conversion to it",
                    self.path,
                    error.strerror,
                )
            self._lock = descriptor
            if self._is_ours():
                return descriptor
            # The process that held it has finished or removed it meanwhile.
            os.close(descriptor)
