"""Feature stores in shards, so that several processes may build one that is larger than memory.

Each shard is a store of its own, `PATH/shard-00000-of-00008` and so on, built by a
`FeatureStoreWriter` like any other. When all are there, `join` writes the index of the whole; from
then on `PATH` is one store. No data are copied.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msdkit.errors import ConfigError, DataError
from msdkit.io.arrays import on_disk
from msdkit.io.strings import encode
from msdkit.store.format import (
    FORMAT,
    INDEX,
    Arrays,
    digest,
    ends,
    keys_of,
    looked_up,
    read_index,
    write_index,
)


@dataclass(frozen=True)
class Shard:
    """One of several parts of a store; number counts from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/8`; ConfigError on anything else."""
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"shard: got '{text}'; accepted: NUMBER/COUNT, such as 2/8")
        return cls(int(number), int(count))

    def folder(self, store: Path) -> Path:
        """Where it lies in the store."""
        return store / f"shard-{self.number - 1:05}-of-{self.count:05}"

    def owns(self, key: str) -> bool:
        """Whether a key belongs here: each key has one shard, whoever asks."""
        return zlib.crc32(encode(key)) % self.count == self.number - 1


def shards(count: int) -> list[Shard]:
    """All shards of a store of so many."""
    return [Shard(number, count) for number in range(1, count + 1)]


def join(store: Path, count: int) -> bool:
    """Make one store of its shards; False while some are missing. To do it twice does no harm."""
    folders = [shard.folder(store) for shard in shards(count)]
    if not all(folder.is_dir() for folder in folders):
        return False
    if (store / INDEX).is_file():
        return True
    indices, abouts = zip(*map(read_index, folders), strict=True)
    pairs = zip(indices, abouts, strict=True)
    kinds = {(about["dtype"], about["dim"], "boxes" in index) for index, about in pairs}
    if len(kinds) > 1:
        raise DataError(
            f"feature store {store}: its shards differ in (dtype, dim, boxes): {sorted(kinds)}; "
            "build them with the same arguments"
        )
    index = looked_up(_joined(indices))
    _refuse_twice(store, index)
    dtype, dim, _ = kinds.pop()
    rows = {f.name: int(i["offsets"][-1]) for f, i in zip(folders, indices, strict=True)}
    about = {"format": FORMAT, "dtype": dtype, "dim": dim, "digest": digest(dtype, dim, index)}
    write_index(store / INDEX, index, {**about, "shards": rows})
    return True


def _joined(indices: Sequence[Arrays]) -> Arrays:
    """The index of all records, shard after shard."""
    found = {
        name: on_disk(np.concatenate([index[name] for index in indices]))
        for name in ("keys", "crc32", *(["boxes"] if "boxes" in indices[0] else []))
    }
    for name in ("key_offsets", "offsets"):
        sizes = np.concatenate([np.diff(index[name]) for index in indices])
        found[name] = on_disk(ends(sizes))
    return found


def _refuse_twice(store: Path, index: Arrays) -> None:
    names = index["key_names"]
    same = (names[1:] == names[:-1]).all(1)
    if same.any():
        key = keys_of(index)[int(index["key_rows"][same.argmax()])]
        raise DataError(f"feature store {store}: the key '{key}' stands in two of its shards")
