"""Labels as rows of files give them, for the one encoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from msdkit.data.labels import OneKind, encode_label, numbered, refuse_twice, unknown
from msdkit.errors import DataError
from msdkit.types import Task

Found: TypeAlias = Iterable[tuple[Any, str]]  # labels, each with its place
MARKS = (-1, "-1", "-", "", "nan", "NaN")  # of rows without a label: GLUE's, SNLI's, tables'
HINT = "multi-hot lists are not read; list the names of the classes that are 1"
_PAIRS = (["0", "1"], ["false", "true"])
_FORMS = {
    "single_label": "a class (its name or an integer)",
    "multi_label": "a list of classes",
    "soft_target": "{class: score} or a list of scores",
}


class LabelReader:
    """Reads labels of rows of files as integers (single_label) or else as float32 `[C]`.

    An integer is a class's name where one of the classes is called by a number, else its index.
    alike: what has seen the labels of other splits; by default, where an integer is a name, labels
    must all be written in one way.
    """

    def __init__(self, names: list[str], task: Task, alike: OneKind | None = None) -> None:
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice or not names:
            wrong = f"'{twice[0]}' stands twice" if twice else "there is none"
            raise DataError(f"labels: {wrong}; each class needs its own name")
        self.names, self.task = names, task
        self._index = {name: i for i, name in enumerate(names)}
        self._by_index = not numbered(names)
        self._alike = alike or (None if self._by_index else OneKind())

    def encode(self, value: Any, where: str) -> int | np.ndarray:
        """The label as models read it; DataError, beginning with `where`, on one that is none."""
        try:
            return encode_label(self._label(value, where), self.task, self._index)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    def _label(self, value: Any, where: str) -> Any:
        """The label in a form that data sets may give: a class's name, names, scores or numbers."""
        if self.task == "regression":
            return value
        if self.task == "single_label":
            return self._class(value, where)
        if self.task == "multi_label":
            return self._classes(value, where)
        if isinstance(value, Mapping):
            return {self._known(name): _score(score) for name, score in value.items()}
        if not isinstance(value, list):
            raise _unexpected(self.task, value)
        if len(value) != len(self.names):
            raise DataError(f"{len(value)} scores for {len(self.names)} classes")
        return [_score(score) for score in value]

    def _classes(self, value: Any, where: str) -> list[str]:
        if not isinstance(value, list):
            raise _unexpected(self.task, value)
        try:
            names = [self._class(name, where) for name in value]
        except DataError as error:
            raise _with_hint(error, value) from error
        return _each_once(names)

    def _class(self, value: Any, where: str) -> str:
        if not isinstance(value, str | int):
            raise _unexpected("single_label", value)
        if self._alike is not None:
            self._alike.note(value, _line(where))
        return self._known(value)

    def _known(self, value: str | int) -> str:
        name = _name(value)
        if name in self._index:
            return name
        if self._by_index and type(value) is int and 0 <= value < len(self.names):
            return self.names[value]
        error = unknown(value, self._index)
        if value in MARKS:
            raise DataError(f"{error}; where a row of test has no label, write null") from error
        raise error


def found_targets(label: Any, column: str) -> list[str]:
    """The targets of a regression label: its keys, the positions of a list, or the column."""
    if label and isinstance(label, Mapping):
        return sorted(label)
    return [str(i) for i in range(len(label))] if label and isinstance(label, list) else [column]


def found_labels(values: Found, task: Task, alike: OneKind) -> list[str]:
    """The classes of these labels: numbers in their order, then names.

    DataError where they are not all written alike, or where one is the mark of a missing label.
    """
    named: set[str | int] = set()
    for value, where in values:
        try:
            classes = _classes(value, task)
            for c in classes:
                _refuse_mark(c)
                if task != "soft_target":
                    alike.note(c, _line(where))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        named.update(c if type(c) is int else _name(c) for c in classes)
    return [_name(c) for c in sorted(named, key=lambda c: (isinstance(c, str), c))]


def refuse_pairs(values: Found, split: str) -> None:
    """DataError where labels of two classes can but be multi-hot: each is a list of 0 and 1.

    As a list of classes each would name both. So it is in `train`, whose labels would all be the
    same, and elsewhere where one has 1 first.
    """
    turned, place = split == "train", ""
    for value, where in values:
        if not isinstance(value, list) or sorted(map(_name, value)) not in _PAIRS:
            return
        turned, place = turned or value[0] > value[1], place or f"{where}: {value}"
    if turned and place:
        raise DataError(f"{place}: every label of {split} is such a pair of 0 and 1; {HINT}")


def _classes(value: Any, task: Task) -> list[Any]:
    """The classes that a label names, which must be texts or integers."""
    if task == "single_label":
        classes = [value]
    elif task == "soft_target" and isinstance(value, list):
        classes = list(range(len(value)))
    else:
        classes = list(value) if isinstance(value, list | dict) else [None]
    if not all(isinstance(c, str | int) for c in classes):
        raise _with_hint(_unexpected(task, value), value)
    if task == "multi_label":
        _each_once(list(map(_name, classes)))
    return classes


def _each_once(names: list[str]) -> list[str]:
    try:
        refuse_twice(names)
    except DataError as error:
        raise DataError(f"{error}; {HINT}") from error
    return names


def _refuse_mark(value: str | int) -> None:
    if value in MARKS:
        raise DataError(
            f"the label {json.dumps(value)} is elsewhere the mark of a row without one; leave such "
            "rows out (in test: write null), or list all classes under `labels` if it is one"
        )


def _with_hint(error: DataError, value: Any) -> DataError:
    """The error, and what a list is that looks multi-hot."""
    hot = isinstance(value, list) and all(x in (0, 1, "0", "1") for x in value)
    return DataError(f"{error}; {HINT}") if hot and value else error


def _line(where: str) -> str:
    """`file:line` without its folder."""
    return where.rpartition("/")[2]


def _name(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # true, not True


def _score(score: Any) -> float:
    if isinstance(score, int | float) and 0 <= score < float("inf"):
        return float(score)
    raise DataError(f"expected a finite score of at least 0, got {score!r}")


def _unexpected(task: Task, value: Any) -> DataError:
    write = ""
    if isinstance(value, float) and value.is_integer():  # a table with gaps has such
        write = f"; write {value:.0f}"
    elif value != value:
        write = "; where a row of test has no label, write null"
    return DataError(f"expected {_FORMS[task]}, got {value!r:.80}{write}")
