"""Files of predictions: written and read again, in folders and tars; whatever is wrong is named."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.errors import InputError
from img2pose.evaluation.wider import submission
from img2pose.evaluation.wider.submission import (
    parse_predictions,
    read_predictions,
    write_predictions,
)

SOUND = b"a\n2\n1 2 3 4 0.9\n5 6.5 7 8 1e-1\n"


def add(archive: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(content), kind
    if kind == tarfile.SYMTYPE:
        member.linkname, member.size = "/etc/passwd", 0
    archive.addfile(member, io.BytesIO(content))


def tar_of(path: Path, *members: tuple[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            add(archive, name, content)
    return path


def test_what_is_written_comes_back_best_first(tmp_path: Path) -> None:
    boxes = np.array([[1.0, 2, 11, 22], [-5.25, 0, 1023.125, 9], [3, 3, 3, 3]])
    scores = np.array([0.25, 2.718281828, 0.5])
    write_predictions(tmp_path, "0--Parade/a.b", boxes, scores)
    write_predictions(tmp_path, "0--Parade/none", np.empty((0, 4)), np.empty(0))
    found = read_predictions(tmp_path)
    assert list(found) == ["0--Parade/a.b", "0--Parade/none"]
    expected = [[-5.25, 0, 1028.375, 9, 2.71828183], [3, 3, 0, 0, 0.5], [1, 2, 10, 20, 0.25]]
    np.testing.assert_allclose(found["0--Parade/a.b"], expected, rtol=1e-8)
    assert found["0--Parade/none"].shape == (0, 5)
    text = (tmp_path / "0--Parade/a.b.txt").read_text()
    assert text.startswith("a.b\n3\n-5.25 0 1028.375 9 2.71828183\n")
    assert (tmp_path / "0--Parade/none.txt").read_text() == "none\n0\n"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("prefix", ["", "results/", "./", "/"])
def test_a_tar_is_read_as_its_folder(tmp_path: Path, mode: str, prefix: str) -> None:
    path = tmp_path / "p.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        add(archive, f"{prefix}e", b"", tarfile.DIRTYPE)
        add(archive, f"{prefix}e/._a.txt", b"macOS")
        add(archive, f"{prefix}e/a.txt", SOUND)
        add(archive, f"{prefix}notes.md", b"words")
    np.testing.assert_array_equal(
        read_predictions(path)["e/a"], [[1, 2, 3, 4, 0.9], [5, 6.5, 7, 8, 0.1]]
    )


def test_only_the_chosen_events_are_looked_into(tmp_path: Path) -> None:
    members = (("e/a.txt", SOUND), ("f/b.txt", b"nothing of use"))
    path = tar_of(tmp_path / "p.tgz", *members)
    assert list(read_predictions(path, ["e"])) == ["e/a"]
    assert read_predictions(path, ["g"]) == {}
    for name, content in members:
        (tmp_path / "p" / name).parent.mkdir(parents=True)
        (tmp_path / "p" / name).write_bytes(content)
    assert list(read_predictions(tmp_path / "p", ["e"])) == ["e/a"]
    with pytest.raises(InputError, match=r"f/b\.txt: has no line 2"):
        read_predictions(tmp_path / "p")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no line 2"),
        (b"a", "has no line 2"),
        (b"a\nmany\n1 2 3 4 5\n", "line 2: the number of boxes expected, not 'many'"),
        (b"a\n-1\n", "line 2: the number of boxes expected"),
        (b"a\n1.0\n1 2 3 4 5\n", "line 2: the number of boxes expected"),
        ("a\n²\n".encode(), "line 2: the number of boxes expected"),
        (b"a\n2\n1 2 3 4 5\n", "line 2: says 2 boxes, but 1 lines follow"),
        (b"a\n0\n1 2 3 4 5\n", "line 2: says 0 boxes, but 1 lines follow"),
        (b"a\n2\n1 2 3 4 5\n1 2 3 4\n", "line 4: five finite numbers expected, not '1 2 3 4'"),
        (b"a\n2\n1 2 3 4\n1 2 3 4 5 6\n", "line 3: five finite numbers"),
        (b"a\n2\n1 2 3 4 5\n\n1 2 3 4 5\n", "line 2: says 2 boxes, but 3"),
        (b"a\n1\n1 2 3 4 nan\n", "line 3: five finite numbers"),
        (b"a\n1\n1 2 inf 4 5\n", "line 3: five finite numbers"),
        (b"a\n1\n1 2 3 4 1e999\n", "line 3: five finite numbers"),
        (b"a\n1\n1 2 3 4 1_0\n", "line 3: five finite numbers"),
        (b"a\n1\n1 2 3 4 --5\n", "line 3: five finite numbers"),
        ("a\n1\n1 2 3 4 ٣\n".encode(), "line 3: five finite numbers"),
        (b"a\n1\n1,2,3,4,5\n", "line 3: five finite numbers"),
        (b"\xff\xfe\n1\n", "is no text"),
    ],
)
def test_malformed_files_are_named_with_their_line(content: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_predictions(content, "e/a.txt")
    assert str(caught.value).startswith(f"e/a.txt: {message}")
    assert "\n" not in str(caught.value)


def test_windows_line_ends_do_no_harm() -> None:
    unix = parse_predictions(SOUND, "a")
    np.testing.assert_array_equal(parse_predictions(SOUND.replace(b"\n", b"\r\n"), "a"), unix)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(SOUND)))
def test_any_bytes_are_read_or_told_in_one_line(inserted: bytes, place: int) -> None:
    try:
        found = parse_predictions(SOUND[:place] + inserted + SOUND[place:], "a.txt")
    except InputError as error:
        assert str(error).startswith("a.txt: ") and "\n" not in str(error)
    else:
        assert found.shape[1] == 5 and np.isfinite(found).all()


def link(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "e/a.txt", b"", tarfile.SYMTYPE)
    return path


def cut(path: Path) -> Path:
    tar_of(path, ("e/a.txt", SOUND * 500))
    path.write_bytes(path.read_bytes()[:-30])
    return path


def folder_for_a_file(path: Path) -> Path:
    (path / "e" / "a.txt").mkdir(parents=True)
    return path


def words(path: Path) -> Path:
    path.write_bytes(b"no tar at all" * 100)
    return path


def nothing(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "no such file or folder; check --predictions"),
        (nothing, "holds no EVENT/IMAGE.txt"),
        (words, "is no .tar or .tar.gz, or is damaged"),
        (lambda path: tar_of(path), "holds no EVENT/IMAGE.txt"),
        (link, "e/a.txt: is no plain file"),
        (cut, "is no .tar or .tar.gz, or is damaged"),
        (folder_for_a_file, "a.txt: is no file"),
        (lambda path: tar_of(path, ("a.txt", SOUND)), "a.txt: lies in no event's folder"),
        (lambda path: tar_of(path, ("e/a.txt", SOUND), ("x/e/a.txt", SOUND)), "is there twice"),
        (lambda path: tar_of(path, ("../e/a.txt", b"words")), "has no line 2"),
    ],
)
def test_what_holds_no_predictions_is_named(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    path = make(tmp_path / "p")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    # Nothing of a tar lands on the disk.
    assert sorted(tmp_path.rglob("*")) == before


def header_with_size(name: str, size: bytes) -> bytes:
    """A member's header that says anything at all of its size."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def extended_header() -> bytes:
    """What precedes a member with notes on it, and may precede another such header."""
    header = tarfile.TarInfo("notes")
    header.type, header.size = tarfile.XHDTYPE, 8
    return header.tobuf(tarfile.USTAR_FORMAT) + b"8 a=bcd\n".ljust(512, b"\0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # 128 TiB to be skipped, or less than nothing.
        (
            header_with_size("e/a.bin", b"\x80" + bytes(5) + b"\x7f" + b"\xff" * 5),
            "unpacks to more",
        ),
        (
            header_with_size("e/a.txt", b"\x80" + bytes(5) + b"\x7f" + b"\xff" * 5),
            "unpacks to more",
        ),
        (header_with_size("e/a.bin", b"\xff" * 10 + b"\xf0\0"), "less than 0 bytes"),
        (header_with_size("e/a.txt", b"\xff" * 10 + b"\xf0\0"), "less than 0 bytes"),
        (extended_header() * 3000, "is no .tar"),
    ],
)
def test_headers_that_lie_are_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "p.tar"
    path.write_bytes(content + bytes(1024))
    with pytest.raises(InputError, match=message) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["e/a.txt", "e/a.bin"])
def test_bombs_stay_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(submission, "MAX_FILE_BYTES", 1 << 16)
    monkeypatch.setattr(submission, "MAX_ARCHIVE_BYTES", 1 << 20)
    path = tmp_path / "bomb.tar.gz"
    header = tarfile.TarInfo(name)
    header.size = 1 << 26
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(1 << 6):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"is larger than|unpacks to more than"):
            read_predictions(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
