"""LMDB's files, read page by page with every place and size checked.

The library maps the file and follows what it says: a flipped bit can lead it, and the process, to
where nothing is. Layout: mdb.c of LMDB 0.9 (openldap/openldap, libraries/liblmdb), 64 bits, least
byte first.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from msdkit.errors import DataError

MAGIC, VERSION = 0xBEEFC0DE, 1
HEAD = 16  # bytes before a page's content
BRANCH, LEAF, OVERFLOW = 1, 2, 4  # kinds of pages
OUTSIDE, SUB = 1, 6  # of entries: the value lies in pages of its own; it is a database
EMPTY = (1 << 64) - 1  # the root of a database without entries
DEEPEST = 32  # pages from the root to an entry
# The head of page 0 and 1: magic, version, size of pages, flags, root, last page, transaction
_META = struct.Struct("<II16xI48xH34xQQQ")


class _Node(NamedTuple):
    """An entry of a page: flags, key, and where in the page its data begins."""

    low: int
    flags: int
    key: bytes
    start: int


class Lmdb:
    """The main database of a file; DataError on whatever is not as LMDB writes it."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        with self._told():
            self._open(os.fstat(file.fileno()).st_size)

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None where there is none."""
        with self._told():
            return None if self._root == EMPTY else self._get(key)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError) as error:
            raise DataError(f"{self._path}: no readable LMDB: {error}") from error

    def _open(self, size: int) -> None:
        first = self._meta(0)
        self._page = first[2]
        if self._page.bit_count() != 1 or not 512 <= self._page <= 1 << 15:
            raise ValueError(f"pages of {self._page} bytes")
        newest = max(first, self._meta(self._page), key=lambda meta: meta[-1])
        kind, self._root, self._last = newest[3:6]
        if kind:
            raise ValueError("keys of numbers, or several values of a key")
        needed = (self._last + 1) * self._page
        if size < needed:
            raise ValueError(f"cut off: {size} bytes of {needed}")

    def _get(self, key: bytes) -> bytes | None:
        number = self._root
        for _ in range(DEEPEST):
            page = self._read(number)
            (flags,) = struct.unpack_from("<H", page, 10)
            node, found = _found(page, key, bool(flags & BRANCH))
            if not flags & BRANCH:
                return self._value(page, node) if found and flags & LEAF else None
            number = node.low | node.flags << 32
        raise ValueError(f"more than {DEEPEST} pages from the root to an entry")

    def _meta(self, at: int) -> tuple[Any, ...]:
        self._file.seek(at + HEAD)
        data = self._file.read(_META.size)
        if len(data) < _META.size:
            raise ValueError("cut off in its head")
        meta = _META.unpack(data)
        if meta[:2] != (MAGIC, VERSION):
            raise ValueError("not the head of an LMDB of version 1, 64 bits, least byte first")
        return meta

    def _read(self, number: int) -> bytes:
        """A page of keys."""
        page = self._bytes(number, self._page)
        itself, flags = struct.unpack_from("<Q2xH", page)
        if itself != number or not flags & (BRANCH | LEAF):
            raise ValueError(f"page {number} is damaged")
        return page

    def _bytes(self, number: int, size: int) -> bytes:
        """Bytes from the beginning of a page."""
        if number * self._page + size > (self._last + 1) * self._page:
            raise ValueError(f"{size} bytes of page {number}, beyond the last, {self._last}")
        self._file.seek(number * self._page)
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError(f"cut off in page {number}")
        return data

    def _value(self, page: bytes, node: _Node) -> bytes:
        size = node.low
        if node.flags & SUB:
            raise ValueError("a database, or several values, in place of a value")
        if not node.flags & OUTSIDE:
            return _part(page, node.start, size)
        (number,) = struct.unpack("<Q", _part(page, node.start, 8))
        data = self._bytes(number, HEAD + size)
        itself, flags = struct.unpack_from("<Q2xH", data)
        if itself != number or not flags & OVERFLOW:
            raise ValueError(f"page {number} is damaged")
        return data[HEAD:]


def _found(page: bytes, key: bytes, branch: bool) -> tuple[_Node, bool]:
    """The last entry that is not beyond a key (of a branch at least the first), and whether it is
    the key's."""
    (lower,) = struct.unpack_from("<H", page, 12)
    low, high = 0, (lower - HEAD) // 2 - 1
    if high < 0 or lower > len(page):
        raise ValueError("a page without entries")
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _node(page, middle).key <= key else (low, middle - 1)
    node = _node(page, low)
    return node, not branch and node.key == key


def _node(page: bytes, index: int) -> _Node:
    (at,) = struct.unpack_from("<H", page, HEAD + 2 * index)
    low, high, flags, length = struct.unpack("<HHHH", _part(page, at, 8))
    return _Node(low | high << 16, flags, _part(page, at + 8, length), at + 8 + length)


def _part(page: bytes, start: int, size: int) -> bytes:
    if start < HEAD or start + size > len(page):
        raise ValueError("an entry that reaches beyond its page")
    return page[start : start + size]


@contextmanager
def reading(path: Path) -> Iterator[Lmdb]:
    """An LMDB, a folder or a single file; DataError on one that cannot be opened."""
    try:
        opened = (path / "data.mdb" if path.is_dir() else path).open("rb")
    except OSError as error:
        raise DataError(f"{path}: no readable LMDB: {error}") from error
    with opened:
        yield Lmdb(opened, path)
