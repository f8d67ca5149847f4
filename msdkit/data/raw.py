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

from msdkit import traits
from msdkit.data.labels import (
    Labels,
    LazyLabels,
    OneKind,
    checked_names,
    encode_label,
    gives_labels,
    numbered,
)
from msdkit.data.slices import slices_of
from msdkit.errors import DataError, listing, sound_text
from msdkit.io.arrays import ArrayWriter, on_disk
from msdkit.io.strings import StringsWriter, digest, encode, repeated
from msdkit.types import Example, Task

CHUNK = 512  # examples whose labels are asked for at once


class RawSplit:
    """The checked examples of one split, read once, in order.

    Ids, and the modalities that are texts or names of files, are kept on disk, so that a data set
    of any size fills no memory; arrays stay in the data set and are asked for again.

    limit: only the first examples (`--tiny`); fingerprint: of ids, labels and raw values (of files
    their paths). A large data set may answer three optional methods: `labels(rows)`, float
    `[B, C]`, so that labels are worked out for each batch; `unlabelled(row)`, the example without
    its label; and `fingerprint()` of its content, so that it is not read for that.
    """

    def __init__(self, dataset: Any, split: str, task: Task, limit: int | None = None) -> None:
        self.dataset, self.split, self.task = dataset, split, task
        self._read = traits.unlabelled(dataset) or dataset.__getitem__
        self.label_names = checked_names(dataset)
        self._classes = {name: i for i, name in enumerate(self.label_names)}
        self._alike = OneKind() if numbered(self.label_names) else None
        self._kinds = dict(dataset.modalities)
        self.modalities = tuple(self._kinds)
        count = min(len(dataset), limit or len(dataset))
        if count == 0:
            raise DataError(f"split '{split}' of {type(dataset).__name__} is empty")
        self._texts = {m: StringsWriter() for m in self.modalities}
        self._content = None if self._knows_content else hashlib.blake2b(digest_size=12)
        ids = StringsWriter()
        if gives_labels(dataset, task):
            self.labels: Labels | None = self._lazy(count, ids)
        else:
            self.labels = self._encoded(count, ids)
        self.ids = ids.finish()
        self._raws = {m: writer.finish() for m, writer in self._texts.items()}
        self._refuse_twice()
        self.fingerprint = self._fingerprint()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def _knows_content(self) -> bool:
        return callable(traits.fingerprint(self.dataset))

    def _lazy(self, count: int, ids: StringsWriter) -> LazyLabels | None:
        """Labels that the data set gives when asked; its first example tells whether it has any."""
        for i in range(count):
            self._take(self._read(i), ids)
        if self.dataset[0].label is None:
            self._refuse_unlabelled(0, count, count)
            return None
        labels = LazyLabels(self.dataset, self.task, rows_of(count))
        for start in range(0, count if self._content else 1, CHUNK):
            self._note(labels[start : start + CHUNK].numpy().tobytes())
        return labels

    def _encoded(self, count: int, ids: StringsWriter) -> Tensor | None:
        """int64 [N] or float32 [N, C], where every example has a label"""
        single, lacking, first = self.task == "single_label", 0, 0
        labels = ArrayWriter(np.int64 if single else np.float32)
        for i in range(count):
            example = self.dataset[i]
            self._take(example, ids)
            label = self._encode(example)
            if label is not None:
                labels.write(np.asarray(label, labels.dtype).tobytes())
            else:
                first = first if lacking else i
                lacking += 1
        if lacking:
            self._refuse_unlabelled(first, lacking, count)
            return None
        return torch.from_numpy(labels.finish().reshape(count if single else (count, -1)))

    def _take(self, example: Example, ids: StringsWriter) -> None:
        name = sound_text(str(example.id), f"split '{self.split}', an id")
        ids.add(name)
        self._note(name.encode() + b"\0")
        for modality in self.modalities:
            if modality not in example.raw:
                given = listing(example.raw)
                raise DataError(
                    f"example '{example.id}' has no modality '{modality}', only {given}"
                )
            raw = example.raw[modality]
            if self._kinds.get(modality) == "text" and isinstance(raw, str):
                where = f"split '{self.split}', example '{name}', modality '{modality}'"
                sound_text(raw, where)
            if not isinstance(raw, str):
                self._texts.pop(modality, None)  # asked of the data set again
            elif modality in self._texts:
                self._texts[modality].add(raw)
            if isinstance(raw, str | Path):
                self._note(encode(str(raw)) + b"\0")
            elif self._content:
                self._note(np.ascontiguousarray(raw).tobytes())

    def _encode(self, example: Example) -> Any:
        if example.label is None:
            return None
        try:
            if self.task == "single_label" and self._alike is not None:
                self._alike.note(example.label, f"'{example.id}'")
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

    def _refuse_unlabelled(self, first: int, lacking: int, count: int) -> None:
        """DataError unless it is a test split without any label."""
        example = f"split '{self.split}': example '{self._read(first).id}'"
        if self.split in ("train", "val"):
            raise DataError(f"{example} has no label; only test may lack labels")
        if lacking < count:
            raise DataError(
                f"{example} has no label, the first of {lacking} among {count}; expected labels "
                "for all or for none: leave these out, or answer them by `predict`"
            )

    def _refuse_twice(self) -> None:
        row = repeated(self.ids)
        if row is not None:
            raise DataError(f"split '{self.split}': the id '{self.ids[row]}' stands twice")

    @cached_property
    def unanswered(self) -> list[int]:
        """The classes that the data set says are never an answer, by its `unanswered`."""
        names = list(traits.unanswered(self.dataset))
        strangers = [name for name in names if name not in self._classes]
        if strangers:
            where = f"{type(self.dataset).__name__}.unanswered"
            raise DataError(
                f"{where}: {strangers[0]!r} is no class. Known: {listing(self._classes)}"
            )
        return [self._classes[name] for name in names]

    @cached_property
    def slices(self) -> dict[str, Tensor]:
        """{name: rows} of the subsets that the data set wants reported apart; none without labels.

        They come from its optional method `slices() -> {name: [rows]}`.
        """
        if self.labels is None:
            return {}
        try:
            found = slices_of(self.dataset)
        except DataError as error:
            raise DataError(f"split '{self.split}': {error}") from error
        kept = {name: rows[rows < len(self)] for name, rows in found.items()}
        return {name: torch.from_numpy(rows) for name, rows in kept.items() if rows.size}

    def raw(self, i: int, modality: str) -> Any:
        """The raw value of one example's modality."""
        held = self._raws.get(modality)
        return self._read(i).raw[modality] if held is None else held[i]

    def raws(self, modality: str) -> Iterator[Any]:
        """The raw values of one modality, in order."""
        return (self.raw(i, modality) for i in range(len(self)))


def rows_of(count: int) -> Tensor:
    """int64 [N]: 0, 1, … on disk"""
    return torch.from_numpy(on_disk(np.arange(count)))
