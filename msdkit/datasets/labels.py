"""Labels as rows of files give them, for the one encoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from msdkit.data.labels import encode_label, unknown
from msdkit.errors import DataError
from msdkit.types import Task

_FORMS = {
    "single_label": "a class (its name or an integer)",
    "multi_label": "a list of classes",
    "soft_target": "{class: score} or a list of scores",
}


class LabelReader:
    """Reads labels of rows of files as integers (single_label) or else as float32 `[C]`.

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
        """The label as models read it; DataError, beginning with `where`, on one that is none."""
        try:
            return encode_label(self._label(value), self.task, self._index)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    def _label(self, value: Any) -> Any:
        """The label in a form that data sets may give: a class's name, names, scores or numbers."""
        if self.task == "regression":
            return value
        if self.task == "single_label":
            return self._class(value)
        if self.task == "multi_label":
            if not isinstance(value, list):
                raise _unexpected(self.task, value)
            return [self._class(name) for name in value]
        if isinstance(value, Mapping):
            return {self._class(name): _score(score) for name, score in value.items()}
        if not isinstance(value, list):
            raise _unexpected(self.task, value)
        if len(value) != len(self.names):
            raise DataError(f"{len(value)} scores for {len(self.names)} classes")
        return [_score(score) for score in value]

    def _class(self, value: Any) -> str:
        if not isinstance(value, str | int):
            raise _unexpected("single_label", value)
        name = _name(value)
        if name in self._index:
            return name
        if self._by_index and type(value) is int and 0 <= value < len(self.names):
            return self.names[value]
        raise unknown(value, self._index)


def found_targets(label: Any, column: str) -> list[str]:
    """The targets of a regression label: its keys, the positions of a list, or the column."""
    if label and isinstance(label, Mapping):
        return sorted(label)
    return [str(i) for i in range(len(label))] if label and isinstance(label, list) else [column]


def found_labels(values: Iterable[tuple[Any, str]], task: Task) -> list[str]:
    """The classes in these (label, where) pairs: numbers in their order, then names."""
    named: set[str | int] = set()
    for value, where in values:
        if task == "single_label":
            classes = [value]
        elif task == "soft_target" and isinstance(value, list):
            classes = list(range(len(value)))
        else:
            classes = list(value) if isinstance(value, list | dict) else [None]
        if not all(isinstance(c, str | int) for c in classes):
            raise DataError(f"{where}: {_unexpected(task, value)}")
        named.update(c if type(c) is int else _name(c) for c in classes)
    return [_name(c) for c in sorted(named, key=lambda c: (isinstance(c, str), c))]


def _name(value: str | int) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # true, not True


def _score(score: Any) -> float:
    if isinstance(score, int | float) and 0 <= score < float("inf"):
        return float(score)
    raise DataError(f"expected a finite score of at least 0, got {score!r}")


def _unexpected(task: Task, value: Any) -> DataError:
    return DataError(f"expected {_FORMS[task]}, got {value!r:.80}")
