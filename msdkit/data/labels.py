"""The labels of a split: encoded when it is opened, or asked of the data set batch by batch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from msdkit import traits
from msdkit.errors import DataError, listing, sound_text, suggest
from msdkit.types import Task

Names: TypeAlias = Sequence[str] | Mapping[str, int]  # with their indices, many are found at once


def checked_names(dataset: Any) -> list[str]:
    """A data set's `label_names`; DataError unless they are sound texts, each once."""
    names = list(dataset.label_names)
    wrong = [repr(name) for name in names if not isinstance(name, str)]
    wrong += [f"{name!r} twice" for name, times in Counter(names).items() if times > 1]
    where = f"{type(dataset).__name__}.label_names"
    if wrong or not names:
        raise DataError(f"{where}: expected texts, each once, got {wrong[0] if wrong else 'none'}")
    return [sound_text(name, where) for name in names]


def numbered(names: Iterable[str]) -> bool:
    """Whether a class is called by a number."""
    return any(re.fullmatch(r"[-+]?\d+(\.\d*)?", name) for name in names)


def encode_label(label: Any, task: Task, names: Names) -> Any:
    """A class index for single labels, else float32 `[C]`; DataError on what is not in `names`."""
    if task == "single_label":
        return _class_index(label, names)
    if task == "regression":
        return _numbers(label, list(names))
    if isinstance(label, Mapping):
        row = np.zeros(len(names), np.float32)
        for name, score in label.items():
            row[_class_index(name, names)] = score
        return _in_range(row, task)
    if isinstance(label, list | tuple | set) and all(isinstance(x, str) for x in label):
        refuse_twice(list(label))
        return encode_label(dict.fromkeys(label, 1.0), task, names)
    row = np.asarray(label, np.float32)
    if row.shape != (len(names),):
        wanted = f"{len(names)} numbers, one per class, or a list of names"
        raise DataError(f"expected {wanted}; got shape {row.shape}")
    return _in_range(row, task)


def _class_index(label: Any, names: Names) -> int:
    if isinstance(label, str):
        if label not in names:
            raise unknown(label, names)
        return names[label] if isinstance(names, Mapping) else list(names).index(label)
    try:
        index = int(label)
    except (ValueError, OverflowError):  # not a number, or infinite
        index = -1
    if not 0 <= index < len(names) or index != label:
        raise DataError(
            f"unknown label {label!r}; class indices are 0 to {len(names) - 1}, and an example "
            "without a label has None"
        )
    return index


def unknown(label: str | int, names: Names) -> DataError:
    """What is raised for a class that is none of `names`."""
    return DataError(
        f"unknown label {label!r}. {suggest(str(label), names)}Known: {listing(names)}"
    )


def refuse_twice(names: Sequence[str]) -> None:
    """DataError where a label names a class twice."""
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(f"the class '{twice}' stands twice in the label")


class OneKind:
    """Sees to it that classes are written in one way: as texts, integers, or true and false.

    1, "1" and true may be one class or three.
    """

    def __init__(self) -> None:
        self._first: tuple[str, Any, str] | None = None

    def note(self, value: Any, where: str) -> None:
        """DataError where this is of another kind than the first."""
        kind = "a text" if isinstance(value, str) else "an integer"
        kind = "true or false" if isinstance(value, bool) else kind
        first, given, place = self._first = self._first or (kind, value, where)
        if first != kind:
            raise DataError(
                f"the label {json.dumps(value, default=str)} is {kind}, and "
                f"{json.dumps(given, default=str)} of {place} {first}; write all in one way"
            )


def _numbers(label: Any, names: Sequence[str]) -> np.ndarray:
    """float32 `[C]` of a regression label: {target: number}, C numbers, or one where C = 1."""
    if isinstance(label, Mapping):
        if set(label) != set(names):
            raise DataError(f"expected numbers for {listing(names)}; got them for {listing(label)}")
        label = [label[name] for name in names]
    try:
        given = np.asarray(label)
        numbers = given.dtype.kind in "iuf" and given.ndim <= 1
    except ValueError:  # lists of unequal lengths
        numbers = False
    if not numbers or given.size != len(names):
        count = f"{len(names)} numbers ({listing(names)})" if len(names) > 1 else "a number"
        raise DataError(f"expected {count}, got {label!r:.80}")
    with np.errstate(over="ignore"):  # beyond float32 is not finite
        row = given.reshape(-1).astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(row))
    if wrong.size:
        name, number = names[wrong[0]], given.reshape(-1)[wrong[0]]
        raise DataError(f"expected a finite float32 number for '{name}', got {number}")
    return row


def _in_range(row: np.ndarray, task: Task) -> np.ndarray:
    """The same numbers, of any shape; DataError on one that no label may have."""
    if task == "regression":
        right, wanted = np.isfinite(row), "finite numbers"
    elif task == "multi_label":
        right, wanted = (row == 0) | (row == 1), "0 or 1 for each class"
    else:
        right, wanted = (row >= 0) & (row <= 1), "scores from 0 to 1"
    if not right.all():
        raise DataError(f"expected {wanted}, got {row[~right][0]}")
    return row


class LazyLabels:
    """Labels float32 `[N, C]` that a data set's `labels(rows)` works out when they are asked for.

    Thousands of classes for all examples would fill the memory. Indexed by a row, a slice or a
    tensor of rows it gives what a tensor would, `[:]` all of them; `at` chooses without asking.
    """

    def __init__(self, dataset: Any, task: Task, rows: Tensor) -> None:
        self.dataset, self.task, self.rows = dataset, task, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Tensor:
        """index -> float32 [C] or [B, C]"""
        rows, classes = self.rows[index], len(self.dataset.label_names)
        found = np.asarray(self.dataset.labels(rows.reshape(-1).tolist()), np.float32)
        where = f"{type(self.dataset).__name__}.labels"
        if found.shape != (rows.numel(), classes):
            raise DataError(
                f"{where}: expected shape {(rows.numel(), classes)} [rows, classes], got "
                f"{found.shape}"
            )
        try:
            _in_range(found, self.task)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        return torch.from_numpy(found).reshape(*rows.shape, classes)

    def at(self, rows: Tensor) -> LazyLabels:
        """Those of some rows."""
        return LazyLabels(self.dataset, self.task, self.rows[rows])


Labels: TypeAlias = Tensor | LazyLabels


def labels_at(labels: Labels, rows: Tensor) -> Labels:
    """The labels of some rows, no more worked out than before."""
    return labels.at(rows) if isinstance(labels, LazyLabels) else labels[rows]


def gives_labels(dataset: Any, task: Task) -> bool:
    """Whether a data set has `labels(rows)`: then all of its examples have a label, or none."""
    return task != "single_label" and callable(traits.labels(dataset))
