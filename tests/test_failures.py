"""What the system denies is one line that names the place and a way out."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from msdkit.errors import ConfigError, DataError, DiskError, MsdkitError, OutOfMemory
from msdkit.failures import GO_ON, memory, told, writing


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "x", "a/b"), "a/b: No space left on device (free some space"),
        (OSError(errno.EDQUOT, "x"), "Disk quota exceeded (your quota there is used up)"),
        (OSError(errno.EFBIG, "x", "a"), "a: File too large (the limit on the size of a file"),
        (OSError(errno.EROFS, "x", "a"), "a: Read-only file system (choose a place"),
        (OSError(errno.EMFILE, "x", "a"), "a: Too many open files (too many files are open; see"),
        (OSError(errno.EIO, "x", b"a"), "a: Input/output error (the disk"),
        (OSError(errno.ENAMETOOLONG, "x", "a"), "a: File name too long (choose a shorter name)"),
        (IsADirectoryError(errno.EISDIR, "x", "a"), "a: Is a directory"),
        (OSError("of a library,\n in lines"), "of a library, in lines"),
        (SafetensorError("I/O error: full (os error 28)"), "No space left on device (free"),
        (ConfigError("as it is"), "as it is"),
    ],
)
def test_told(error: Exception, line: str) -> None:
    assert (told(error) or "").startswith(line)


def test_what_is_no_failure_of_the_system_is_not_told() -> None:
    assert told(RuntimeError("shapes differ")) is None
    assert told(ValueError("not a number")) is None


def test_a_nul_in_a_path() -> None:
    with pytest.raises(ValueError, match="null") as caught:
        Path("a\0b").stat()
    assert (told(caught.value) or "").startswith("a path with a NUL character")


def test_whose_a_place_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of the nearest place that is there, unless that is us."""
    import pwd

    denied = PermissionError(errno.EACCES, "x", str(tmp_path / "new" / "file"))
    assert told(denied) == f"{tmp_path}/new/file: Permission denied"
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    owner = pwd.getpwuid(mine).pw_name
    assert told(denied) == (
        f"{tmp_path}/new/file: Permission denied ({tmp_path} belongs to {owner})"
    )


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),  # of a write, which knows no path
        OSError(errno.ENOSPC, "No space left on device", "PLACE/.file.partial"),
        SafetensorError("Error while serializing: I/O error: full (os error 28)"),
    ],
)
def test_writing_names_the_place(tmp_path: Path, error: Exception) -> None:
    if isinstance(error, OSError) and error.filename:
        error.filename = str(tmp_path / ".file.partial")
    with pytest.raises(DiskError) as caught, writing(tmp_path / "file"):
        raise error
    assert isinstance(caught.value, DataError)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value) == (
        f"writing {tmp_path}/file: No space left on device (free some space, or choose another "
        f"place); {GO_ON}"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_writing_leaves_other_errors_alone(tmp_path: Path) -> None:
    read = OSError(errno.EACCES, "Permission denied", "/elsewhere/data.bin")
    for error in (read, FileNotFoundError(2, "none"), ConnectionResetError(104, "reset"), KeyError):
        with pytest.raises(Exception) as caught, writing(tmp_path / "file"):  # noqa: PT011
            raise error
        assert not isinstance(caught.value, DiskError)


def test_memory_names_the_line_and_what_to_lower() -> None:
    """numpy's and torch's own refusals, of sizes that no machine has."""
    for ask, amount in (
        (lambda: np.empty(2**57, np.uint8), "128. PiB"),
        (lambda: torch.empty(2**50), "4096 TiB"),
    ):
        with pytest.raises(OutOfMemory) as caught, memory("training", "lower it"):
            ask()
        line = str(caught.value)
        assert line.startswith(f"training: out of memory, {amount} were asked for by `(lambda: ")
        assert f"({__file__}:" in line
        assert line.endswith(f"; lower it; {GO_ON}")
        assert isinstance(caught.value, MsdkitError)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_way_of_running_out(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"^x: out of memory.*; lower y; "),
        memory("x", "lower y"),
    ):
        raise error
    assert "lower what is held at once: train.batch_size" in str(told(error))


def test_the_innermost_name_stays() -> None:
    inside = memory("evaluate val", "b")
    with pytest.raises(OutOfMemory) as caught, memory("training", "a"), inside:
        raise MemoryError
    assert str(caught.value).startswith("evaluate val: out of memory by `raise MemoryError`")
    assert str(caught.value).endswith(f"; b; {GO_ON}")
