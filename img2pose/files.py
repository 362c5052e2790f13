"""Files that appear whole or not at all: written beside the target, then renamed over it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def replace_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is renamed to `path`, on error removed.

    Args:
        path: Target file. Its folder is made if it is missing.

    Yields:
        Path to write to, in the same folder and so on the same file system.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.stem}.", suffix=f".part{target.suffix}"
    )
    os.close(handle)
    # mkstemp makes private files; a result should have the permissions of any new file.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
    part = Path(name)
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.replace(part, target)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with replace_when_complete(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = None) -> None:
    """Writes JSON, whole or not at all; NaN and infinity are refused with `ValueError`."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def write_npy(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Writes one array as `.npy`, whole or not at all."""
    with replace_when_complete(path) as part, open(part, "wb") as handle:
        np.save(handle, array, allow_pickle=False)
