"""`predictions.jsonl`: what a model answers to each example, a line each with every class."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from torch import Tensor

from msdkit.errors import DataError
from msdkit.evaluation.reading import Logits, Sink
from msdkit.functional import probabilities
from msdkit.io.seals import sealed
from msdkit.io.structs import plain
from msdkit.types import MULTIMODAL, Task

Shares: TypeAlias = dict[str, list[float]]  # {view: a number for each class}
DIGITS, FINEST = 6, 1e-17  # of a written probability; what is smaller has fewer digits


class Row(msgspec.Struct):
    """A line of the file; keys of other versions of msdkit are not read.

    Regression has `values`, all other tasks `probabilities`; label: None where it is not known,
    absent where nobody could know it.
    """

    id: str
    prediction: Any = None
    probabilities: Shares | UnsetType = UNSET
    values: Shares | UnsetType = UNSET
    label: Any = UNSET

    def line(self) -> str:
        """The line, without its end."""
        return json.dumps(plain(self), ensure_ascii=False)


DECODER = msgspec.json.Decoder(Row)


class PredictionRows(Sequence[dict[str, Any]]):
    """{id, prediction, probabilities (or values) per view} of each example, for plugins; the
    multimodal view predicts, or else the first.

    A row is made when it is asked for: of thousands of classes, all would fill the memory.
    """

    def __init__(
        self, ids: Sequence[str], logits: Logits, task: Task, names: Sequence[str]
    ) -> None:
        self.ids, self.logits, self.task, self.names = ids, logits, task, names

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return plain(self.row(range(len(self))[index]))  # IndexError ends an iteration

    def row(self, i: int) -> Row:
        """That of one example, without its label."""
        logits = {view: values[i : i + 1] for view, values in self.logits.items()}
        first = logits.get(MULTIMODAL, next(iter(logits.values())))
        shares = {view: written(self.task, values[0]) for view, values in logits.items()}
        prediction = class_names(first, self.task, self.names)[0]
        return Row(self.ids[i], prediction, **{shares_key(self.task): shares})


def class_names(logits: Tensor, task: Task, names: Sequence[str]) -> list[Any]:
    """[N, C] -> the predicted class of each example, its list of classes, or {target: number}."""
    if task == "regression":
        return [readable(row, task, names) for row in logits]
    if task == "multi_label":
        return [
            [n for n, on in zip(names, row, strict=True) if on] for row in (logits > 0).tolist()
        ]
    return [names[i] for i in logits.argmax(-1).tolist()]


def readable(label: Tensor, task: Task, names: Sequence[str]) -> Any:
    """A label as a person would write it: a class, a list of classes, {class: score} or
    {target: number}."""
    if task == "regression":
        return {name: _short(number) for name, number in zip(names, label.tolist(), strict=True)}
    if task == "single_label":
        return names[int(label)]
    scores = {n: round(s, 4) for n, s in zip(names, label.tolist(), strict=True) if s}
    return list(scores) if task == "multi_label" else scores


@contextmanager
def line_writer(path: Path, ids: Sequence[str], task: Task, names: Sequence[str]) -> Iterator[Sink]:
    """Inside, what writes JSON lines of a part of the answers: id, prediction, the probabilities
    (or values) of each view, and the label, null where it is not known; at the end the file appears
    as a whole."""
    with sealed(path) as partial, partial.open("w", encoding="utf-8") as file:

        def write(rows: slice, logits: Logits, labels: Tensor | None) -> None:
            found = PredictionRows(ids[rows], logits, task, names)
            for i in range(len(found)):
                row = found.row(i)
                row.label = None if labels is None else readable(labels[i], task, names)
                file.write(row.line() + "\n")

        yield write


class Lines(Sequence[dict[str, Any]]):
    """The rows of a written file as `PredictionRows` gives them, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._ends = np.cumsum([0, *map(len, file)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        with self.path.open("rb") as file:
            file.seek(self._ends[i])
            row = _row(file.readline())
        row.label = UNSET
        return plain(row)


def _row(line: bytes) -> Row:
    try:
        return DECODER.decode(line)
    except msgspec.DecodeError as error:
        try:  # older files may have NaN, which is no JSON to msgspec
            values = json.loads(line)
        except ValueError:
            raise error from None
        return msgspec.convert(values, Row)


def read_lines(path: Path) -> list[Row]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_row(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{number}: expected a prediction; {error}") from error
    return rows


def shares_key(task: Task) -> str:
    return "values" if task == "regression" else "probabilities"


def written(task: Task, logits: Tensor) -> list[float]:
    """[C] -> the probabilities or values that stand in the file"""
    shares = probabilities(task, logits.detach().cpu().double())
    if task == "regression":
        return [_short(number) for number in shares.tolist()]
    return _rounded(shares, task)


def _rounded(shares: Tensor, task: Task) -> list[float]:
    """float64 [C]: six digits of a probability, or of what it lacks to 1 if that is less, so that
    sure answers and rare classes keep their ranks; of soft targets' thousands of answers, which
    are ranked within an example, small ones have six decimals."""
    p = shares.numpy()
    rest = 1 - p if task == "soft_target" else np.minimum(p, 1 - p)
    scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(rest.clip(FINEST))))
    return (np.rint(p * scale) / scale).tolist()


def _short(number: float) -> float:
    """The shortest decimal that is the same float32."""
    return float(str(np.float32(number)))
