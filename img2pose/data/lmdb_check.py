"""Whether an LMDB file is whole, found out without LMDB, which trusts what it maps.

A wrong page number, offset or size in such a file makes LMDB read beyond its map or fail an
assertion: either ends the process. This check reads the pages that lead to the records, never the
records themselves, and follows LMDB 0.9's layout: 4 KiB pages as a rule, two meta pages in front,
a B+tree of keys, and long values on pages of their own.

Source: the layout of LMDB 0.9 (`mdb.c` of OpenLDAP, data format version 1) on 64-bit,
little-endian machines.
"""

from __future__ import annotations

import itertools
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_MAGIC, _DATA_VERSION = 0xBEEFC0DE, 1
_META_PAGES = 2
# Page number, padding, flags, where free room begins and ends.
_PAGE_HEADER = struct.Struct("<QHHHH")
# The same of a long value: page number, padding, flags, count of pages.
_LONG_HEADER = struct.Struct("<QHHI")
# Magic, version, address, size of the map; two trees; last page, transaction.
_META = struct.Struct("<IIQQ 48s 48s QQ")
# Page size (of the first tree), flags, depth, branch pages, leaf pages, overflow pages, entries,
# root page.
_TREE = struct.Struct("<IHHQQQQQ")
_NODE_HEADER_BYTES = 8
_BRANCH, _LEAF, _OVERFLOW, _META_FLAG = 0x01, 0x02, 0x04, 0x08
_LONG_VALUE = 0x01
_INTEGER_KEYS, _NO_SUBDIR = 0x08, 0x4000
_NO_PAGE = 2**64 - 1
_MOST_KEY_BYTES = 511
_DEEPEST = 32
# More than any machine maps.
_MOST_PAGES = 2**47
_U16, _U64 = np.dtype("<u2"), np.dtype("<u8")
_PAGE_SIZES = tuple(2**power for power in range(9, 17))
# A file may change again within the resolution of its time stamp.
_SETTLED_SECONDS = 3.0


class LmdbError(ValueError):
    """A file is no whole LMDB; the text goes after its name: "is cut short, ..."."""


@dataclass(frozen=True)
class _Tree:
    page_bytes: int
    flags: int
    depth: int
    entries: int
    root: int

    @classmethod
    def unpack(cls, packed: bytes) -> _Tree:
        page_bytes, flags, depth, _, _, _, entries, root = _TREE.unpack(packed)
        return cls(page_bytes, flags, depth, entries, root)


@dataclass
class _Found:
    """What the walk through a tree came upon."""

    entries: int = 0
    starts: list[np.ndarray] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)
    long_values: list[np.ndarray] = field(default_factory=list)

    def add(self, starts: np.ndarray, counts: np.ndarray) -> None:
        self.starts.append(starts)
        self.counts.append(counts)


# What has been found whole: device, inode, size, times.
_whole: set[tuple[int, ...]] = set()


