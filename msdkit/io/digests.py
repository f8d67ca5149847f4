"""Digests of files' contents: a file is read once, and again only when it has changed.

XXH3 with 128 bits (xxhash) keeps up with the page cache, which blake2b and sha256 do not. It tells
apart what differs by accident; against forgery there is nothing to win, for who can forge a picture
may as well replace it. Downloads are compared by sha256 (`hub/download`).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from msdkit.errors import DataError
from msdkit.io.cache import cache_dir
from msdkit.io.files import sweep, whole
from msdkit.io.locks import alone
from msdkit.io.strings import find, names

INDEX = "xxh3_128.index"
SETTLED = 2 * 10**9  # ns: the coarsest clock of a file system in use (FAT's)
TRIES = 3  # of reading a file that changes meanwhile
THREADS = min(2 * (os.cpu_count() or 1), 32)  # who reads leaves the interpreter's lock
TASK = 64  # files that a thread reads in a row
LOOK = 1024  # files looked up in a row, while others are read
BUFFER = 1 << 20
WAITING = 1024  # digests that may be lost by a kill


class Contents(NamedTuple):
    """What files hold and how they are, in the order in which they were asked for.

    digests: of the contents, in hexadecimal, "" where there is no file that can be read;
    states: S16 `[N]`, names of the files' states when they were read.
    """

    digests: list[str]
    states: np.ndarray


class Read(NamedTuple):
    """What reading a file came to; settled: whether its state tells it from what it may become."""

    digest: bytes
    state: str
    settled: bool


def contents(paths: Sequence[str]) -> Contents:
    """Those that are new or have changed are read by several threads, and by one of several
    processes; what came out is kept for later starts."""
    return _index(cache_dir()).contents(paths)


def content_digests(paths: Iterable[str | Path]) -> list[str]:
    """The same for some files that must be there: DataError when one cannot be read."""
    given = list(map(str, paths))
    return list(map(_readable, given, contents(given).digests))


def content_digest(path: str | Path) -> str:
    """The digest of one file's content; DataError when it cannot be read. For many files the others
    are quicker."""
    found = _index(cache_dir()).contents([str(path)], at_once=False)
    return _readable(str(path), found.digests[0])


def states_of(paths: Iterable[str]) -> np.ndarray:
    """S16 `[N]`: names of the states that files are in now."""
    return names(map(state_of, paths))


def _readable(path: str, digest: str) -> str:
    if not digest:
        raise DataError(f"cannot read the file {path}: {_why_not(Path(path))}")
    return digest


def _why_not(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe would wait for ever to be opened
            return "it is no regular file"
        path.open("rb").close()
    except (OSError, ValueError) as error:
        return str(error)
    return "it was not there a moment ago"


def state_of(path: str) -> str:
    """What changes whenever a file does: device, inode, size, and both times of change in ns.

    Where the file lies is no part of it. The second time is the inode's own (ctime), which no
    program can set: it tells a change that keeps size and time. "" when there is no such file.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 (a Path costs more than the call)
    except (OSError, ValueError):
        return ""
    return _state(found) if stat.S_ISREG(found.st_mode) else ""


def _state(of: os.stat_result) -> str:
    return f"{of.st_dev} {of.st_ino} {of.st_size} {of.st_mtime_ns} {of.st_ctime_ns}"


@cache
def _index(folder: Path) -> _Index:
    """That of a cache folder."""
    return _Index(folder / "digests" / INDEX)


