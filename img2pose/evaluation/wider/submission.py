"""WIDER's files of predictions, `EVENT/IMAGE.txt`, in a folder or packed as one tar file.

A file has the image's name, the number of its boxes, and a line `left top width height score` for
each box, in pixels.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from img2pose.errors import InputError
from img2pose.evaluation.wider.ground_truth import event_of
from img2pose.files import write_text

MAX_FILE_BYTES = 16 << 20
"""The most that one file of predictions may hold."""

MAX_ARCHIVE_BYTES = 1 << 30
"""The most that a tar file may unpack to."""

_SUFFIX = ".txt"
_GZIP_MAGIC = b"\x1f\x8b"
# What damaged archives are answered with; headers of headers without end are read by recursion.
_TAR_ERRORS = (tarfile.TarError, EOFError, zlib.error, ValueError, OSError, RecursionError)
_NUMBERS_A_BOX = 5
_NOT_IN_NUMBERS = re.compile(r"[^0-9eE+\-.\s]")
_REMEDY = "write the image's name, the number of boxes, then a line a box: left top width height"
_REMEDY += " score"


def read_predictions(
    path: str | os.PathLike[str], events: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads files of predictions.

    Args:
        path: A folder with a folder an event, or a `.tar` or `.tar.gz` of one. A tar is read in
            memory; of its members' names the last two parts count.
        events: Only files of these are looked into; None for all.

    Returns:
        By `EVENT/IMAGE`, (N, 5) float64: left, top, width, height in pixels, score; in the files'
        order.

    Raises:
        InputError: There is nothing to read, or a file is malformed; the message names it.
    """
    path = Path(path)
    found: dict[str, np.ndarray] = {}
    seen_any = False
    for name, where, content in _files(path, events):
        seen_any = True
        if content is None:
            continue
        if name in found:
            raise InputError(f"{where}: is there twice; keep one file an image")
        found[name] = parse_predictions(content, where)
    if not seen_any:
        raise InputError(
            f"{path}: holds no EVENT/IMAGE{_SUFFIX}; give the folder (or tar) with a folder an"
            " event"
        )
    return found


def _files(path: Path, events: Collection[str] | None) -> Iterator[tuple[str, str, bytes | None]]:
    """Each file's `EVENT/IMAGE`, its name for messages, and its bytes (None: of other events)."""
    try:
        if path.is_dir():
            yield from _files_of_folder(path, events)
        elif path.is_file():
            yield from _files_of_tar(path, events)
        else:
            raise InputError(f"{path}: no such file or folder; check --predictions")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); check --predictions") from error


def files_in_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    """`EVENT/IMAGE` and path of each file of predictions in a folder; none if it is not there."""
    if not folder.is_dir():
        return
    for event in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        for entry in sorted(os.scandir(folder / event), key=lambda entry: entry.name):
            # Names that begin with a dot are notes of macOS beside the files.
            if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                yield f"{event}/{entry.name.removesuffix(_SUFFIX)}", folder / event / entry.name


def _files_of_folder(
    folder: Path, events: Collection[str] | None
) -> Iterator[tuple[str, str, bytes | None]]:
    for name, path in files_in_folder(folder):
        if events is not None and event_of(name) not in events:
            yield name, str(path), None
            continue
        if not path.is_file():
            raise InputError(f"{path}: is no file; replace it by one of predictions")
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        _check_size(len(content), str(path))
        yield name, str(path), content


def _check_size(size: int, where: str) -> None:
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"{where}: is larger than {MAX_FILE_BYTES} bytes, which predictions of one image never"
            " are; replace it"
        )


def _too_large(archive: str) -> InputError:
    return InputError(
        f"{archive}: unpacks to more than {MAX_ARCHIVE_BYTES} bytes; give a tar of nothing but"
        " predictions, or its folder"
    )


