"""Arrays parsed from large files, kept on disk so that later starts are quick."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np

from msdkit.errors import DataError
from msdkit.io.arrays import save_arrays
from msdkit.io.cache import cache_dir

Arrays = dict[str, np.ndarray]


def cached_arrays(
    name: str, version: int, files: Iterable[Path], build: Callable[[], Arrays]
) -> Arrays:
    """What `build` returns, read from the cache where the files are as they were.

    A file counts as the same while its path, size and time of change are. version: raise it when
    `build` comes to return something else. A cache that cannot be read or written is no error.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    parts = [f"{path.resolve()}|{_stamp(path)}" for path in files]
    key = hashlib.blake2b("\n".join([str(version), *parts]).encode(), digest_size=10).hexdigest()
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


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"cannot read the file {path}: {error}") from error
    return f"{stat.st_size}|{stat.st_mtime_ns}"
