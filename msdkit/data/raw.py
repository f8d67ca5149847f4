"""The raw examples of one split, checked: ids, labels, texts and paths."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit import traits
from msdkit.data.files import Files, holds_paths, value_bytes
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
from msdkit.io.strings import StringsWriter, digest, digest_of, encode, repeated
from msdkit.types import Example, Task

CHUNK = 512  # examples whose labels are asked for at once


class RawSplit:
    """The checked examples of one split, read once, in order.

    Ids, and the modalities that are texts or names of files, are kept on disk, so that a data set
    of any size fills no memory; arrays stay in the data set and are asked for again.

    limit: only the first examples (`--tiny`). A large data set may answer three optional methods:
    `labels(rows)`, float `[B, C]`, so that labels are worked out for each batch; `unlabelled(row)`,
    the example without its label; and `fingerprint()` of its content, so that it is not read for
    that (files that examples name are digested all the same).
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
        self._types: dict[str, type] = {}  # of what stands in `_texts`
        self._paths: set[str] | None = None  # modalities whose strings are paths
        self._named: dict[str, None] = {}  # modalities that name files
        self._files: dict[str, Files] = {}
        self._content = None if self._knows_content else hashlib.blake2b(digest_size=12)
        ids = StringsWriter()
        if gives_labels(dataset, task):
            self.labels: Labels | None = self._lazy(count, ids)
        else:
            self.labels = self._encoded(count, ids)
        self.ids = ids.finish()
        self._raws = {m: writer.finish() for m, writer in self._texts.items()}
        self._refuse_twice()

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
        if self._paths is None:
            kinds = self._kinds.items()
            self._paths = {m for m, kind in kinds if holds_paths(kind, example.raw.get(m))}
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
            self._hold(modality, raw)
            if self._is_file(modality, raw):
                self._named[modality] = None
                self._note_file(str(raw))
            elif isinstance(raw, str):
                self._note(encode(raw) + b"\0")
            elif self._content:
                self._note(value_bytes(raw))

    def _hold(self, modality: str, raw: Any) -> None:
        """Keep a text or a path; a modality that has other values is asked of the data set again"""
        kind = next((t for t in (str, Path) if isinstance(raw, t)), None)
        if modality in self._texts:
            if kind is None or self._types.setdefault(modality, kind) is not kind:
                del self._texts[modality]
            else:
                self._texts[modality].add(str(raw))

    def _is_file(self, modality: str, raw: Any) -> bool:
        return isinstance(raw, Path) or (isinstance(raw, str) and modality in (self._paths or ()))

    def _note_file(self, path: str) -> None:
        """Nothing: files count by their content, which `fingerprint` has in the end."""

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

    def files(self, modality: str) -> Files | None:
        """The files that a modality names, digested when first asked for; None if it names none."""
        if modality not in self._named:
            return None
        if modality not in self._files:
            raws = self.raws(modality)
            paths = (str(raw) if self._is_file(modality, raw) else "" for raw in raws)
            self._files[modality] = Files(paths, len(self), f"{self.split} {modality}")
        return self._files[modality]

    def refuse_changed(self, modality: str, rows: Sequence[int]) -> None:
        """DataError where a file that these rows name changed after it was digested."""
        if modality in self._files:
            raws = [self.raw(row, modality) for row in rows]
            paths = [str(raw) if self._is_file(modality, raw) else "" for raw in raws]
            self._files[modality].refuse_changed(rows, paths)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of ids, labels, texts, arrays and contents of files, wherever these lie."""
        if not self._named:
            return self._noted
        return digest_of(chain([self._noted], *map(self._file_marks, self._named)))

    def is_as(self, fingerprint: str) -> bool:
        """Whether a run that notes this fingerprint saw this split."""
        if fingerprint == self.fingerprint:
            return True
        if not self._named:
            return False
        return fingerprint == _ByPath(self.dataset, self.split, self.task, len(self))._noted

    def _file_marks(self, modality: str) -> Iterator[str]:
        """What stands for each file: its digest, or its name where it cannot be read."""
        files = self.files(modality)
        assert files is not None
        yield modality
        for mark, raw in zip(files.digests, self.raws(modality), strict=True):
            yield mark or PurePath(str(raw)).name

    @property
    def _noted(self) -> str:
        """The fingerprint without the files."""
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
        return self._read(i).raw[modality] if held is None else self._types[modality](held[i])

    def raws(self, modality: str) -> Iterator[Any]:
        """The raw values of one modality, in order."""
        held = self._raws.get(modality)
        if held is None:
            return (self._read(i).raw[modality] for i in range(len(self)))
        return map(Path, held) if self._types[modality] is Path else iter(held)


class _ByPath(RawSplit):
    """As runs of before files were digested noted a split: by the paths that it names."""

    def _note_file(self, path: str) -> None:
        self._note(encode(path) + b"\0")


def rows_of(count: int) -> Tensor:
    """int64 [N]: 0, 1, … on disk"""
    return torch.from_numpy(on_disk(np.arange(count)))
