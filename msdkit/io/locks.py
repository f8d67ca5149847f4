"""What several processes want: who may write it, and how the others wait."""

from __future__ import annotations

import errno
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from msdkit.errors import DataError
from msdkit.io.files import sweep
from msdkit.io.heartbeat import Heartbeat, begin
from msdkit.progress import console

POLL = 1.0  # seconds between looks at what other processes do, of a long wait
FIRST = 1 / 64  # of POLL: a wait begins with short looks, each twice as long as the one before
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
T = TypeVar("T")


class StoreBusy(DataError):
    """Another process is building the store."""


class Claim:
    """What this process alone has, until it lets go or ends, however it ends."""

    def __init__(self, path: Path, file: IO[bytes], beat: Heartbeat | None) -> None:
        self.path, self._file, self._beat = path, file, beat
        _HELD.add(self)

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, words: str) -> None:
        """Leave a word for those who find it taken; `holder` reads it."""
        self._file.truncate(0)
        self._file.write(words.encode())
        self._file.flush()

    def end(self) -> None:
        """Let go, and leave no file."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go."""
        self._file.close()
        if self._beat is not None:
            self._beat.stop()


_HELD: weakref.WeakSet[Claim] = weakref.WeakSet()


def _forget() -> None:
    """A child process holds none of its parent's claims: it may outlive it."""
    for claim in list(_HELD):
        claim.close()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


def take(claim: Path) -> Claim | None:
    """A claim, made if it is not there: ours until it is closed, by our end however we end.

    None while another process has it. Its holder may delete it before letting go.
    """
    file = claim.open("ab")
    try:
        if (kept := _kept(file, claim)) is not None:
            return Claim(claim, file, *kept)
    except BaseException:
        file.close()
        raise
    file.close()  # another process has it, or had it and deleted it since we looked
    return None


def holder(claim: Path) -> str:
    """What the process that has a claim said of itself; empty where it said nothing."""
    try:
        return claim.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has just let go
        return ""


def _kept(file: IO[bytes], claim: Path) -> tuple[Heartbeat | None] | None:
    """What keeps others out, beside the open file; None while another process is in."""
    try:
        if not _locked(file):
            beat = begin(claim.with_name(f"{claim.name}.beat"))
            return None if beat is None else (beat,)
        return (None,) if os.path.samestat(os.fstat(file.fileno()), claim.stat()) else None
    except (BlockingIOError, FileNotFoundError):
        return None
    except OSError as error:  # else who waits for others would wait for ever
        raise DataError(f"cannot lock files beside {claim}: {error}") from error


def _locked(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed, also by a kill; False on a disk without locks.

    BlockingIOError while another process has it.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # on Windows
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process may write a file: it is not there, and no other process is writing it.

    What a dead process had claimed is free again, and what it left of the file is gone.
    """
    held = None if path.exists() else take(path.with_suffix(".claim"))
    if held is None:
        yield False
        return
    try:
        free = not path.exists()  # else it was finished since we looked
        if free:
            sweep(path)
        yield free
    finally:
        held.end()


@contextmanager
def alone(claim: Path) -> Iterator[None]:
    """Inside, no other process is; who comes later waits for its turn."""
    held = until(lambda: take(claim))
    try:
        yield
    finally:
        held.end()


def until(done: Callable[[], T | None], others: Callable[[], str] | None = None) -> T:
    """What `done` returns once that is true; it is asked again while others have what is missing.

    `done` does itself what nobody has, so that the death of another process ends no wait in vain;
    others: a line on who is waited for, told when the wait begins.
    """
    pause = POLL * FIRST
    while not (answer := done()):
        if others is not None:
            console().print(others())
            others = None
        time.sleep(pause)
        pause = min(2 * pause, POLL)
    return answer
