"""`predictions.jsonl`: what a model answers to each example, as it is written and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import torch
from msgspec import UNSET, UnsetType
from torch import Tensor

from msdkit.data.labels import encode_label
from msdkit.data.split import Split
from msdkit.errors import DataError
from msdkit.functional import probabilities
from msdkit.io.seals import check, sealed
from msdkit.io.structs import plain
from msdkit.runs.folder import PREDICTIONS
from msdkit.types import MULTIMODAL, Task

Logits: TypeAlias = Mapping[str, Tensor]  # {view: [N, C]}
Shares: TypeAlias = dict[str, list[float]]  # {view: a number for each class}
DIGITS, FINEST = 6, 1e-17  # of a written probability; what is smaller has fewer digits
ROUNDED = 5e-7  # older predictions had six decimals: a written 0 may be as large as this
LEAST, MOST = np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg  # between 0 and 1


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
        shares = {view: _written(self.task, values[0]) for view, values in logits.items()}
        prediction = class_names(first, self.task, self.names)[0]
        return Row(self.ids[i], prediction, **{_shares_key(self.task): shares})


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


def write_predictions(
    path: Path, split: Split, logits: Logits, task: Task, names: Sequence[str]
) -> PredictionRows:
    """JSON lines: id, prediction, the probabilities (or values) of each view, and the label, null
    where it is not known."""
    rows, labels = PredictionRows(split.ids, logits, task, names), split.labels
    with sealed(path) as partial, partial.open("w", encoding="utf-8") as file:
        for i in range(len(rows)):
            row = rows.row(i)
            row.label = None if labels is None else readable(labels[i], task, names)
            file.write(row.line() + "\n")
    return rows


@dataclass(frozen=True)
class Predictions:
    """A run's answers as they were written.

    names: the classes; labels: as in `Batch`, None where an example has none; shares: {view:
    float64 [N, C]}, probabilities, or values in regression.
    """

    task: Task
    names: list[str]
    ids: list[str]
    labels: Tensor | None
    shares: Mapping[str, Tensor]

    @cached_property
    def logits(self) -> Logits:
        """{view: float64 [N, C]}: what gives these answers again."""
        return {view: _logits(shares, self.task) for view, shares in self.shares.items()}

    def of_same_examples(self, other: Predictions) -> bool:
        """Whether both answer the same questions, which have the same answers."""
        mine, theirs = self.labels, other.labels
        known = mine is not None and theirs is not None
        same = torch.equal(mine, theirs) if known else mine is theirs  # type: ignore[arg-type]
        return same and self.ids == other.ids and self.names == other.names


def read_predictions(folder: Path, task: Task, names: list[str]) -> Predictions:
    """The answers in a run's folder; DataError where its file is not whole."""
    path, key = folder / PREDICTIONS, _shares_key(task)
    check(path)
    rows = _rows(path)
    answers = [getattr(row, key) for row in rows]
    if not rows or UNSET in answers:
        raise DataError(f"{path}: expected lines with `{key}` of each view")
    views = sorted(answers[0], key=lambda view: view != MULTIMODAL)
    try:
        shares = {v: np.array([answer[v] for answer in answers], np.float64) for v in views}
        labels = _labels(rows, task, names)
    except (KeyError, ValueError, DataError) as error:
        raise DataError(f"{path}: its lines do not belong together ({error})") from error
    _check_finite(path, shares)
    tensors = {view: torch.from_numpy(values) for view, values in shares.items()}
    return Predictions(task, names, [row.id for row in rows], labels, tensors)


def logits_of(shares: Tensor, task: Task) -> Tensor:
    """[N, C] -> [N, C]: logits in the order of the written probabilities; of those that are written
    as 0, or for several labels as 1, the order is not known: they are equal."""
    if task == "regression":
        return shares
    p = shares.clamp(LEAST, MOST)
    return p.log() if task == "single_label" else p.log() - torch.log1p(-p)


def _check_finite(path: Path, shares: Mapping[str, np.ndarray]) -> None:
    """DataError that names the first line whose answer is no number, as older files may have."""
    for view, answers in shares.items():
        wrong = np.argwhere(~np.isfinite(answers))
        if len(wrong):
            answer = answers[tuple(wrong[0])]
            raise DataError(
                f"{path}:{wrong[0][0] + 1}: the answer of view '{view}' is {answer}; expected "
                "finite numbers"
            )


def _row(line: bytes) -> Row:
    try:
        return DECODER.decode(line)
    except msgspec.DecodeError as error:
        try:  # older files may have NaN, which is no JSON to msgspec
            values = json.loads(line)
        except ValueError:
            raise error from None
        return msgspec.convert(values, Row)


def _rows(path: Path) -> list[Row]:
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


def _labels(rows: list[Row], task: Task, names: list[str]) -> Tensor | None:
    if any(row.label is None or row.label is UNSET for row in rows):
        return None
    index = {name: i for i, name in enumerate(names)}
    encoded = [np.asarray(encode_label(row.label, task, index)) for row in rows]
    return torch.from_numpy(np.stack(encoded))


def _shares_key(task: Task) -> str:
    return "values" if task == "regression" else "probabilities"


def _logits(shares: Tensor, task: Task) -> Tensor:
    """[N, C] -> [N, C]: what gives these probabilities again, none surer than old files can say."""
    return logits_of(shares if task == "regression" else shares.clamp(ROUNDED, 1 - ROUNDED), task)


def _written(task: Task, logits: Tensor) -> list[float]:
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
