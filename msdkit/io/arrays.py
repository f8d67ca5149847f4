"""Arrays on disk: large ones, read through memory maps, and several in one file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from msdkit.failures import writing
from msdkit.io.cache import cache_dir
from msdkit.io.files import whole

IN_MEMORY = 1 << 18  # bytes; what is smaller makes no file


class ArrayWriter:
    """Collects the bytes of an array; beyond 256 KiB they go to a file of the cache.

    The file has no name: it goes with the process, however that ends. Its pages are the system's to
    drop and to read again, as those of any file.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._waiting = bytearray()
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Append numbers, as bytes."""
        self._waiting += data
        if len(self._waiting) > IN_MEMORY:
            self._flush()

    def finish(self) -> np.ndarray:
        """All numbers, in one dimension."""
        if self._file is None:
            return np.frombuffer(self._waiting, self.dtype)
        self._flush()
        with self._file as file:  # the map stays when it is closed
            # asarray: slices of the subclass np.memmap cost more than small copies
            return np.asarray(np.memmap(file, self.dtype, "r+"))

    def __del__(self) -> None:
        if self._file is not None:  # given up half-way
            self._file.close()

    def _flush(self) -> None:
        with writing(cache_dir()):
            if self._file is None:
                cache_dir().mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=cache_dir())  # noqa: SIM115
            self._file.write(self._waiting)
            self._file.flush()
        self._waiting = bytearray()


def on_disk(array: np.ndarray) -> np.ndarray:
    """The same array, in a file unless it is small."""
    writer = ArrayWriter(array.dtype)
    flat = np.ascontiguousarray(array).reshape(-1)
    step = max(IN_MEMORY // flat.itemsize, 1)
    for start in range(0, len(flat), step):
        writer.write(flat[start : start + step].tobytes())
    return writer.finish().reshape(array.shape)


def save_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], about: dict[str, str] | None = None
) -> None:
    """Write arrays and what is said about them as one safetensors file, whole or not at all.

    safetensors writes an array's memory, whatever its order: a transpose would come back as other
    values (0.8.0), so each is laid out in C order first.
    """
    from safetensors.numpy import save_file

    ordered = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    with whole(path) as partial:
        save_file(ordered, partial, metadata=about)
