"""Memory-mapped sequences of features per key: regions, token states, audio frames, token ids.

A store is a folder. `features.bin` holds the rows of all records, one after the other;
`index.safetensors` holds the keys and a table that finds them, where each record begins, a checksum
of each record and, if the rows have places in a picture, their boxes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msdkit.errors import DataError
from msdkit.io.arrays import ArrayWriter
from msdkit.io.files import VERIFIED_BELOW
from msdkit.io.strings import chunks, find, table
from msdkit.store.format import (
    DATA,
    INDEX,
    TYPES,
    DType,
    checksum,
    digest,
    ends,
    keys_of,
    looked_up,
    map_rows,
    read_index,
    table_of,
)
from msdkit.store.writer import FeatureStoreWriter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["INDEX", "FeatureStore", "FeatureStoreWriter"]


class FeatureStore:
    """A finished store, read through memory maps; opening it reads the index only.

    `store[key]` is one record as stored: `[L, D]`, or `[L]` for token ids. For training, ask once
    for `rows(keys)`, then `gather` one batch after the other. A store that was built in shards is
    read like any other.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._index, about = read_index(self.path)
        self.dtype: DType = about["dtype"]
        self.dim: int = about["dim"]
        self.fingerprint: str = about["digest"]
        self._offsets = self._index["offsets"]
        self._keys = keys_of(self._index)
        shards = about.get("shards", {"": int(self._offsets[-1])})
        self._check(shards)
        self._starts = ends(list(shards.values()))[:-1]
        self._parts = [self._map(name, rows) for name, rows in shards.items()]

    def __repr__(self) -> str:
        return f"FeatureStore('{self.path}': {len(self)} keys, {self.dtype}, dim {self.dim})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore, (self.path,)  # a worker process maps the files itself

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and find(self._table, [key])[0] >= 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __getitem__(self, key: str) -> np.ndarray:
        return self._record(self._row(key))

    def keys(self) -> list[str]:
        """All keys, in the order in which they were added."""
        return list(self)

    @property
    def lengths(self) -> np.ndarray:
        """int64 `[N]`: how many rows each record has"""
        return np.diff(self._offsets)

    def boxes(self, key: str) -> np.ndarray | None:
        """float32 `[L, 4]`, or None in a store without boxes."""
        return self._boxes(self._row(key))

    def rows(self, keys: Iterable[str]) -> np.ndarray:
        """int64 indices of keys, for `gather`."""
        found = ArrayWriter(np.int64)
        for part in chunks(keys):
            rows = find(self._table, part)
            if rows.min() < 0:
                lacking = part[int(rows.argmin())]
                raise DataError(
                    f"feature store {self.path} ({len(self)} keys) has no key '{lacking}'"
                )
            found.write(rows.tobytes())
        return found.finish()

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[B] -> float32 [B, L, D] or int64 [B, L], mask bool [B, L]; padded with zeros."""
        values, mask = self._gathered(np.asarray(indices))
        return _widened(values), mask

    def verify_if_small(self) -> None:
        """Verify a store of less than 1 GiB; reading a larger one at each start takes too long."""
        if sum(part.nbytes for part in self._parts) < VERIFIED_BELOW:
            self.verify()

    def verify(self) -> None:
        """Compare all with the checksums; DataError naming the first damaged key."""
        whole = digest(self.dtype, self.dim, self._index) == self.fingerprint
        found = table(self._keys)
        if not whole or any((found[k] != self._table[k]).any() for k in found):
            raise DataError(f"feature store {self.path}: {INDEX} is damaged; build it again")
        for row, crc in enumerate(self._index["crc32"]):
            if checksum(self._record(row), self._boxes(row)) != crc:
                raise DataError(
                    f"feature store {self.path}: the record '{self._keys[row]}' is damaged"
                )

    def _gathered(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `gather`, in the type in which records are stored."""
        if self._block is not None and len(indices):
            import torch

            values = self._block.index_select(0, torch.as_tensor(indices)).numpy()
            values = values.reshape(len(indices), -1, *self._parts[0].shape[1:])
            return values, np.ones(values.shape[:2], bool)
        starts = self._offsets[indices]
        lengths = self._offsets[indices + 1] - starts
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        parts = self._starts.searchsorted(starts, side="right") - 1
        places = (parts, starts - self._starts[parts], lengths)
        values = np.empty((*mask.shape, *self._parts[0].shape[1:]), TYPES[self.dtype])
        # Record by record: one long copy each is faster than indexing by rows.
        for to, part, start, length in zip(values, *(x.tolist() for x in places), strict=True):
            to[:length] = self._parts[part][start : start + length]
            to[length:] = 0
        return values, mask

    def _record(self, row: int) -> np.ndarray:
        start, end = (int(at) for at in self._offsets[row : row + 2])
        part = bisect_right(self._starts, start) - 1
        before = self._starts[part]
        record = self._parts[part][start - before : end - before]
        record.setflags(write=False)
        return record

    @cached_property
    def _block(self) -> Tensor | None:
        """[N, L · D]: one file of records of one length, which torch copies with all threads."""
        import torch

        lengths = self.lengths
        if len(self._parts) > 1 or lengths.max(initial=0) == 0 or lengths.min() < lengths.max():
            return None
        return torch.from_numpy(self._parts[0]).reshape(len(self), -1)

    @cached_property
    def _table(self) -> dict[str, np.ndarray]:
        return table_of(looked_up(self._index))

    def _row(self, key: str) -> int:
        return int(self.rows([key])[0])

    def _boxes(self, row: int) -> np.ndarray | None:
        if "boxes" not in self._index:
            return None
        return self._index["boxes"][self._offsets[row] : self._offsets[row + 1]]

    def _map(self, shard: str, rows: int) -> np.ndarray:
        return map_rows(self.path / shard / DATA, self.dtype, rows, self.dim)

    def _check(self, shards: dict[str, int]) -> None:
        index, rows = self._index, int(self._offsets[-1])
        sizes = [len(index["crc32"]), len(self._offsets) - 1, len(index["key_offsets"]) - 1]
        boxes = len(index.get("boxes", range(rows)))
        descending = (np.diff(self._offsets) < 0).any()
        if len({*sizes}) > 1 or descending or {boxes, sum(shards.values())} != {rows}:
            raise DataError(
                f"feature store {self.path}: {INDEX} contradicts itself; build it again"
            )
        for shard, held in shards.items():
            expected = held * self.dim * TYPES[self.dtype].itemsize
            data = self.path / shard / DATA
            found = data.stat().st_size if data.exists() else 0
            if found != expected:
                raise DataError(
                    f"feature store {data.parent}: {DATA} has {found} bytes, expected {expected}; "
                    "it was cut off or belongs to another index"
                )


def _widened(values: np.ndarray) -> np.ndarray:
    """float16 -> float32, int32 -> int64; float32 stays."""
    if values.dtype == np.float16:
        import torch  # more than twice as fast as numpy here

        return torch.from_numpy(values).float().numpy()
    return values.astype(np.int64) if values.dtype == np.int32 else values
