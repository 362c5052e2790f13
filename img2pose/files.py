"""Files that appear whole or not at all: written beside the target, then renamed over it."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os
import shutil
import tempfile
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from img2pose.errors import InputError, OutputError

# NumPy answers a damaged header with any of these.
_NPY_ERRORS = (OSError, ValueError, EOFError, TypeError, SyntaxError, tokenize.TokenError)


def read_npy(
    path: str | os.PathLike[str], shape: tuple[int, ...], remedy: str
) -> NDArray[np.float64]:
    """Reads one array of finite numbers.

    Args:
        path: `.npy` file.
        shape: The only shape that will do.
        remedy: What the error tells the user to do.

    Raises:
        InputError: The file is missing, damaged or holds something else.
    """
    try:
        with open(path, "rb") as handle:
            found, dtype = _npy_header(handle)
            if not np.issubdtype(dtype, np.number):
                raise InputError(f"{path}: holds no array of numbers; {remedy}")
            # Before memory is asked for: a small file can claim any shape.
            if found != shape:
                raise InputError(f"{path}: must have shape {shape}, not {found}; {remedy}")
            handle.seek(0)
            array = np.lib.format.read_array(handle, allow_pickle=False)
    except InputError:
        raise
    except _NPY_ERRORS as error:
        raise InputError(f"{path}: cannot be read as a .npy file; {remedy}") from error
    if np.iscomplexobj(array) or not np.isfinite(array).all():
        raise InputError(f"{path}: has values that are not finite real numbers; {remedy}")
    return array.astype(np.float64)


def _npy_header(handle: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of what a `.npy` file holds; nothing in it is executed."""
    version = np.lib.format.read_magic(handle)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(handle)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(handle)
    else:
        raise ValueError(f"version {version}")
    return shape, dtype


def file_sha256(path: str | os.PathLike[str], remedy: str) -> str:
    """Hash of a file, as hexadecimal digits.

    Args:
        path: The file.
        remedy: What the error tells the user to do.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error


def check_output_folder(path: str | os.PathLike[str]) -> None:
    """Refuses a folder that cannot be made, before work starts.

    Raises:
        InputError: The path, or what would be above it, is a file or cannot be written to.
    """
    folder = Path(path).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the output")
    try:
        # Permissions do not tell: some file systems refuse root too.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written to; give another folder for the output"
        ) from error


@contextmanager
def replace_when_complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is renamed to `path`, on error removed.

    Args:
        path: Target file. Its folder is made if it is missing.

    Yields:
        Path to write to, in the same folder and so on the same file system.
    """
    target = Path(path)
    folder_is_new = not target.parent.exists()
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
        if folder_is_new:
            with suppress(OSError):
                target.parent.rmdir()
        raise


@contextmanager
def told_when_unwritable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns a refusal of the disk into one line.

    Args:
        path: What is written inside.

    Raises:
        OutputError: The disk is full, for example.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); mend that and start the same"
            " command again"
        ) from error


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name, at no cost where the file system can; whole or not at all.

    For files that are replaced and never changed in place.
    """
    with replace_when_complete(target) as part:
        part.unlink()
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)


def unfinished_files(folder: Path) -> list[Path]:
    """What `replace_when_complete` left in a folder when its process was killed."""
    return sorted(folder.glob(".*.part*"))


def leftovers_of(target: Path) -> list[Path]:
    """The same, of one file; whoever removes them must know that no other process writes it."""
    # The eight characters are `tempfile`'s.
    pattern = f".{glob.escape(target.stem)}.????????.part{glob.escape(target.suffix)}"
    return sorted(target.parent.glob(pattern))


def read_text(path: str | os.PathLike[str], kind: str) -> str:
    """The UTF-8 text of a file.

    Args:
        path: The file.
        kind: What it should be, for messages.

    Raises:
        InputError: It is missing, no file or no text.
    """
    # Reading from a pipe would wait for ever.
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path}: is not a file; give {kind}")
    try:
        # Some editors on Windows put a byte order mark first.
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: is not there; give {kind}; paths are relative to the current folder"
            f" ({Path.cwd()})"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as {kind} ({error})") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with replace_when_complete(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with replace_when_complete(path) as part:
        part.write_bytes(content)


def write_csv(
    path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Iterable[object]]
) -> None:
    """Writes a table, whole or not at all.

    Args:
        path: Target file.
        columns: Names, the first line.
        rows: Values in their order; None leaves a cell empty.
    """
    with replace_when_complete(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = None) -> None:
    """Writes JSON, whole or not at all; NaN and infinity are refused with `ValueError`."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def write_npy(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Writes one array as `.npy`, whole or not at all."""
    with replace_when_complete(path) as part, open(part, "wb") as handle:
        np.save(handle, array, allow_pickle=False)
