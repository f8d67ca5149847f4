"""Where msdkit keeps what it downloads and computes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$MSDKIT_CACHE`, else `msdkit` in iopath's cache folder."""
    given = os.environ.get("MSDKIT_CACHE")
    if given:
        return Path(given).expanduser()
    from iopath.common.file_io import get_cache_dir

    return Path(get_cache_dir()) / "msdkit"
