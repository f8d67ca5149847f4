"""Labels of a row -> class index, multi-hot, soft targets or numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from msdkit.data.labels import encode_numbers
from msdkit.errors import DataError, listing, suggest
from msdkit.types import Task

_FORMS = {
    "single_label": "a class (its name or an integer)",
    "multi_label": "a list of classes",
    "soft_target": "{class: score} or a list of scores",
}


class LabelReader:
    """Encodes labels as integers (single_label) or else as float32 `[C]`.

    An integer is a class's name where one of the classes is called by a number, else its index.
    """

    def __init__(self, names: list[str], task: Task) -> None:
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise DataError(f"labels: '{twice[0]}' stands twice; each class needs its own name")
        self.names, self.task = names, task
        self._index = {name: i for i, name in enumerate(names)}
        self._by_index = not any(name.lstrip("-").isdigit() for name in names)

    def encode(self, value: Any, where: str) -> int | np.ndarray:
        """The label as models read it."""
        if self.task == "single_label":
            return self._class(value, where)
        if self.task == "regression":
            return self._numbers(value, where)
        target = np.zeros(len(self.names), dtype=np.float32)
        if self.task == "multi_label":
            if not isinstance(value, list):
                raise _unexpected(self.task, value, where)
            target[[self._class(name, where) for name in value]] = 1
            return target
        for name, score in _scores(value, where, len(self.names)):
            index = name if isinstance(name, int) else self._class(name, where)
            target[index] = _score(score, where)
        return target

    def _numbers(self, value: Any, where: str) -> np.ndarray:
        try:
            return encode_numbers(value, self.names)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    def _class(self, value: Any, where: str) -> int:
        if not isinstance(value, str | int):
            raise _unexpected("single_label", value, where)
        name = _name(value)
        if name in self._index:
            return self._index[name]
        if self._by_index and type(value) is int and 0 <= value < len(self.names):
            return value
        raise DataError(
            f"{where}: unknown label {value!r}. {suggest(name, self.names)}"
            f"Known: {listing(self.names)}"
        )


def found_targets(label: Any, column: str) -> list[str]:
    """The targets of a regression label: its keys, the positions of a list, or the column."""
    if label and isinstance(label, Mapping):
        return sorted(label)
    return [str(i) for i in range(len(label))] if label and isinstance(label, list) else [column]


def found_labels(values: Iterable[tuple[Any, str]], task: Task) -> list[str]:
    """The classes in these (label, where) pairs: numbers in their order, then names."""
    found: set[str | int] = set()
    for value, where in values:
        if task == "single_label":
            classes = [value]
        elif task == "soft_target" and isinstance(value, list):
            classes = list(range(len(value)))
        else:
            classes = list(value) if isinstance(value, list | dict) else [None]
        if not all(isinstance(c, str | int) for c in classes):
            raise _unexpected(task, value, where)
        found.update(c if type(c) is int else _name(c) for c in classes)
    return [_name(c) for c in sorted(found, key=lambda c: (isinstance(c, str), c))]


def _name(value: str | int) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # true, not True


def _scores(value: Any, where: str, classes: int) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    if not isinstance(value, list):
        raise _unexpected("soft_target", value, where)
    if len(value) != classes:
        raise DataError(f"{where}: {len(value)} scores for {classes} classes")
    return enumerate(value)


def _score(score: Any, where: str) -> float:
    if isinstance(score, int | float) and 0 <= score < float("inf"):
        return float(score)
    raise DataError(f"{where}: expected a finite score of at least 0, got {score!r}")


def _unexpected(task: Task, value: Any, where: str) -> DataError:
    return DataError(f"{where}: expected {_FORMS[task]}, got {value!r:.80}")
