"""The raw examples of one split, checked: ids, labels, texts and paths."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.errors import DataError, listing
from msdkit.split_labels import LazyLabels, encode_label, gives_labels
from msdkit.types import Example, Task

CHUNK = 512  # examples whose labels are asked for at once


class RawSplit:
    """The checked examples of one split. Text and paths stay in memory, arrays in the data set.

    limit: only the first examples (`--tiny`); fingerprint: of ids, labels and raw values (of files
    their paths). A large data set may answer three optional methods: `labels(rows)`, float
    `[B, C]`, so that labels are worked out for each batch; `unlabelled(row)`, the example without
    its label; and `fingerprint()` of its content, so that it is not read for that.
    """

    def __init__(self, dataset: Any, split: str, task: Task, limit: int | None = None) -> None:
        self.dataset, self.split, self.task = dataset, split, task
        self._read = getattr(dataset, "unlabelled", dataset.__getitem__)
        self.label_names = list(dataset.label_names)
        self._classes = {name: i for i, name in enumerate(self.label_names)}
        self.modalities = tuple(dataset.modalities)
        count = min(len(dataset), limit or len(dataset))
        if count == 0:
            raise DataError(f"split '{split}' of {type(dataset).__name__} is empty")
        self.ids: list[str] = []
        self._raws: dict[str, list[Any]] = {m: [] for m in self.modalities}
        self._content = None if self._knows_content else hashlib.blake2b(digest_size=12)
        self.labels = self._lazy(count) if gives_labels(dataset, task) else self._encoded(count)
        self._refuse_twice()
        self.fingerprint = self._fingerprint()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def _knows_content(self) -> bool:
        return callable(getattr(self.dataset, "fingerprint", None))

    def _lazy(self, count: int) -> LazyLabels | None:
        """Labels that the data set gives when asked; its first example tells whether it has any."""
        for i in range(count):
            self._take(self._read(i))
        if self.dataset[0].label is None:
            self._refuse_unlabelled(0)
            return None
        labels = LazyLabels(self.dataset, self.task, torch.arange(count))
        for start in range(0, count if self._content else 1, CHUNK):
            self._note(labels[start : start + CHUNK].numpy().tobytes())
        return labels

    def _encoded(self, count: int) -> Tensor | None:
        """int [N] or float32 [N, C], where every example has a label"""
        labels = []
        for i in range(count):
            example = self.dataset[i]
            self._take(example)
            labels.append(self._encode(example))
        if all(y is not None for y in labels):
            return torch.from_numpy(np.stack([np.asarray(y) for y in labels]))
        self._refuse_unlabelled(next(n for n, y in enumerate(labels) if y is None))
        return None

    def _take(self, example: Example) -> None:
        self.ids.append(str(example.id))
        self._note(self.ids[-1].encode("utf-8", "surrogatepass") + b"\0")
        for modality in self.modalities:
            if modality not in example.raw:
                given = listing(example.raw)
                raise DataError(
                    f"example '{example.id}' has no modality '{modality}', only {given}"
                )
            raw = example.raw[modality]
            self._raws[modality].append(raw if isinstance(raw, str) else None)
            if isinstance(raw, str | Path):
                self._note(str(raw).encode() + b"\0")
            elif self._content:
                self._note(np.ascontiguousarray(raw).tobytes())

    def _encode(self, example: Example) -> Any:
        if example.label is None:
            return None
        try:
            label = encode_label(example.label, self.task, self._classes)
        except (DataError, TypeError, ValueError) as error:
            raise DataError(f"split '{self.split}', example '{example.id}': {error}") from error
        self._note(np.asarray(label).tobytes())
        return label

    def _note(self, content: bytes) -> None:
        if self._content is not None:
            self._content.update(content)

    def _fingerprint(self) -> str:
        if self._content is not None:
            return self._content.hexdigest()
        return digest(str(self.dataset.fingerprint()), self.split, str(len(self)))

    def _refuse_unlabelled(self, i: int) -> None:
        if self.split in ("train", "val"):
            raise DataError(
                f"split '{self.split}': example '{self.ids[i]}' has no label; only test may lack "
                "labels"
            )

    def _refuse_twice(self) -> None:
        seen: set[str] = set()
        for name in self.ids:
            if name in seen:
                raise DataError(f"split '{self.split}': the id '{name}' stands twice")
            seen.add(name)

    @cached_property
    def slices(self) -> dict[str, Tensor]:
        """{name: rows} of the subsets that the data set wants reported apart; none without labels.

        They come from its optional method `slices() -> {name: [rows]}`.
        """
        hook = getattr(self.dataset, "slices", None)
        if self.labels is None or hook is None:
            return {}
        found = {name: np.asarray(rows).reshape(-1) for name, rows in hook().items()}
        for name, rows in found.items():
            count = len(self.dataset)
            if rows.size and (
                rows.dtype.kind not in "iu" or not 0 <= rows.min() <= rows.max() < count
            ):
                raise DataError(
                    f"split '{self.split}': slice '{name}' must hold rows from 0 to {count - 1}, "
                    f"got {rows.tolist()!r:.80}"
                )
        kept = {name: rows[rows < len(self)] for name, rows in found.items()}
        return {n: torch.from_numpy(rows.astype(np.int64)) for n, rows in kept.items() if rows.size}

    def raw(self, i: int, modality: str) -> Any:
        """The raw value of one example's modality."""
        held = self._raws[modality][i]
        return self._read(i).raw[modality] if held is None else held

    def raws(self, modality: str) -> Iterator[Any]:
        """The raw values of one modality, in order."""
        return (self.raw(i, modality) for i in range(len(self)))


def digest(*parts: str) -> str:
    """A short name for the content of several strings."""
    state = hashlib.blake2b(digest_size=12)
    for part in parts:
        state.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return state.hexdigest()