class _BoundedStream(io.RawIOBase):
    """An unpacked tar, which ends in an error where it is longer than any should be."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self._left = MAX_ARCHIVE_BYTES

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MAX_FILE_BYTES:
            size = MAX_FILE_BYTES
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise _too_large(self._name)
        return content


def _files_of_tar(
    path: Path, events: Collection[str] | None
) -> Iterator[tuple[str, str, bytes | None]]:
    with open(path, "rb") as raw:
        is_packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        unpacked: IO[bytes] = gzip.GzipFile(fileobj=raw) if is_packed else raw  # type: ignore[assignment]
        stream = _BoundedStream(unpacked, str(path))
        try:
            # Read from front to back; nothing is written, so names and links can lead nowhere.
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    yield from _member(archive, member, path, events)
        except InputError:
            raise
        except _TAR_ERRORS as error:
            raise InputError(
                f"{path}: is no .tar or .tar.gz, or is damaged ({error}); pack it again or give"
                " the folder"
            ) from error


def _member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, events: Collection[str] | None
) -> Iterator[tuple[str, str, bytes | None]]:
    parts = PurePosixPath(member.name).parts
    # Such sizes are not even skipped, which alone could take days.
    if member.size < 0:
        raise tarfile.ReadError(f"{member.name} has less than 0 bytes")
    if member.size > MAX_ARCHIVE_BYTES:
        raise _too_large(str(path))
    if member.isdir() or not member.name.endswith(_SUFFIX) or parts[-1].startswith("."):
        return
    where = f"{path}: {member.name}"
    if not member.isfile():
        raise InputError(f"{where}: is no plain file; pack the files themselves")
    if len(parts) < 2:
        raise InputError(f"{where}: lies in no event's folder; pack EVENT/IMAGE{_SUFFIX}")
    name = f"{parts[-2]}/{parts[-1].removesuffix(_SUFFIX)}"
    if events is not None and event_of(name) not in events:
        yield name, where, None
        return
    _check_size(member.size, where)
    file = archive.extractfile(member)
    yield name, where, b"" if file is None else file.read()


def parse_predictions(content: bytes, where: str) -> np.ndarray:
    """Reads what a file of predictions holds.

    Args:
        content: Its bytes.
        where: Its name, for messages.

    Returns:
        (N, 5) float64: left, top, width, height, score; in the file's order.

    Raises:
        InputError: It is malformed; the message names the line.
    """
    try:
        lines = content.decode("utf-8").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is no text; {_REMEDY}") from error
    if len(lines) < 2:
        raise InputError(f"{where}: has no line 2 with the number of boxes; {_REMEDY}")
    count_text = lines[1].strip()
    if not (count_text.isascii() and count_text.isdecimal() and len(count_text) < 10):
        raise InputError(
            f"{where}: line 2: the number of boxes expected, not {count_text[:40]!r}; {_REMEDY}"
        )
    rows = lines[2:]
    if int(count_text) != len(rows):
        raise InputError(
            f"{where}: line 2: says {count_text} boxes, but {len(rows)} lines follow; {_REMEDY}"
        )
    words = [row.split() for row in rows]
    try:
        # NumPy's and Python's numbers can do more, such as nan and 1_000.
        if any(len(row) != _NUMBERS_A_BOX for row in words) or _NOT_IN_NUMBERS.search(
            " ".join(rows)
        ):
            raise ValueError
        numbers = np.array([float(word) for row in words for word in row])
        if not np.isfinite(numbers).all():
            raise ValueError
    except ValueError:
        raise InputError(_first_fault(words, where)) from None
    return numbers.reshape(-1, _NUMBERS_A_BOX)


def _first_fault(words: list[list[str]], where: str) -> str:
    for number, row in enumerate(words, start=3):
        try:
            is_sound = len(row) == _NUMBERS_A_BOX and not any(map(_NOT_IN_NUMBERS.search, row))
            is_sound = is_sound and bool(np.isfinite([float(word) for word in row]).all())
        except ValueError:
            is_sound = False
        if not is_sound:
            line = " ".join(row)[:60]
            return f"{where}: line {number}: five finite numbers expected, not {line!r}; {_REMEDY}"
    raise AssertionError("a fault was found in none of the lines")


def write_predictions(
    folder: str | os.PathLike[str], name: str, boxes_xyxy: np.ndarray, scores: np.ndarray
) -> None:
    """Writes the file of one image, whole or not at all, best box first.

    The official scorer sorts by score, other readers trust the file's order: so they agree.

    Args:
        folder: Where the events' folders lie.
        name: `EVENT/IMAGE`.
        boxes_xyxy: (N, 4) left, top, right, bottom in pixels.
        scores: (N,).
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = np.asarray(boxes_xyxy, np.float64)[order], scores[order]
    rows = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores]).tolist()
    lines = [PurePosixPath(name).name, str(len(rows))]
    lines += ["{:.8g} {:.8g} {:.8g} {:.8g} {:.9g}".format(*row) for row in rows]
    write_text(Path(folder) / f"{name}{_SUFFIX}", "\n".join(lines) + "\n")
