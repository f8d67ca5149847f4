"""Other people's region features -> a feature store, resumable and verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from msdkit.errors import ConfigError, DataError, listing, suggest
from msdkit.features.description import Selection
from msdkit.features.lmdb import MmfLmdb, UniterLmdb
from msdkit.features.sources import Entry, NpyFolder, NpzFolder, Source, Tsv
from msdkit.io.lmdb_file import reading
from msdkit.io.owned import own
from msdkit.progress import bar
from msdkit.store.shards import Shard, join
from msdkit.store.store import FeatureStore
from msdkit.store.writer import STORE, FeatureStoreWriter

SOURCES: dict[str, type[Source]] = {
    "mmf_lmdb": MmfLmdb,
    "npy": NpyFolder,
    "npz": NpzFolder,
    "tsv": Tsv,
    "uniter_lmdb": UniterLmdb,
}


@dataclass(frozen=True)
class Imported:
    """What a store holds after an import; repeated: records left out because their key had come."""

    pictures: int
    regions: int
    dim: int
    boxes: bool
    repeated: int

    def __str__(self) -> str:
        boxes = "with boxes" if self.boxes else "without boxes"
        repeated = f"; {self.repeated:,} repeated keys left out" if self.repeated else ""
        return (
            f"{self.pictures:,} pictures, {self.regions:,} regions of width {self.dim}, {boxes}"
            f"{repeated}"
        )


def import_features(
    source: str | Path,
    store: str | Path,
    *,
    format: str | None = None,
    dtype: Literal["fp16", "fp32"] = "fp16",
    max_regions: int | None = None,
    min_score: float | None = None,
    min_regions: int | None = None,
    shard: Shard | None = None,
) -> Imported:
    """Write the features of `source` into a new store, and read them back against checksums.

    format: a name in `SOURCES`; without it the files tell. max_regions: keep only the first
    regions of each picture (detectors put the surest first). min_score: keep as many as the
    detector was surer of, but at least `min_regions` (10): how UNITER reads its databases. For one
    named `all`, which holds whatever was detected, UNITER's 0.2, 10 and 100 stand for what is not
    given. A second call after an interruption goes on where the first ended. shard: write this
    part of the store alone, beside other processes; the last one to finish makes one store of the
    parts.
    """
    path = place(store, shard)
    if shard is not None and path.is_dir():
        return finished(store, shard)
    opened = open_source(Path(source), format)
    opened.selection = _selection(opened.selection, min_score, min_regions, max_regions)
    with closing(iter(opened)) as entries:  # type: ignore[type-var]
        first = next(entries, None)
        if first is None:
            raise DataError(f"{source}: holds no features")
        sample = first.load().regions
        boxes = sample.boxes is not None
        with FeatureStoreWriter(path, sample.features.shape[1], dtype, boxes) as writer:
            mine = (e for e in chain([first], entries) if shard is None or shard.owns(e.key))
            repeated = _copy(opened, mine, writer)
    return finished(store, shard, repeated)


def place(store: str | Path, shard: Shard | None) -> Path:
    """The folder to write: the store, or one of its shards, and then the store's is made ours."""
    if shard is None:
        return Path(store)
    own(Path(store), STORE)
    return shard.folder(Path(store))


def finished(store: str | Path, shard: Shard | None, repeated: int = 0) -> Imported:
    """Verify what was written, and describe it; the last shard makes the store one."""
    imported = verified(place(store, shard), repeated)
    if shard is not None:
        join(Path(store), shard.count)
    return imported


def verified(store: str | Path, repeated: int = 0) -> Imported:
    """Compare a finished store with its checksums, and describe it."""
    found = FeatureStore(store)
    with bar(1, f"verifying {store}", "store") as advance:
        found.verify()
        advance()
    boxes = len(found) > 0 and found.boxes(next(iter(found))) is not None
    return Imported(len(found), int(found.lengths.sum()), found.dim, boxes, repeated)


def open_source(path: Path, format: str | None = None) -> Source:
    """The reader of a format; ConfigError on a name that is none, DataError on unknown files."""
    if format is not None and format not in SOURCES:
        raise ConfigError(
            f"unknown format '{format}'. {suggest(format, SOURCES)}Known: {listing(SOURCES)}"
        )
    if not path.exists():
        raise DataError(f"{path} does not exist")
    return SOURCES[format or detect(path)](path)


def detect(path: Path) -> str:
    """The format of a file or folder."""
    if (path / "data.mdb").is_file() or path.suffix in (".lmdb", ".mdb"):
        with reading(path) as database:
            known = {"mmf_lmdb": b"keys", "uniter_lmdb": b"__keys__"}
            found = [name for name, key in known.items() if database.get(key)]
        if found:
            return found[0]
        raise DataError(f"{path}: an LMDB without 'keys' (MMF) and '__keys__' (UNITER)")
    for format in ("npy", "npz"):
        if path.is_dir() and next(path.rglob(f"*.{format}"), None):
            return format
    if path.is_file() and ".tsv" in path.suffixes:
        return "tsv"
    inner = next(path.glob("*/data.mdb"), None) if path.is_dir() else None
    hint = f"did you mean {inner.parent}?" if inner else "set the format to force one"
    raise DataError(
        f"{path}: not known as an LMDB of MMF or UNITER, a folder of .npy or .npz files or a .tsv; "
        f"{hint}"
    )


def _selection(
    usual: Selection, min_score: float | None, min_regions: int | None, max_regions: int | None
) -> Selection:
    """The source's own, but for what is given."""
    chosen = Selection(
        usual.min_score if min_score is None else min_score,
        usual.min_regions if min_regions is None else min_regions,
        usual.max_regions if max_regions is None else max_regions,
    )
    if min_regions is not None and chosen.min_score is None:
        raise ConfigError(f"min_regions: {min_regions} needs min_score, which it limits")
    return chosen


def _copy(source: Source, entries: Iterator[Entry], writer: FeatureStoreWriter) -> int:
    """Add what the store lacks; the number of keys that came again."""
    seen: set[str] = set()
    done = repeated = 0
    with bar(source.total, f"importing {source.path.name}", source.unit) as advance:
        for key, position, load in entries:
            repeated += key in seen
            seen.add(key)
            if key not in writer:
                where = f"{source.path}, entry '{key}'"
                features, boxes = source.selection(where, load())
                writer.add(key, features, boxes)
            advance(position - done)
            done = position
    return repeated
