"""Where msdkit keeps what it downloads and computes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from msdkit.io.owned import Kind, others, own

# All that is kept in it; the first of it is there before the mark
PARTS = frozenset({"data", "digests", "downloads", "packages", "parsed", "processed", "teacher"})


def _ours(folder: Path) -> bool:
    """Whether a folder without a mark holds nothing but parts of a cache."""
    return folder.is_dir() and {*others(folder)} <= PARTS


CACHE = Kind("cache", "choose another with MSDKIT_CACHE=PATH", _ours)


def cache_dir() -> Path:
    """`$MSDKIT_CACHE`, else `msdkit` in iopath's cache folder; ConfigError where others' files
    lie."""
    given = os.environ.get("MSDKIT_CACHE")
    if given:
        folder = Path(given).expanduser()
    else:
        from iopath.common.file_io import get_cache_dir

        folder = Path(get_cache_dir()) / "msdkit"
    if folder.exists():
        with suppress(OSError):  # where nothing can be written, what is there can be read
            own(folder, CACHE)
    return folder
