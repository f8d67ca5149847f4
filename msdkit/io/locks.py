"""What several processes want: who may write it, and how the others wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from msdkit.errors import DataError
from msdkit.io.files import sweep
from msdkit.progress import console

POLL = 1.0  # seconds between looks at what other processes do, of a long wait
FIRST = 1 / 64  # of POLL: a wait begins with short looks, each twice as long as the one before
T = TypeVar("T")


class StoreBusy(DataError):
    """Another process is building the store."""


def lock(file: IO[bytes], path: Path) -> None:
    """Keep other writers out until the file is closed, also by a kill; StoreBusy if one is in."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreBusy(f"{path} is being written by another process; wait for it") from None
    except OSError as error:  # else who waits for others would wait for ever
        raise DataError(f"cannot lock files beside {path}: {error}") from error


def take(claim: Path) -> IO[bytes] | None:
    """A claim, made if it is not there: ours until the file is closed, by our end however we end.

    None while another process has it. Its holder may delete it before letting go.
    """
    file = claim.open("ab")
    try:
        lock(file, claim)
        if os.path.samestat(os.fstat(file.fileno()), claim.stat()):
            return file
    except (StoreBusy, FileNotFoundError):
        pass
    except BaseException:
        file.close()
        raise
    file.close()  # another process has it, or had it and deleted it since we looked
    return None


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process may write a file: it is not there, and no other process is writing it.

    What a dead process had claimed is free again, and what it left of the file is gone.
    """
    claim = path.with_suffix(".claim")
    file = None if path.exists() else take(claim)
    if file is None:
        yield False
        return
    with file:
        try:
            free = not path.exists()  # else it was finished since we looked
            if free:
                sweep(path)
            yield free
        finally:
            claim.unlink(missing_ok=True)


@contextmanager
def alone(claim: Path) -> Iterator[None]:
    """Inside, no other process is; who comes later waits for its turn."""
    with until(lambda: take(claim)):
        try:
            yield
        finally:
            claim.unlink(missing_ok=True)


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
