"""What a run answered to each example, from its `predictions.jsonl`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from msdkit.errors import DataError
from msdkit.report.subject import Logits
from msdkit.run_folder import PREDICTIONS
from msdkit.split_labels import encode_label
from msdkit.types import MULTIMODAL, Task

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
