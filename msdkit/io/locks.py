"""Which process writes a file that several want."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from msdkit.errors import DataError


class StoreBusy(DataError):
    """Another process is building the store."""


def lock(file: IO[bytes], path: Path) -> None:
    """Keep other writers out until the file is closed, also by a kill."""
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


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process may write a file: it is not there, and no other process is writing it.

    The claim is a lock on a file beside it, which a process lets go of by its end, however it ends.
    """
    if path.exists():
        yield False
        return
    claim = path.with_suffix(".claim")
    with claim.open("ab") as file:
        try:
            lock(file, path)
            free = not path.exists()  # finished since we looked
        except StoreBusy:
            free = False
        yield free
        if path.exists():  # else another process may hold the same claim by now
            claim.unlink(missing_ok=True)
