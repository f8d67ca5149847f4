"""Files that appear whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, partial: Path) -> Iterator[None]:
    """Inside, write the file `partial`; then it takes the place of `path` at once, and is on the
    disk. What an error leaves of it goes."""
    try:
        yield
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_folder(made: Path, final: Path) -> None:
    """Put the folder `made` in the place of `final`; `recover_folder` mends a kill in between."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    made.rename(final)
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


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
