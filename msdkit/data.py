"""From raw examples to batches: ids, encoded labels, and processed modalities read from disk."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.datasets.labels import encode_numbers
from msdkit.errors import ConfigError, DataError, listing, suggest
from msdkit.feature_format import StoreBusy
from msdkit.feature_store import FeatureStore, FeatureStoreWriter
from msdkit.progress import bar
from msdkit.types import Batch, Example, Task
from msdkit.types import Sequence as Padded

Inputs = dict[str, Padded]
CARVE_SEED = 0
CHUNK = 512  # raw values handed to a processor at once


def encode_label(label: Any, task: Task, names: Sequence[str]) -> Any:
    """A class index for single labels, else float32 `[C]`; DataError on what is not in `names`."""
    if task == "single_label":
        return _class_index(label, names)
    if task == "regression":
        return encode_numbers(label, names)
    if isinstance(label, Mapping):
        row = np.zeros(len(names), np.float32)
        for name, score in label.items():
            row[_class_index(name, names)] = score
        return _in_range(row, task)
    if isinstance(label, list | tuple | set) and all(isinstance(x, str) for x in label):
        return encode_label(dict.fromkeys(label, 1.0), task, names)
    row = np.asarray(label, np.float32)
    if row.shape != (len(names),):
        raise DataError(f"expected {len(names)} numbers, one per class, got shape {row.shape}")
    return _in_range(row, task)


def _in_range(row: np.ndarray, task: Task) -> np.ndarray:
    right = np.isin(row, (0, 1)) if task == "multi_label" else (row >= 0) & (row <= 1)
    if not right.all():
        wanted = "0 or 1 for each class" if task == "multi_label" else "scores from 0 to 1"
        raise DataError(f"expected {wanted}, got {row[~right][0]}")
    return row


def _class_index(label: Any, names: Sequence[str]) -> int:
    if isinstance(label, str):
        if label not in names:
            raise DataError(
                f"unknown label '{label}'. {suggest(label, names)}Known: {listing(names)}"
            )
        return list(names).index(label)
    index = int(label)
    if not 0 <= index < len(names) or index != label:
        raise DataError(f"unknown label {label!r}; class indices are 0 to {len(names) - 1}")
    return index


class RawSplit:
    """The checked examples of one split. Text and paths stay in memory, arrays in the data set.

    limit: only the first examples (`--tiny`); fingerprint: of ids, labels and raw values (of files
    their paths).
    """

    def __init__(self, dataset: Any, split: str, task: Task, limit: int | None = None) -> None:
        self.dataset, self.split, self.task = dataset, split, task
        self.label_names = list(dataset.label_names)
        self.modalities = tuple(dataset.modalities)
        count = min(len(dataset), limit or len(dataset))
        if count == 0:
            raise DataError(f"split '{split}' of {type(dataset).__name__} is empty")
        self.ids: list[str] = []
        self._content = hashlib.blake2b(digest_size=12)
        self._raws: dict[str, list[Any]] = {m: [] for m in self.modalities}
        labels = [self._take(i) for i in range(count)]
        if len(set(self.ids)) < count:
            twice = next(i for n, i in enumerate(self.ids) if i in self.ids[:n])
            raise DataError(f"split '{split}': the id '{twice}' stands twice")
        self.fingerprint = self._content.hexdigest()
        self.labels: Tensor | None = None
        if all(y is not None for y in labels):
            self.labels = torch.from_numpy(np.stack([np.asarray(y) for y in labels]))
        elif split in ("train", "val"):
            i = next(n for n, y in enumerate(labels) if y is None)
            raise DataError(
                f"split '{split}': example '{self.ids[i]}' has no label; only test may lack labels"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def _take(self, i: int) -> Any:
        example: Example = self.dataset[i]
        self.ids.append(str(example.id))
        self._content.update(self.ids[-1].encode("utf-8", "surrogatepass") + b"\0")
        for modality in self.modalities:
            if modality not in example.raw:
                given = listing(example.raw)
                raise DataError(
                    f"example '{example.id}' has no modality '{modality}', only {given}"
                )
            raw = example.raw[modality]
            self._raws[modality].append(raw if isinstance(raw, str) else None)
            held = raw if isinstance(raw, str | Path) else np.ascontiguousarray(raw).tobytes()
            self._content.update(held if isinstance(held, bytes) else str(held).encode() + b"\0")
        if example.label is None:
            return None
        try:
            label = encode_label(example.label, self.task, self.label_names)
            self._content.update(np.asarray(label).tobytes())
            return label
        except (DataError, TypeError, ValueError) as error:
            raise DataError(f"split '{self.split}', example '{example.id}': {error}") from error

    def raw(self, i: int, modality: str) -> Any:
        """The raw value of one example's modality."""
        held = self._raws[modality][i]
        return self.dataset[i].raw[modality] if held is None else held

    def raws(self, modality: str) -> Iterator[Any]:
        """The raw values of one modality, in order."""
        return (self.raw(i, modality) for i in range(len(self)))


class ModelInputs:
    """What one model reads of a split: each modality processed once, then memory-mapped."""

    def __init__(self, raw: RawSplit, processors: Mapping[str, Any], cache: Path) -> None:
        self.raw, self.processors = raw, dict(processors)
        self._stores: dict[str, FeatureStore] = {}
        self._rows: dict[str, np.ndarray] = {}
        parts = []
        for modality, processor in self.processors.items():
            try:
                keys = [processor.key(value) for value in raw.raws(modality)]
                store = processed_store(raw, modality, processor, keys, cache)
            except DataError as error:
                raise DataError(f"split '{raw.split}', modality '{modality}': {error}") from error
            self._stores[modality], self._rows[modality] = store, store.rows(keys)
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
                values, mask = store.gather(self._rows[modality][np.asarray(indices)])
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


def digest(*parts: str) -> str:
    """A short name for the content of several strings."""
    state = hashlib.blake2b(digest_size=12)
    for part in parts:
        state.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return state.hexdigest()


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
        self.labels = None if raw.labels is None else raw.labels[self.rows]

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
        )

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
