"""Where msdkit keeps what it downloads and computes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from msdkit.io.owned import Kind, own

# What the version before the mark kept in it
PARTS = frozenset({"data", "downloads", "packages", "parsed", "processed", "teacher"})


def _from_before(folder: Path) -> bool:
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= PARTS


CACHE = Kind("cache", "choose another with MSDKIT_CACHE=PATH", _from_before)


def cache_dir() -> Path:
    """`$MSDKIT_CACHE`, else `msdkit` in iopath's cache folder; ConfigError where others' files
    lie."""
    given = os.environ.get("MSDKIT_CACHE")
    if given:
        folder = Path(given).expanduser()
    else:
        from iopath.common.file_io import get_cache_dir

        folder = Path(get_cache_dir()) / "msdkit"
    with suppress(OSError):  # where nothing can be written, what is there can be read
        own(folder, CACHE)
    return folder
