"""A person's own data: one JSON object a line, columns named in the config, no code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from msdkit.data.labels import OneKind, numbered
from msdkit.datasets.fields import Field, parse_fields, read_field
from msdkit.datasets.labels import (
    LabelReader,
    found_labels,
    found_targets,
    refuse_pairs,
)
from msdkit.datasets.records import Records
from msdkit.errors import DataError, listing, suggest
from msdkit.hub.paths import local
from msdkit.io.strings import repeated, stored
from msdkit.registry import DATASETS
from msdkit.types import Example, Task

__all__ = ["ExampleFile", "Jsonl", "read_examples"]


class ExampleFile:
    """The examples of one `.jsonl` file, each read and checked when asked for.

    Names of files in the rows are relative to `folder`. Without `labels`, examples have none;
    `unlabelled` says whether rows may lack a label.
    """

    def __init__(
        self,
        path: Path,
        fields: Mapping[str, Field],
        folder: Path,
        *,
        id: str = "id",
        label: str = "label",
        labels: LabelReader | None = None,
        unlabelled: bool = True,
    ) -> None:
        self.records = Records(path)
        self._fields, self._folder = dict(fields), folder.resolve()
        self._id, self._label, self._labels = id, label, labels
        self._unlabelled = unlabelled

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        row, where = self.records[index], self.records.where(index)
        raw = {n: read_field(f, row, self._folder, where) for n, f in self._fields.items()}
        label = None
        if self._labels and not (self._unlabelled and row.get(self._label) is None):
            label = self._labels.encode(_label(row, self._label, where), where)
        return Example(str(row.get(self._id, self.records.number(index))), raw, label)

    def labels(self) -> Iterator[tuple[Any, str]]:
        """The labels as the rows have them, each with its place; rows without one are left out."""
        for index in range(len(self.records)):
            row = self.records[index]
            if row.get(self._label) is not None:
                yield row[self._label], self.records.where(index)

    def check(self) -> None:
        """Read every row once; DataError at the first that is wrong or repeats an id."""
        ids = stored(self[index].id for index in range(len(self)))
        row = repeated(ids)
        if row is not None:
            where, first = self.records.where(row), self.records.number(ids.index(ids[row]))
            raise DataError(f"{where}: id '{ids[row]}' stands on line {first} already")


@DATASETS.register("jsonl")
class Jsonl:
    """Examples of `folder/{split}.jsonl`.

    files: {split: file} where the names differ.
    modalities: {name: {column: COLUMN, type: TYPE}}; types: `text`; `image`, a file in the folder;
    `features`, a key that a model's `features` processor looks up; `array`, numbers `[L, D]` or
    integers `[L]`, in the row or in an `.npy` file of the folder. `{name: COLUMN}` for short: text,
    but a modality called `image`, `features` or `array` is just that.
    label: its column; a class or an integer (single_label), a list of classes (multi_label),
    {class: score} or a list of scores (soft_target), or a finite number, {target: number} or a list
    of numbers (regression; scaled to about unit variance they are learned best). Only the test
    split may lack labels: no such column, or null, in all of its rows.
    labels: the classes, in the order of the logits; by default those found in train, sorted. In
    regression the targets; by default the first label's keys, sorted, or the column's name.

    An integer is an index of `labels`, unless one of these is called by a number: then it is a
    name. Classes that are found, or called by numbers, are written in one way in all splits: as
    texts, as integers, or as true and false. -1, "-", "" and "nan" mark rows without a label
    elsewhere: they are classes only if `labels` says so. A list of classes names each once.
    Multi-hot lists are refused: such as name a class twice, and pairs of 0 and 1 for two classes
    where all of train's labels, or one of another split that has [1, 0], are such.

    id: its column; where it is absent, the line number.

    A trained model keeps `fields` and `id_column`: files for prediction have the same columns.
    Every row is checked when the data set is opened, so that a bad one does not end a long run.
    """

    def __init__(
        self,
        split: str,
        *,
        folder: str,
        modalities: dict[str, str | dict[str, str]],
        files: dict[str, str] | None = None,
        label: str = "label",
        id: str = "id",
        labels: list[str] | None = None,
        task: Task = "single_label",
    ) -> None:
        self.folder, self.id_column = local(folder), id
        self.task: Task = task
        fields = parse_fields(modalities)
        self.fields = {name: asdict(field) for name, field in fields.items()}
        self.modalities: dict[str, str] = {name: field.type for name, field in fields.items()}
        self._files, self._label = files or {}, label
        path = self._path(split)
        alike = None if task == "regression" else self._alike(labels)
        self.label_names = self._found_names(alike) if labels is None else labels
        reader = LabelReader(self.label_names, task, alike)
        self._examples = ExampleFile(
            path,
            fields,
            self.folder,
            id=id,
            label=label,
            labels=reader,
            unlabelled=split == "test",
        )
        self._examples.check()
        if task == "multi_label" and len(self.label_names) == 2:
            refuse_pairs(self._examples.labels(), split)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]

    def record(self, index: int) -> dict[str, Any]:
        """The whole row, for slices."""
        return self._examples.records[index]

    @classmethod
    def declare(cls, **params: Any) -> dict[str, Any]:
        """The modalities with their types, and the task; no file is opened."""
        fields = parse_fields(params.get("modalities", {}))
        types = {name: field.type for name, field in fields.items()}
        return {"modalities": types, "task": params.get("task", "single_label")}

    def _file(self, split: str) -> Path:
        return self.folder / self._files.get(split, f"{split}.jsonl")

    def _path(self, split: str) -> Path:
        path = self._file(split)
        if not path.is_file():
            raise DataError(
                f"{path} does not exist: it should hold split '{split}' of data set jsonl; "
                f"set `folder`, or `files: {{{split}: NAME}}`"
            )
        return path

    def _alike(self, labels: list[str] | None) -> OneKind | None:
        """What holds the labels of all splits to one way of writing; None where names and indices
        may mix."""
        alike = OneKind()
        if labels is not None:
            if not numbered(labels):
                return None
            if self._file("train").is_file():
                value, where = next(self._train_labels())
                for one in value if isinstance(value, list) else [value]:
                    alike.note(one, where.rpartition("/")[2])
        return alike

    def _found_names(self, alike: OneKind | None) -> list[str]:
        if self.task == "regression":
            return found_targets(next(self._train_labels())[0], self._label)
        return found_labels(self._train_labels(), self.task, alike or OneKind())

    def _train_labels(self) -> Iterator[tuple[Any, str]]:
        records = Records(self._path("train"))
        for index in range(len(records)):
            where = records.where(index)
            yield _label(records[index], self._label, where), where


def read_examples(
    path: str | Path,
    modalities: Mapping[str, str | Mapping[str, str]],
    *,
    id: str = "id",
    label: str = "label",
    labels: LabelReader | None = None,
) -> list[Example]:
    """The examples of an input file for prediction; its rows may lack a label.

    modalities: {name: TYPE}, the columns being called like the modalities, or with columns of other
    names {name: {column: COLUMN, type: TYPE}}. Files that rows name are relative to the input file.
    """
    path = Path(path)
    fields = parse_fields(
        {n: {"column": n, "type": m} if isinstance(m, str) else m for n, m in modalities.items()}
    )
    examples = ExampleFile(path, fields, path.parent, id=id, label=label, labels=labels)
    examples.check()
    return [examples[index] for index in range(len(examples))]


def _label(row: Mapping[str, Any], column: str, where: str) -> Any:
    if row.get(column) is None:
        raise DataError(
            f"{where}: no label (column '{column}'). {suggest(column, row)}Found: {listing(row)}"
        )
    return row[column]
