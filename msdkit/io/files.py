"""Files and folders that appear whole, or not at all."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msdkit.failures import writing

VERIFIED_BELOW = 1 << 30  # bytes: all of what is smaller is verified when it is opened
DIGITS = 8  # in the name of a file that is being written


@contextmanager
def whole(path: Path, synced: bool = True) -> Iterator[Path]:
    """Inside, write the file that it gives; then that takes the place of `path` at once, and is on
    the disk, as is its name. An error leaves nothing of it; what a kill leaves stays until its
    owner, who claims `path` or goes on with the run that it is of, calls `sweep`. DiskError where
    the disk denies it.

    The file may be read by whom the umask lets, whatever writes it: safetensors shuts others out.
    synced: whether the disk is waited for; else a power cut may leave a damaged file, which its
    readers must notice.
    """
    # Processes, also of several hosts, may write the same file at once: the last one's stays
    partial = _partial(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.chmod(_mode_of_new_files(path))
            if synced:
                sync(partial)
            partial.replace(path)
            if synced:
                sync(path.parent)
        finally:
            with suppress(OSError):  # which would hide why it fails
                partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        if path.is_dir():
            return
        raise
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(DIGITS // 2)}.partial")


def _mode_of_new_files(path: Path) -> int:
    """What the umask lets a new file be; it can be read only by setting it, for all threads."""
    probe = _partial(path)
    try:
        probe.touch()
        return probe.stat().st_mode & 0o777
    finally:
        probe.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Delete what killed writers left of a file; for the one process that may write it now."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * DIGITS}.partial"):
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def scratch_folder(target: Path, doing: str) -> Iterator[Path]:
    """A temporary folder beside `target` (so that a rename suffices), gone at the end."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{doing}-", dir=target.parent) as folder:
            yield Path(folder)


def publish(finished: Path, target: Path) -> None:
    """Move a finished folder to its place in one step; a process that came first keeps its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(finished, target)  # noqa: PTH105 (named for what it promises)
    except OSError:
        if not target.is_dir():
            raise


def replace_folder(made: Path, final: Path) -> None:
    """Put the folder `made` in the place of `final`; `recover_folder` mends a kill in between.

    All of it is on the disk before the old one goes, so that a loss of power leaves either.
    """
    for path in made.iterdir():
        sync(path)
    sync(made)
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    made.rename(final)
    sync(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(final: Path) -> None:
    """Undo a replacement that was killed half-way."""
    old = final.with_name(f"{final.name}.old")
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    for leftover in final.parent.glob(f".{final.name}.partial*"):
        shutil.rmtree(leftover, ignore_errors=True)


def whole_folder(final: Path) -> Path:
    """Where a replaced folder stands whole: at `final`, or aside when a kill came in between."""
    old = final.with_name(f"{final.name}.old")
    return old if old.exists() and not final.exists() else final
