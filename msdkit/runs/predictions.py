"""A run's predictions: written, and read again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from msdkit.data.labels import encode_label
from msdkit.data.split import Split
from msdkit.errors import DataError
from msdkit.functional import probabilities
from msdkit.runs.folder import PREDICTIONS
from msdkit.types import MULTIMODAL, Task


def class_names(logits: Tensor, task: Task, names: Sequence[str]) -> list[Any]:
    """[N, C] -> the predicted class of each example, its list of classes, or {target: number}."""
    if task == "regression":
        return [readable(row, task, names) for row in logits]
    if task == "multi_label":
        return [
            [n for n, on in zip(names, row, strict=True) if on] for row in (logits > 0).tolist()
        ]
    return [names[i] for i in logits.argmax(-1).tolist()]


def shares_key(task: Task) -> str:
    """What predictions call a view's answer: `values` in regression, else `probabilities`."""
    return "values" if task == "regression" else "probabilities"


def _rounded(share: float) -> float:
    return round(share, 6)


def _short(number: float) -> float:
    """The shortest decimal that is the same float32."""
    return float(str(np.float32(number)))


class PredictionRows(Sequence[dict[str, Any]]):
    """{id, prediction, probabilities per view} of each example; the first view predicts.

    A row is made when it is asked for: of thousands of classes, all would fill the memory.
    """

    def __init__(
        self, ids: Sequence[str], logits: Mapping[str, Tensor], task: Task, names: Sequence[str]
    ) -> None:
        self.ids, self.logits, self.task, self.names = ids, logits, task, names

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]  # IndexError beyond the end, which ends an iteration
        found = {view: values[at : at + 1] for view, values in self.logits.items()}
        first = found.get(MULTIMODAL, next(iter(found.values())))
        figure = _short if self.task == "regression" else _rounded
        shares = {v: probabilities(self.task, x)[0].tolist() for v, x in found.items()}
        return {
            "id": self.ids[at],
            "prediction": class_names(first, self.task, self.names)[0],
            shares_key(self.task): {v: [figure(p) for p in row] for v, row in shares.items()},
        }


def write_predictions(
    path: Path, split: Split, logits: Mapping[str, Tensor], task: Task, names: Sequence[str]
) -> PredictionRows:
    """JSON lines: id, prediction, the probabilities (or values) of each view, and the label if it
    is known."""
    rows, labels = PredictionRows(split.ids, logits, task, names), split.labels
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for i, row in enumerate(rows):
                row["label"] = None if labels is None else readable(labels[i], task, names)
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def readable(label: Tensor, task: Task, names: Sequence[str]) -> Any:
    """A label as a person would write it: a class, a list of classes, {class: score} or
    {target: number}."""
    if task == "regression":
        return {name: _short(number) for name, number in zip(names, label.tolist(), strict=True)}
    if task == "single_label":
        return names[int(label)]
    scores = {n: round(s, 4) for n, s in zip(names, label.tolist(), strict=True) if s}
    return list(scores) if task == "multi_label" else scores


Logits = Mapping[str, Tensor]  # {view: [N, C] float64}


Result = Mapping[str, Any]  # a run's `results.json`


def read_rows(result: Result) -> list[dict[str, Any]]:
    """A run's predictions."""
    path = Path(result["run_dir"]) / PREDICTIONS
    decode = msgspec.json.Decoder().decode
    return [decode(line) for line in path.read_bytes().splitlines()]


ROUNDED = 5e-7  # predictions have six decimals: a written 0 may be as large as this


class Row(msgspec.Struct):
    """A line of the file; regression has `values`, all other tasks `probabilities`."""

    id: str
    label: Any = None
    probabilities: dict[str, list[float]] | None = None
    values: dict[str, list[float]] | None = None


@dataclass(frozen=True)
class Predictions:
    """A run's answers; labels as in `Batch`, None where an example has none."""

    ids: list[str]
    labels: Tensor | None
    logits: Logits


def read_predictions(folder: Path, task: Task, names: list[str]) -> Predictions:
    """The answers in a run's folder; DataError where its file is not whole."""
    path = folder / PREDICTIONS
    rows = _rows(path)
    key = "values" if task == "regression" else "probabilities"
    answers = [getattr(row, key) for row in rows]
    if not rows or any(answer is None for answer in answers):
        raise DataError(f"{path}: expected lines with `{key}` of each view")
    views = sorted(answers[0], key=lambda view: view != MULTIMODAL)
    try:
        shares = {v: np.array([answer[v] for answer in answers], np.float64) for v in views}
        labels = _labels(rows, task, names)
    except (KeyError, ValueError, DataError) as error:
        raise DataError(f"{path}: its lines do not belong together ({error})") from error
    logits = {v: _logits(torch.from_numpy(x), task) for v, x in shares.items()}
    return Predictions([row.id for row in rows], labels, logits)


def _rows(path: Path) -> list[Row]:
    decoder = msgspec.json.Decoder(Row)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{number}: expected a prediction; {error}") from error
    return rows


def _labels(rows: list[Row], task: Task, names: list[str]) -> Tensor | None:
    if any(row.label is None for row in rows):
        return None
    index = {name: i for i, name in enumerate(names)}
    encoded = [np.asarray(encode_label(row.label, task, index)) for row in rows]
    return torch.from_numpy(np.stack(encoded))


def _logits(shares: Tensor, task: Task) -> Tensor:
    """[N, C]: what gives these probabilities again."""
    if task == "regression":
        return shares
    p = shares.clamp(ROUNDED, 1 - ROUNDED)
    return p.log() if task == "single_label" else p.logit()