class _Index:
    """{state of a file: digest of its content}, in one file that processes replace as a whole.

    The file: 16 bytes of checksum, then names of the states, 16 bytes each and sorted, then the
    digests, 16 bytes each. What cannot be read or written costs time alone.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, ""
        self._fresh: dict[str, bytes] = {}  # not yet in the file
        self._hold(np.empty(0, "S16"), np.empty((0, 16), np.uint8))

    def contents(self, paths: Sequence[str], at_once: bool = True) -> Contents:
        """at_once: whether what is read is written, and other processes wait for it."""
        self._refresh()
        states: list[str] = []
        found: list[str] = []
        reading = _Reading()
        with ExitStack() as held:
            for start in range(0, len(paths), LOOK):
                part = paths[start : start + LOOK]
                seen = list(map(state_of, part))
                digests = self._find(seen)
                if not all(digests) and reading.pool is None:
                    held.enter_context(self._turn() if at_once else nullcontext())
                    reading.pool = held.enter_context(ThreadPoolExecutor(THREADS))
                    if self._refresh():  # another process has read some
                        digests = self._find(seen)
                reading.add((s, p) for s, p, d in zip(seen, part, digests, strict=True) if not d)
                states += seen
                found += digests
            done = reading.done()
            self._fresh |= {read.state: read.digest for read in done.values() if read.settled}
            if len(self._fresh) >= (1 if at_once else WAITING):
                self._write()
        for row, state in enumerate(states if done else ()):
            if state in done:
                found[row], states[row] = done[state].digest.hex(), done[state].state
        return Contents(found, names(states))

    def _find(self, states: list[str]) -> list[str]:
        """The digest of each; "" where it is not known."""
        if not len(self._digests):
            return [self._fresh.get(state, b"").hex() for state in states]
        rows = find(self._table, states)
        held = self._digests[rows].tobytes().hex()
        found = [held[i : i + 32] for i in range(0, len(held), 32)]
        for row in np.flatnonzero(rows < 0).tolist():
            found[row] = self._fresh.get(states[row], b"").hex()
        return found

    def _hold(self, held: np.ndarray, digests: np.ndarray) -> None:
        """held: S16 `[N]`, sorted; digests: uint8 `[N, 16]`"""
        self._table, self._digests = {"names": held, "rows": np.arange(len(held))}, digests

    def _refresh(self) -> bool:
        """Read the file unless it is as it was."""
        state = state_of(str(self.path))
        if state == self._read:
            return False
        self._read = state
        with suppress(OSError, ValueError):  # an empty file cannot be mapped
            data = np.asarray(np.memmap(self.path, np.uint8, "r"))
            if xxhash.xxh3_128(data[16:].data).digest() == data[:16].tobytes():
                held, digests = data[16:].reshape(2, -1, 16)
                self._hold(held.reshape(-1).view("S16"), digests)
        return True

    def _write(self) -> None:
        self._refresh()
        fresh = np.frombuffer(b"".join(self._fresh.values()), np.uint8).reshape(-1, 16)
        held = np.concatenate([self._table["names"], names(self._fresh)])
        order = held.argsort(kind="stable")  # quick, as most is sorted
        held, digests = held[order], np.concatenate([self._digests, fresh])[order]
        body = held.tobytes() + digests.tobytes()
        with suppress(OSError):
            with whole(self.path, synced=False) as partial:
                partial.write_bytes(xxhash.xxh3_128(body).digest() + body)
            self._hold(held, digests)
            self._fresh = {}

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Inside, other processes wait, where the disk has locks and we may write to it."""
        with ExitStack() as held:
            with suppress(OSError, DataError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(alone(self.path.with_suffix(".claim")))
                sweep(self.path)
            yield


class _Reading:
    """Files that threads of a pool read, while more are added."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        self._asked: dict[str, str] = {}
        self._tasks: list[Future[list[Read]]] = []

    def add(self, files: Iterable[tuple[str, str]]) -> None:
        """Files as (state, path); equal states are read once."""
        new = [(s, p) for s, p in dict(files).items() if s and s not in self._asked]
        self._asked |= new
        for start in range(0, len(new), TASK):
            assert self.pool is not None
            self._tasks.append(self.pool.submit(_read, new[start : start + TASK]))

    def done(self) -> dict[str, Read]:
        """{state: what was read}, when all are"""
        found = chain.from_iterable(task.result() for task in self._tasks)
        return dict(zip(self._asked, found, strict=True))


def _read(files: list[tuple[str, str]]) -> list[Read]:
    buffer = memoryview(bytearray(BUFFER))
    return [_read_one(path, state, buffer) for state, path in files]


def _read_one(path: str, before: str, buffer: memoryview) -> Read:
    """A state that is younger than its file system can tell apart from the next is not kept: the
    file may change once more and look the same."""
    for _ in range(TRIES):
        began, content = time.time_ns(), xxhash.xxh3_128()
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a Path costs as much)
                while count := file.readinto(buffer):
                    content.update(buffer[:count])
                after = os.fstat(file.fileno())
        except (OSError, ValueError):
            return Read(b"", "", False)
        state = _state(after)
        if state == before:
            return Read(content.digest(), state, after.st_ctime_ns + SETTLED < began)
        before = state  # it changed, also while it was read: once more
    raise DataError(f"the file {path} is being written; start again when it is whole")
