"""Arrays parsed from large files, kept on disk so that later starts are quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np

from msdkit.io.arrays import save_arrays
from msdkit.io.cache import cache_dir
from msdkit.io.digests import content_digests
from msdkit.io.strings import digest

Arrays = dict[str, np.ndarray]


def cached_arrays(
    name: str, version: int, files: Iterable[Path], build: Callable[[], Arrays]
) -> Arrays:
    """What `build` returns, read from the cache where the files have the content that they had.

    version: raise it when `build` comes to return something else. A cache that cannot be read or
    written is no error.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    key = digest(str(version), *content_digests(files))
    target = cache_dir() / "parsed" / f"{name}-{key}.safetensors"
    if target.is_file():
        try:
            return load_file(target)
        except (SafetensorError, OSError):
            pass  # damaged: parsed and written again
    arrays = build()
    with suppress(OSError):  # a full or read-only disk costs time alone
        save_arrays(target, arrays)
    return arrays


def pack(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 bytes of all texts, int64 where each ends, beginning with 0)."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), ends


def unpack(blob: np.ndarray, ends: np.ndarray) -> list[str]:
    """The texts that were packed."""
    data = blob.tobytes()
    return [data[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends.tolist())]
