"""Files that appear whole, or not at all."""

from __future__ import annotations

import os
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