def check_lmdb(path: str | os.PathLike[str], *, before_writing: bool = False) -> None:
    """Refuses a file that LMDB could not read safely.

    Once found whole, a file is not looked at again by this process while its size and times stay.

    Args:
        path: The data file (not its folder).
        before_writing: Also check what only writing follows: the list of free pages and the
            headers of long values.

    Raises:
        LmdbError: It is something else, cut short or damaged.
        OSError: It cannot be read.
    """
    # To open a pipe would wait for its other end.
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise LmdbError("is not a pose store (no plain file)")
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        identity = (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        if identity in _whole and not before_writing:
            return
        _Check(file.fileno(), status.st_size).run(before_writing)
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECONDS:
        _whole.add(identity)


class _Check:
    """One walk through a file."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._page_bytes = 0
        # Pages from here on are in no file that the committed meta page speaks of.
        self._end_page = 0

    def run(self, before_writing: bool) -> None:
        free, main, last_page = self._committed()
        if last_page >= _MOST_PAGES:
            raise LmdbError(f"is damaged (its last page is {last_page})")
        self._end_page = last_page + 1
        if main.flags or main.page_bytes:
            raise LmdbError(f"is not a pose store (its tree is of kind {main.flags:#x})")
        found = _Found()
        self._walk_tree(main, found, is_free_list=False)
        if before_writing:
            self._check_long_values(found)
            self._check_free_pages(free, found)
        _refuse_overlaps(found)

    def _committed(self) -> tuple[_Tree, _Tree, int]:
        """Free list, main tree and last page of the meta page that LMDB would choose."""
        first = self._meta(0, 0)
        self._page_bytes = first[0].page_bytes
        if self._page_bytes not in _PAGE_SIZES:
            raise LmdbError(f"is damaged (pages of {self._page_bytes} bytes)")
        second = self._meta(1, self._page_bytes)
        if second[0].page_bytes != self._page_bytes:
            raise LmdbError("is damaged (its two meta pages differ in the size of pages)")
        free, main, last_page, _ = second if first[3] < second[3] else first
        if free.flags & ~_NO_SUBDIR != _INTEGER_KEYS:
            raise LmdbError(f"is damaged (flags {free.flags:#x} of the free list)")
        return free, main, last_page

    def _meta(self, number: int, offset: int) -> tuple[_Tree, _Tree, int, int]:
        wanted = _PAGE_HEADER.size + _META.size
        content = self._read(offset, wanted)
        if len(content) == wanted:
            page, _, flags, _, _ = _PAGE_HEADER.unpack_from(content)
            magic, version, _, _, free, main, last_page, transaction = _META.unpack_from(
                content, _PAGE_HEADER.size
            )
        if number == 0 and (len(content) < wanted or magic != _MAGIC):
            raise LmdbError("is not a pose store (no LMDB file)")
        if len(content) < wanted or self._size < _META_PAGES * self._page_bytes:
            raise LmdbError(f"is cut short, {self._size} bytes are left")
        if magic != _MAGIC or flags != _META_FLAG or page != number:
            raise LmdbError(f"is damaged (meta page {number})")
        if version != _DATA_VERSION:
            raise LmdbError(f"is not a pose store (LMDB format {version}, not {_DATA_VERSION})")
        return _Tree.unpack(free), _Tree.unpack(main), last_page, transaction

    def _read(self, offset: int, count: int) -> bytes:
        return os.pread(self._descriptor, count, offset)

    def _refuse_beyond(self, page: int, count: int, whence: str) -> None:
        """Refuses pages in front of the first, after the last, or after the file's end."""
        if page < _META_PAGES or page + count > self._end_page:
            raise LmdbError(f"is damaged ({whence} leads to page {page} of {self._end_page})")
        needed = (page + count) * self._page_bytes
        if needed > self._size:
            raise LmdbError(f"is cut short, {self._size} of {needed} bytes or more are left")

    def _walk_tree(self, tree: _Tree, found: _Found, *, is_free_list: bool) -> None:
        before = found.entries
        if tree.root == _NO_PAGE:
            if tree.entries or tree.depth:
                raise LmdbError("is damaged (a tree without a root has entries)")
            return
        if not 0 < tree.depth < _DEEPEST:
            raise LmdbError(f"is damaged (a tree of depth {tree.depth})")
        self._refuse_beyond(tree.root, 1, "a root")
        visited: set[int] = set()
        last_key: bytes | None = None
        # Page, level from the root, and the key that all keys from here on must reach.
        waiting: list[tuple[int, int, bytes]] = [(tree.root, 1, b"")]
        while waiting:
            page, level, least_key = waiting.pop()
            if page in visited:
                raise LmdbError(f"is damaged (page {page} is reached twice)")
            visited.add(page)
            is_leaf = level == tree.depth
            node = self._page(page, is_leaf, least_nodes=1 if is_leaf or is_free_list else 2)
            keys = node.keys
            if is_free_list:
                # Numbers of eight bytes, the highest last.
                keys = [key[::-1] for key in keys]
                least_key = b""
            if not is_leaf:
                # The first key of a branch page stands for all that are smaller.
                keys = [least_key, *keys[1:]]
                _refuse_disorder(keys, page)
                children = node.branch_children()
                for child in children:
                    self._refuse_beyond(child, 1, f"page {page}")
                waiting += reversed(
                    [(child, level + 1, key) for child, key in zip(children, keys, strict=True)]
                )
                continue
            _refuse_disorder(keys, page)
            if (last_key is not None and keys[0] <= last_key) or keys[0] < least_key:
                raise LmdbError(f"is damaged (the keys of page {page} are out of order)")
            last_key = keys[-1]
            if waiting and not is_free_list and last_key >= waiting[-1][2]:
                raise LmdbError(f"is damaged (the keys of page {page} are out of order)")
            found.entries += len(keys)
            self._collect_long_values(node, found)
            if is_free_list:
                self._collect_free_pages(node, found)
        pages = np.fromiter(visited, np.int64, len(visited))
        found.add(pages, np.ones_like(pages))
        if found.entries - before != tree.entries:
            raise LmdbError(
                f"is damaged ({found.entries - before} of {tree.entries} entries are there)"
            )

    def _page(self, page: int, is_leaf: bool, least_nodes: int) -> _Nodes:
        content = self._read(page * self._page_bytes, self._page_bytes)
        if len(content) < self._page_bytes:
            raise LmdbError(f"is cut short, {self._size} bytes are left")
        number, _, flags, lower, upper = _PAGE_HEADER.unpack_from(content)
        if number != page or flags != (_LEAF if is_leaf else _BRANCH):
            kind = "leaf" if is_leaf else "branch"
            raise LmdbError(f"is damaged (page {page} is not the {kind} page it should be)")
        if not _PAGE_HEADER.size <= lower <= upper <= self._page_bytes or lower % 2:
            raise LmdbError(f"is damaged (free room of page {page})")
        count = (lower - _PAGE_HEADER.size) // 2
        if count < least_nodes:
            raise LmdbError(f"is damaged (page {page} has {count} entries)")
        return _Nodes(content, page, count, upper, is_leaf)

    def _collect_long_values(self, nodes: _Nodes, found: _Found) -> None:
        starts, sizes = nodes.long_values()
        if not len(starts):
            return
        counts = (sizes + _PAGE_HEADER.size + self._page_bytes - 1) // self._page_bytes
        # Page numbers have 64 bits; sums of small ones only do not overflow.
        if not (starts < self._end_page).all():
            raise LmdbError(f"is damaged (page {nodes.page} leads beyond {self._end_page} pages)")
        first, end = starts.astype(np.int64), starts.astype(np.int64) + counts
        self._refuse_beyond(int(first.min()), 1, f"page {nodes.page}")
        last = int(end.argmax())
        self._refuse_beyond(int(first[last]), int(counts[last]), f"page {nodes.page}")
        found.add(first, counts)
        found.long_values.append(np.stack([first, counts], axis=1))

    def _check_long_values(self, found: _Found) -> None:
        for pages in found.long_values:
            for page, count in pages.tolist():
                self._check_long_value(page, count)

    def _check_long_value(self, page: int, count: int) -> None:
        header = self._read(page * self._page_bytes, _PAGE_HEADER.size)
        number, _, flags, pages = _LONG_HEADER.unpack(header)
        if (number, flags, pages) != (page, _OVERFLOW, count):
            raise LmdbError(f"is damaged (page {page} is not the value page it should be)")

    def _check_free_pages(self, free: _Tree, found: _Found) -> None:
        found.long_values.clear()
        self._walk_tree(free, found, is_free_list=True)
        self._check_long_values(found)

    def _collect_free_pages(self, nodes: _Nodes, found: _Found) -> None:
        for value in nodes.values(self._read, self._page_bytes):
            numbers = np.frombuffer(value[: len(value) // 8 * 8], _U64)
            count = int(numbers[0]) if len(numbers) else -1
            if not 0 <= count < len(numbers):
                raise LmdbError(f"is damaged (free list on page {nodes.page})")
            pages = numbers[1 : 1 + count]
            if count and not (
                (pages >= _META_PAGES).all()
                and (pages < self._end_page).all()
                and (pages[:-1] > pages[1:]).all()
            ):
                raise LmdbError(f"is damaged (free list on page {nodes.page})")
            found.add(pages.astype(np.int64), np.ones(count, np.int64))


class _Nodes:
    """The entries of a leaf or branch page, all inside it.

    Raises:
        LmdbError: One reaches out of its page or into another.
    """

    def __init__(self, content: bytes, page: int, count: int, upper: int, is_leaf: bool) -> None:
        self.page = page
        self._content = content
        self._bytes = np.frombuffer(content, np.uint8)
        offsets = np.frombuffer(content, _U16, count, _PAGE_HEADER.size).astype(np.int64)
        if (
            (offsets % 2).any()
            or offsets.min() < upper
            or offsets.max() > len(content) - _NODE_HEADER_BYTES
        ):
            raise LmdbError(f"is damaged (an entry of page {page} lies outside)")
        words = np.frombuffer(content, _U16)
        half = offsets // 2
        low, high, flags, key_bytes = (words[half + k].astype(np.int64) for k in range(4))
        self._keys_at = offsets + _NODE_HEADER_BYTES
        self._values_at = self._keys_at + key_bytes
        self._low, self._high, self._flags = low, high, flags
        self._value_bytes = low | high << 16
        if is_leaf:
            if (flags & ~_LONG_VALUE).any() or key_bytes.min() < 1:
                raise LmdbError(f"is damaged (an entry of page {page} is of another kind)")
            self._is_long = flags == _LONG_VALUE
            ends = self._values_at + np.where(self._is_long, 8, self._value_bytes)
        else:
            ends = self._values_at
        if key_bytes.max() > _MOST_KEY_BYTES or ends.max() > len(content):
            raise LmdbError(f"is damaged (an entry of page {page} reaches beyond it)")
        order = offsets.argsort()
        if (ends[order][:-1] > offsets[order][1:]).any():
            raise LmdbError(f"is damaged (entries of page {page} overlap)")
        self.keys = [
            content[start:end]
            for start, end in zip(self._keys_at.tolist(), self._values_at.tolist(), strict=True)
        ]

    def branch_children(self) -> list[int]:
        """Page numbers."""
        children: list[int] = (self._value_bytes | self._flags << 32).tolist()
        return children

    def long_values(self) -> tuple[np.ndarray, np.ndarray]:
        """First pages (uint64) and sizes in bytes (int64) of values on pages of their own."""
        at = self._values_at[self._is_long, None] + np.arange(8)
        return self._bytes[at].view(_U64).ravel(), self._value_bytes[self._is_long]

    def values(self, read: Callable[[int, int], bytes], page_bytes: int) -> Iterator[bytes]:
        """The values of a leaf page; long ones are known to lie in the file."""
        starts = iter(self.long_values()[0].tolist())
        for at, size, is_long in zip(
            self._values_at.tolist(),
            self._value_bytes.tolist(),
            self._is_long.tolist(),
            strict=True,
        ):
            if is_long:
                yield read(next(starts) * page_bytes + _PAGE_HEADER.size, size)
            else:
                yield self._content[at : at + size]


def _refuse_disorder(keys: list[bytes], page: int) -> None:
    if any(key >= following for key, following in itertools.pairwise(keys)):
        raise LmdbError(f"is damaged (the keys of page {page} are out of order)")


def _refuse_overlaps(found: _Found) -> None:
    if not found.starts:
        return
    starts, counts = np.concatenate(found.starts), np.concatenate(found.counts)
    order = starts.argsort()
    starts, ends = starts[order], (starts + counts)[order]
    twice = np.flatnonzero(ends[:-1] > starts[1:])
    if len(twice):
        raise LmdbError(f"is damaged (page {starts[twice[0] + 1]} is reached twice)")
