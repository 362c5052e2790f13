"""The check agrees with LMDB on whole files, and names what is wrong with others."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2pose.data import lmdb_check
from img2pose.data.lmdb_check import LmdbError, check_lmdb

PAGE = 4096


def write(path: Path, transactions: list[dict[bytes, bytes | None]]) -> None:
    """Each dict is one transaction; None deletes."""
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 26) as environment:
        for entries in transactions:
            with environment.begin(write=True) as transaction:
                for key, value in entries.items():
                    if value is None:
                        transaction.delete(key)
                    else:
                        transaction.put(key, value)


KEYS = st.binary(min_size=1, max_size=511) | st.integers(0, 300).map(lambda k: str(k).encode())
VALUES = st.none() | st.builds(
    lambda size, byte: bytes([byte]) * size, st.integers(0, 20_000), st.integers(0, 255)
)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=60), max_size=6))
@settings(deadline=None, max_examples=40)
def test_whatever_lmdb_writes_is_whole(
    tmp_path_factory: pytest.TempPathFactory, transactions: list[dict[bytes, bytes | None]]
) -> None:
    path = tmp_path_factory.mktemp("lmdb") / "a.lmdb"
    write(path, transactions)
    check_lmdb(path)
    check_lmdb(path, before_writing=True)


def test_large_trees_and_long_free_lists_are_whole(tmp_path: Path) -> None:
    entries = {str(k).encode(): bytes(k % 3000) for k in range(6000)}
    without = dict.fromkeys(list(entries)[::2])
    write(tmp_path / "a", [entries, without, {b"x" * 500: bytes(50_000)}])
    check_lmdb(tmp_path / "a", before_writing=True)
    with lmdb.open(str(tmp_path / "a"), subdir=False, readonly=True, lock=False) as environment:
        assert environment.stat()["depth"] >= 3


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """A file of two transactions: leaf pages under a branch page, and values of two pages."""
    values = {b"%03d" % k: bytes(6000 if k % 5 == 0 else 700) for k in range(60)}
    write(tmp_path / "whole.lmdb", [values, {b"last": b"value"}])
    return (tmp_path / "whole.lmdb").read_bytes()


def page_of(content: bytes, flags: int) -> int:
    """The last page of a kind: 1 branch, 2 leaf, 4 value, which is in use."""
    pages = range(2, len(content) // PAGE)
    return max(p for p in pages if struct.unpack_from("<H", content, p * PAGE + 10)[0] == flags)


def newest_meta(content: bytes) -> int:
    transactions = [struct.unpack_from("<Q", content, page * PAGE + 144)[0] for page in (0, 1)]
    return PAGE * transactions.index(max(transactions))


def root_of(content: bytes) -> int:
    root: int = struct.unpack_from("<Q", content, newest_meta(content) + 16 + 24 + 48 + 40)[0]
    return root


def damaged(content: bytes, tmp_path: Path, at: int, form: str, value: int) -> Path:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, value)
    (tmp_path / "damaged.lmdb").write_bytes(changed)
    return tmp_path / "damaged.lmdb"


@pytest.mark.parametrize(
    ("offset", "form", "value", "message"),
    [
        (16, "<I", 1, r"meta page|no LMDB file"),
        (20, "<I", 2, "LMDB format 2"),
        (40, "<I", 8192, r"damaged"),
        (40, "<I", 5000, r"damaged"),
        (44, "<H", 0, "flags 0x0 of the free list"),
        (88, "<I", 8, "its tree is of kind 0x0"),
        (88 + 4, "<H", 4, "its tree is of kind 0x4"),
        (88 + 6, "<H", 0, "tree of depth 0"),
        (88 + 6, "<H", 3, "is not the branch page"),
        (88 + 6, "<H", 1, "is not the leaf page"),
        (88 + 32, "<Q", 7, "of 7 entries are there"),
        (88 + 40, "<Q", 0, "a root leads to page 0"),
        (88 + 40, "<Q", 2**63, "a root leads to page"),
        (88 + 40, "<Q", 2**64 - 1, "without a root has entries"),
        (136, "<Q", 5, "leads to page"),
        (136, "<Q", 2**60, "its last page is"),
    ],
)
def test_damage_to_the_meta_page_is_named(
    content: bytes, tmp_path: Path, offset: int, form: str, value: int, message: str
) -> None:
    path = damaged(content, tmp_path, newest_meta(content) + offset, form, value)
    with pytest.raises(LmdbError, match=message):
        check_lmdb(path)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 3, "is not the branch page"),
        (10, 2, "is not the branch page"),
        (12, 17, "free room"),
        (12, 18, "has 1 entries"),
        (14, 10, "free room"),
        (14, 5000, "free room"),
        (18, 4095, "lies outside"),
        (18, 20, "lies outside"),
    ],
)
def test_damage_to_a_branch_page_is_named(
    content: bytes, tmp_path: Path, offset: int, value: int, message: str
) -> None:
    path = damaged(content, tmp_path, root_of(content) * PAGE + offset, "<H", value)
    with pytest.raises(LmdbError, match=message):
        check_lmdb(path)


def first_leaf(content: bytes) -> int:
    root = root_of(content) * PAGE
    entry = root + struct.unpack_from("<H", content, root + 16)[0]
    return PAGE * int(struct.unpack_from("<H", content, entry)[0])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (0, 0xFFFF, "reaches beyond|overlap"),
        (2, 0xFFFF, "reaches beyond"),
        (4, 2, "of another kind"),
        (4, 4, "of another kind"),
        (6, 0, "of another kind"),
        (6, 600, "reaches beyond|overlap"),
        (8, 0xFFFF, "out of order"),
    ],
)
def test_damage_to_an_entry_is_named(
    content: bytes, tmp_path: Path, field: int, value: int, message: str
) -> None:
    leaf = first_leaf(content)
    entry = leaf + struct.unpack_from("<H", content, leaf + 18)[0]
    with pytest.raises(LmdbError, match=message):
        check_lmdb(damaged(content, tmp_path, entry + field, "<H", value))


@pytest.mark.parametrize(
    ("value", "message"),
    [(1, "leads to page 1 "), (2**62, "leads beyond"), (10_000, "leads beyond")],
)
def test_a_value_elsewhere_is_named(
    content: bytes, tmp_path: Path, value: int, message: str
) -> None:
    leaf = first_leaf(content)
    # The first key, of three bytes, has a long value.
    entry = leaf + struct.unpack_from("<H", content, leaf + 16)[0]
    path = damaged(content, tmp_path, entry + 8 + 3, "<Q", value)
    with pytest.raises(LmdbError, match=message):
        check_lmdb(path)


def test_a_page_that_is_reached_twice_is_named(content: bytes, tmp_path: Path) -> None:
    leaf = first_leaf(content)
    entry = leaf + struct.unpack_from("<H", content, leaf + 16)[0]
    path = damaged(content, tmp_path, entry + 8 + 3, "<Q", root_of(content))
    with pytest.raises(LmdbError, match="is reached twice"):
        check_lmdb(path)
    root = root_of(content) * PAGE
    first, second = (root + struct.unpack_from("<H", content, root + 16 + k)[0] for k in (0, 2))
    path = damaged(content, tmp_path, second, "<H", struct.unpack_from("<H", content, first)[0])
    with pytest.raises(LmdbError, match="is reached twice"):
        check_lmdb(path)


def test_a_damaged_value_page_matters_to_writers_only(content: bytes, tmp_path: Path) -> None:
    path = damaged(content, tmp_path, page_of(content, 4) * PAGE + 12, "<I", 5)
    check_lmdb(path)
    with pytest.raises(LmdbError, match="is not the value page"):
        check_lmdb(path, before_writing=True)


@pytest.mark.parametrize("length", [0, 10, 100, PAGE, 2 * PAGE - 1])
def test_a_stub_is_named(content: bytes, tmp_path: Path, length: int) -> None:
    (tmp_path / "cut").write_bytes(content[:length])
    with pytest.raises(LmdbError, match=r"no LMDB file|cut short"):
        check_lmdb(tmp_path / "cut")


def test_a_cut_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(content[: page_of(content, 4) * PAGE])
    with pytest.raises(LmdbError, match=r"^is cut short, \d+ of \d+ bytes"):
        check_lmdb(tmp_path / "cut")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(LmdbError, match="no plain file"):
            check_lmdb(path)


def test_a_whole_file_is_looked_at_once(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "whole.lmdb"
    walks = []
    run = lmdb_check._Check.run
    monkeypatch.setattr(
        lmdb_check._Check, "run", lambda check, writing: walks.append(1) or run(check, writing)
    )
    check_lmdb(path)
    check_lmdb(path)
    # It may have changed again within the resolution of its time stamp.
    assert len(walks) == 2
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    check_lmdb(path)
    check_lmdb(path)
    assert len(walks) == 3
    path.write_bytes(content[:PAGE])
    with pytest.raises(LmdbError):
        check_lmdb(path)
    assert len(walks) == 4
