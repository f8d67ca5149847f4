"""From raw examples to batches: ids, labels, and processed modalities read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msdkit import traits
from msdkit.data.raw import RawSplit
from msdkit.errors import DataError
from msdkit.io.locks import StoreBusy, until
from msdkit.io.strings import Strings, digest_of, first_rows, stored
from msdkit.progress import bar
from msdkit.store.format import INDEX
from msdkit.store.shards import join, shards
from msdkit.store.store import FeatureStore
from msdkit.store.writer import FeatureStoreWriter
from msdkit.types import Padded

__all__ = ["ModelInputs", "pad"]

CHUNK = 512  # raw values handed to a processor at once
SHARD = 1 << 16  # distinct values of a processed store that one process takes at once


class ModelInputs:
    """What one model reads of a split: each modality processed once, then memory-mapped.

    rows: {modality: int64 [N]}, where each example's record lies; equal rows are equal content.
    """

    def __init__(self, raw: RawSplit, processors: Mapping[str, Any], cache: Path) -> None:
        self.raw, self.processors = raw, dict(processors)
        self._stores: dict[str, FeatureStore] = {}
        self.rows: dict[str, np.ndarray] = {}
        parts: list[Iterable[str]] = []
        for modality, processor in self.processors.items():
            try:
                keys = _keys(raw, modality, processor)
                store = processed_store(raw, modality, processor, keys, cache)
            except DataError as error:
                raise DataError(f"split '{raw.split}', modality '{modality}': {error}") from error
            self._stores[modality], self.rows[modality] = store, store.rows(keys)
            parts += [[modality, processor.fingerprint()], keys]
        self.fingerprint = digest_of(chain.from_iterable(parts))

    @property
    def random(self) -> list[str]:
        """The modalities whose processors transform training data at random."""
        return [m for m, p in self.processors.items() if p.random]

    def lengths(self) -> dict[str, np.ndarray]:
        """{modality: int64 [N]}, the tokens or rows of each example."""
        return {m: store.lengths[self.rows[m]] for m, store in self._stores.items()}

    def batch(self, indices: Sequence[int], augment: bool = False) -> dict[str, Padded]:
        """{modality: values [B, L] or [B, L, D], mask [B, L]} of the examples at `indices`."""
        inputs = {}
        for modality, store in self._stores.items():
            processor = self.processors[modality]
            if augment and processor.random:
                arrays = [processor.augment(self.raw.raw(i, modality)) for i in indices]
                inputs[modality] = pad(arrays)
            else:
                values, mask = store.gather(self.rows[modality][np.asarray(indices)])
                inputs[modality] = Padded(torch.from_numpy(values), torch.from_numpy(mask))
        return inputs


def _keys(raw: RawSplit, modality: str, processor: Any) -> Strings:
    """What names each raw value: of a file the digest of its content, unless the processor has keys
    of its own."""
    files = None if traits.own_key(processor) else raw.files(modality)
    if files is None:
        return stored(map(processor.key, raw.raws(modality)))
    rows = enumerate(files.digests)
    return stored(digest or processor.key(raw.raw(row, modality)) for row, digest in rows)


def processed_store(
    raw: RawSplit, modality: str, processor: Any, keys: Strings, cache: Path
) -> FeatureStore:
    """The feature store of a processed modality, computed on the first call.

    Processes that need the same one share the work: each takes the next shard that is neither
    finished nor being written. What a dead one has left half-done, another takes up.
    """
    held = traits.store(processor)
    if isinstance(held, FeatureStore):  # what is stored already is read where it lies
        return held
    first = first_rows(keys)
    content = digest_of(chain([processor.fingerprint()], keys.at(first)))
    folder = cache / "processed" / content
    parts = [first[i : i + SHARD] for i in range(0, len(first), SHARD)]
    folders = [shard.folder(folder) for shard in shards(len(parts))] if parts[1:] else [folder]

    def built() -> bool:
        if (folder / INDEX).is_file():
            return True
        there = [
            _processed(raw, modality, processor, keys, rows, path)
            for path, rows in zip(folders, parts, strict=True)
        ]
        return all(there) and (len(parts) == 1 or join(folder, len(parts)))

    until(built)
    store = FeatureStore(folder)
    store.verify_if_small()
    return store


def _processed(
    raw: RawSplit,
    modality: str,
    processor: Any,
    keys: Strings,
    rows: np.ndarray,
    folder: Path,
) -> bool:
    """Whether a store of the keys at `rows`, all distinct, is there, by our work or another's."""
    dtype = storage_dtype(processor)
    dim = 1 if dtype == "int32" else processor.modality.size
    what = f"{type(processor).__name__} {raw.split} {modality}"
    if (folder / INDEX).is_file():
        return True
    try:
        with FeatureStoreWriter(folder, dim, dtype) as writer:
            left = [row for row in rows.tolist() if keys[row] not in writer]
            with bar(len(rows), what, "items", len(rows) - len(left)) as advance:
                for start in range(0, len(left), CHUNK):
                    part = left[start : start + CHUNK]
                    arrays = _arrays(raw, modality, processor, part)
                    raw.refuse_changed(modality, part)
                    for row, array in zip(part, arrays, strict=True):
                        writer.add(keys[row], array)
                    advance(len(part))
    except StoreBusy:
        return False
    except DataError:
        if not (folder / INDEX).is_file():  # else another process was quicker
            raise
    return True


def _arrays(raw: RawSplit, modality: str, processor: Any, rows: Sequence[int]) -> list[np.ndarray]:
    """What a processor makes of the raw values at `rows`; an error names the example."""
    try:
        return processor.batch([raw.raw(row, modality) for row in rows])
    except DataError:
        for row in rows:
            with about(raw, row):
                processor.batch([raw.raw(row, modality)])
        raise


@contextmanager
def about(raw: RawSplit, row: int) -> Iterator[None]:
    """Inside, a DataError is told of this example."""
    try:
        yield
    except DataError as error:
        raise DataError(f"example '{raw.ids[row]}': {error}") from error


def storage_dtype(processor: Any) -> Any:
    """int32 for tokens; for features what the processor says, fp32 by default."""
    if processor.modality.kind == "tokens":
        return "int32"
    return traits.dtype(processor) or "fp32"


def pad(arrays: Sequence[np.ndarray]) -> Padded:
    """[L_i] or [L_i, D] arrays -> values [B, L] or [B, L, D], mask [B, L]; empty places are 0."""
    lengths = np.array([len(a) for a in arrays])
    longest = int(lengths.max(initial=0))
    values = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(values, arrays, strict=True):
        row[: len(array)] = array
    mask = np.arange(longest) < lengths[:, None]
    return Padded(torch.from_numpy(values), torch.from_numpy(mask))
