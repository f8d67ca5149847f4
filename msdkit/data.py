"""From raw examples to batches: ids, labels, and processed modalities read from disk."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.errors import ConfigError, DataError
from msdkit.feature_format import StoreBusy
from msdkit.feature_store import FeatureStore, FeatureStoreWriter
from msdkit.progress import bar
from msdkit.raw_split import RawSplit, digest
from msdkit.split_labels import encode_label, labels_at
from msdkit.types import Batch
from msdkit.types import Sequence as Padded

__all__ = ["ModelInputs", "RawSplit", "Split", "digest", "encode_label", "pad"]

Inputs = dict[str, Padded]
CARVE_SEED = 0
CHUNK = 512  # raw values handed to a processor at once


class ModelInputs:
    """What one model reads of a split: each modality processed once, then memory-mapped.

    rows: {modality: int64 [N]}, where each example's record lies; equal rows are equal content.
    """

    def __init__(self, raw: RawSplit, processors: Mapping[str, Any], cache: Path) -> None:
        self.raw, self.processors = raw, dict(processors)
        self._stores: dict[str, FeatureStore] = {}
        self.rows: dict[str, np.ndarray] = {}
        parts = []
        for modality, processor in self.processors.items():
            try:
                keys = [processor.key(value) for value in raw.raws(modality)]
                store = processed_store(raw, modality, processor, keys, cache)
            except DataError as error:
                raise DataError(f"split '{raw.split}', modality '{modality}': {error}") from error
            self._stores[modality], self.rows[modality] = store, store.rows(keys)
            parts += [modality, processor.fingerprint(), *keys]
        self.fingerprint = digest(*parts)

    @property
    def random(self) -> list[str]:
        """The modalities whose processors transform training data at random."""
        return [m for m, p in self.processors.items() if p.random]

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


def processed_store(
    raw: RawSplit, modality: str, processor: Any, keys: Sequence[str], cache: Path
) -> FeatureStore:
    """The feature store of a processed modality, computed on the first call."""
    first: dict[str, int] = {}
    for i, key in enumerate(keys):
        first.setdefault(key, i)
    held = getattr(processor, "store", None)
    if isinstance(held, FeatureStore):  # what is stored already is read where it lies
        return held
    folder = cache / "processed" / digest(processor.fingerprint(), *first)
    while not folder.exists():
        try:
            _process(raw, modality, processor, first, folder)
        except DataError as error:  # another process may compute the same; its result will do
            if not isinstance(error, StoreBusy) and not folder.exists():
                raise
            time.sleep(1)
    store = FeatureStore(folder)
    store.verify_if_small()
    return store


def _process(
    raw: RawSplit, modality: str, processor: Any, first: Mapping[str, int], folder: Path
) -> None:
    """Compute each distinct raw value once; `first`: {key: an example that has it}."""
    dtype = storage_dtype(processor)
    dim = 1 if dtype == "int32" else processor.modality.size
    with FeatureStoreWriter(folder, dim, dtype) as writer:
        left = [key for key in first if key not in writer]
        what = f"{type(processor).__name__} {raw.split} {modality}"
        with bar(len(first), what, "items", len(first) - len(left)) as advance:
            for start in range(0, len(left), CHUNK):
                part = left[start : start + CHUNK]
                arrays = processor.batch([raw.raw(first[key], modality) for key in part])
                for key, array in zip(part, arrays, strict=True):
                    writer.add(key, array)
                advance(len(part))
        writer.finish()


def storage_dtype(processor: Any) -> Any:
    """int32 for tokens; for features what the processor says, fp32 by default."""
    if processor.modality.kind == "tokens":
        return "int32"
    return getattr(processor, "dtype", None) or "fp32"


def pad(arrays: Sequence[np.ndarray]) -> Padded:
    """[L_i] or [L_i, D] arrays -> values [B, L] or [B, L, D], mask [B, L]; empty places are 0."""
    lengths = np.array([len(a) for a in arrays])
    longest = int(lengths.max(initial=0))
    values = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(values, arrays, strict=True):
        row[: len(array)] = array
    mask = np.arange(longest) < lengths[:, None]
    return Padded(torch.from_numpy(values), torch.from_numpy(mask))


def carve(count: int, share: float) -> tuple[Tensor, Tensor]:
    """(kept rows, rows held out) of `count` examples, each in order: the same for every run."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(CARVE_SEED))
    held = math.ceil(share * count)
    if held >= count:
        raise ConfigError(
            f"train.held_out: a share of {share} of {count} training examples leaves none"
        )
    return order[held:].sort().values, order[:held].sort().values


class Split:
    """One split as the trainer and the evaluation read it: a map-style data set of batches.

    teacher: the teacher's cached answers, {"logits": {view: `[N, C]`}, "pooled": {view: `[N, H]`}};
    teacher_inputs: for a live teacher; rows: the examples that it has, None for all.
    """

    def __init__(
        self,
        inputs: ModelInputs,
        *,
        teacher_inputs: ModelInputs | None = None,
        teacher: Mapping[str, Mapping[str, Tensor]] | None = None,
        augment: bool = False,
        rows: Tensor | None = None,
    ) -> None:
        self.inputs, self.teacher_inputs = inputs, teacher_inputs
        self.teacher, self.augment = teacher, augment
        raw = inputs.raw
        self.rows = torch.arange(len(raw)) if rows is None else rows
        self.ids = [raw.ids[i] for i in self.rows.tolist()]
        self.labels = None if raw.labels is None else labels_at(raw.labels, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        rows = self.rows[index]
        inputs = self.inputs.batch(rows.tolist(), self.augment)
        logits, features = self._teacher_answers(rows)
        return Batch(
            ids=[self.ids[i] for i in indices],
            inputs=inputs,
            labels=None if self.labels is None else self.labels[index],
            teacher_logits=logits,
            teacher_features=features,
            teacher_inputs=self._teacher_inputs(rows, inputs),
            content=self._content(rows),
        )

    def _content(self, rows: Tensor) -> dict[str, Tensor]:
        """{modality: int [B]} of what is not drawn at random"""
        random, at = self.inputs.random if self.augment else (), rows.numpy()
        held = self.inputs.rows.items()
        return {m: torch.from_numpy(found[at]) for m, found in held if m not in random}

    def _teacher_answers(self, rows: Tensor) -> tuple[Any, Any]:
        """({view: logits [B, C]}, {view: {feature: [B, H]}}) from the cache."""
        if self.teacher is None:
            return None, None
        logits = {view: held[rows] for view, held in self.teacher["logits"].items()}
        features: dict[str, dict[str, Tensor]] = {view: {} for view in logits}
        for name in self.teacher.keys() - {"logits"}:
            for view, held in self.teacher[name].items():
                features[view][name] = held[rows]
        return logits, features

    def _teacher_inputs(self, rows: Tensor, inputs: Inputs) -> Inputs | None:
        """What a live teacher reads: the student's, random draws included, where it is the same."""
        if self.teacher_inputs is None:
            return None
        if self.teacher_inputs.fingerprint == self.inputs.fingerprint:
            return inputs
        return self.teacher_inputs.batch(rows.tolist(), self.augment)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])
