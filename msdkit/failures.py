"""What the system denies, a full disk or too little memory, as one line that says where and what
to do."""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msdkit.errors import DiskError, MsdkitError, OutOfMemory

GO_ON = "what is done is kept: once that is mended, the same command goes on"
WAYS_OUT = {
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "your quota there is used up",
    errno.EFBIG: "the limit on the size of a file; see `ulimit -f`",
    errno.EIO: "the disk, or the way to it, fails",
    errno.ESTALE: "the network's disk has changed beneath",
    errno.EMFILE: "too many files are open; see `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "",
    errno.EPERM: "",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle",
}
LASTING = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)  # another path is needed
LESS = "lower what is held at once: train.batch_size, evaluate.batch_size, --batch-size"
_NUMBER = re.compile(r"\(os error (\d+)\)")  # as libraries in Rust tell the system's errors
_AMOUNT = re.compile(r"(?:tried to|Unable to) allocate ([\d.]+ ?(?:[KMGTP]i?B|bytes))")
_MEMORY = ("can't allocate memory", "out of memory", "Cannot allocate memory", "std::bad_alloc")
_LIBRARY = re.compile(r"/(site|dist)-packages/|/lib/python3")


def told(error: BaseException) -> str | None:
    """One line on what the system denied, or on a user's mistake; None for any other error."""
    if isinstance(error, MsdkitError):
        return str(error)
    if _is_memory(error):
        return f"{_memory(error)}; {LESS}"
    if (number := _errno(error)) is not None:
        path = getattr(error, "filename", None)
        line = _denial(number, None if path is None else _text(path))
        return line if number in LASTING or number not in WAYS_OUT else f"{line}; {GO_ON}"
    if isinstance(error, OSError):  # of a library, which has words of its own
        return _one_line(error) or type(error).__name__
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return f"a path with a NUL character, which no path can have ({error})"
    return None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, what a disk denies becomes a DiskError that says what was being written."""
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        number, named = _errno(error), getattr(error, "filename", None)
        if number not in WAYS_OUT or not _beside(named, path):
            raise
        message = f"writing {_denial(number, _text(path))}; {GO_ON}"
        failed = DiskError(message)
        failed.errno = number
        raise failed from error


@contextmanager
def memory(doing: str, way_out: str) -> Iterator[None]:
    """Inside, too little memory becomes an OutOfMemory that says of what, and what to turn down."""
    try:
        yield
    except OutOfMemory:
        raise
    except Exception as error:
        if not _is_memory(error):
            raise
        raise OutOfMemory(f"{doing}: {_memory(error)}; {way_out}; {GO_ON}") from error


def _errno(error: BaseException) -> int | None:
    """The system's number of an error, also where a library tells it in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def _denial(number: int, path: str | None) -> str:
    """ "PATH: No space left on device (free some …)" """
    words, way_out = os.strerror(number), WAYS_OUT.get(number, "")
    if number in (errno.EACCES, errno.EPERM) and path is not None:
        way_out = _whose(Path(path))
    line = f"{words} ({way_out})" if way_out else words
    return line if path is None else f"{path}: {line}"


def _whose(path: Path) -> str:
    """Whom the place that denied us belongs to, if that is somebody else."""
    with suppress(OSError, KeyError, ImportError):
        import pwd

        place = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
        owner = place.lstat().st_uid
        if owner != os.geteuid():
            return f"{place} belongs to {pwd.getpwuid(owner).pw_name}"
    return ""


def _beside(named: Any, path: Path) -> bool:
    """Whether an error is of what is written, and not of what is read meanwhile."""
    if named is None:
        return True
    place, other = path.absolute(), Path(_text(named)).absolute()
    return (
        other in (place, *place.parents) or place in other.parents or other.parent == place.parent
    )


def _text(path: Any) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else f"file {path}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _is_memory(error: BaseException) -> bool:
    """Whether memory is what lacks; torch says so by words alone on a CPU."""
    if isinstance(error, MemoryError) or _errno(error) == errno.ENOMEM:
        return True
    words = str(error)
    return isinstance(error, RuntimeError) and any(word in words for word in _MEMORY)


def _memory(error: BaseException) -> str:
    """How much was asked for, and by which line of whose code."""
    found = _AMOUNT.search(str(error))
    amount = f", {_readable(found[1])} were asked for" if found else ""
    frame = own_frame(error)
    by = f" by `{frame.line}` ({frame.filename}:{frame.lineno})" if frame else ""
    return f"out of memory{amount}{by}"


def own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line that an error went through and that is no library's, if any is; None of
    one that was never raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/msdkit/" in f.filename or not _LIBRARY.search(f.filename)]
    return next(iter(reversed(own or frames)), None)


def _readable(amount: str) -> str:
    """Bytes in a unit that people read."""
    if not amount.endswith("bytes"):
        return amount
    count, unit = float(amount.split()[0]), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            break
        count, unit = count / 1024, larger
    return f"{count:.4g} {unit}"
