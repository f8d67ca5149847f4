"""What a run answered to each example: one file, `predictions.jsonl` with every class of every
view, or `predictions.parquet` with the likeliest of many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from msgspec import UNSET
from torch import Tensor

from msdkit import traits
from msdkit.config.schema import EvaluateConfig
from msdkit.data.labels import encode_label
from msdkit.errors import ConfigError, DataError
from msdkit.evaluation.reading import Sink
from msdkit.evaluation.scores import metric_name
from msdkit.evaluation.significance import MetricSums, Sums, metric_sums
from msdkit.evaluation.stream import parts
from msdkit.functional import probabilities
from msdkit.io.seals import check
from msdkit.registry import METRICS
from msdkit.runs.answer_rows import Changed
from msdkit.runs.folder import PREDICTIONS, TABLE
from msdkit.runs.kept_answers import KeptRows, Table, TableLabels
from msdkit.runs.prediction_rows import Lines, Row, line_writer, read_lines, shares_key
from msdkit.runs.prediction_table import table_writer
from msdkit.types import MULTIMODAL, AnswerRows, Task

Logits: TypeAlias = Mapping[str, AnswerRows]  # {view: [N, C]}
MOST_CLASSES = 100  # in lines; a table holds more
ROUNDED = 5e-7  # older predictions had six decimals: a written 0 may be as large as this
SCORE_DIGITS = 1e-4  # to which lines tell soft targets
LEAST, MOST = np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg  # between 0 and 1


@contextmanager
def prediction_writer(
    folder: Path,
    config: EvaluateConfig,
    ids: Sequence[str],
    task: Task,
    names: Sequence[str],
    metrics: Sequence[Any],
    split: str = "",
) -> Iterator[Sink]:
    """Inside, what writes a part of the answers into the folder's file, in the form that the config
    asks for; at the end it appears as a whole. split: whose file it is, if it is not the run's."""
    lines, table = prediction_files(folder, split)
    if as_table(config, len(names)):
        with table_writer(table, ids, task, names, metrics=metrics, top_k=config.top_k) as write:
            yield write
        lines.unlink(missing_ok=True)  # what another config, or an older version, wrote
    else:
        with line_writer(lines, ids, task, names) as write:
            yield write
        table.unlink(missing_ok=True)


def as_table(config: EvaluateConfig, classes: int) -> bool:
    """Whether the answers are written as a table; ConfigError where what writes it is missing."""
    asked = config.predictions == "parquet"
    if not asked and (config.predictions != "auto" or classes <= MOST_CLASSES):
        return False
    if find_spec("pyarrow") is None:
        raise ConfigError(
            f"evaluate.predictions: {config.predictions}: a table of {classes:,} classes needs "
            "pyarrow: pip install pyarrow; or set it to jsonl, which holds all classes"
        )
    return True


def prediction_files(folder: Path, split: str = "") -> tuple[Path, Path]:
    """Where the answers stand, in lines or in a table: the run's, or those to a split that
    `msdkit evaluate` was asked for."""
    places = (folder / PREDICTIONS, folder / TABLE)
    return tuple(p.with_stem(f"{p.stem}-{split}") for p in places) if split else places  # type: ignore[return-value]


def written_rows(
    folder: Path, task: Task, names: Sequence[str], split: str = ""
) -> Sequence[dict[str, Any]]:
    """What was written, as `PredictionRows` gives it and read when it is asked for. Of a table, a
    view's numbers are worked out when they are looked at: what it left out shares the rest."""
    lines, table = prediction_files(folder, split)
    return KeptRows(Table(table, task, names)) if table.exists() else Lines(lines)


@dataclass(frozen=True)
class Predictions:
    """A run's answers as they were written.

    names: the classes; labels: as in `Batch`, None where an example has none; shares: {view:
    float64 [N, C]}, probabilities, or values in regression. Of a table these and labels of several
    classes are read when they are asked for, by an index or `[:]`.
    """

    task: Task
    names: list[str]
    ids: list[str]
    labels: Tensor | TableLabels | None
    shares: Mapping[str, AnswerRows]
    table: Table | None = None

    @cached_property
    def logits(self) -> Logits:
        """{view: float64 [N, C]}: what gives these answers again."""
        if self.table is not None:
            return {view: self.table.rows(view) for view in self.table.views}
        return {view: _logits(shares[:], self.task) for view, shares in self.shares.items()}

    @property
    def cut(self) -> int | None:
        """How many of the likeliest classes are known; None where all are."""
        return self.table.top_k if self.table is not None and self.table.cut else None

    def sums(self, view: str, node: Any) -> MetricSums | None:
        """The answers to a view under a metric, for tests of significance; None where that would
        take the classes that were left out."""
        assert self.labels is not None
        metric = METRICS.build(node, num_classes=len(self.names), task=self.task)
        if self.table is not None:
            counts = self.table.sums(view, metric_name(node))
            if counts is not None or self.cut:
                return None if counts is None else Sums(metric, counts)
        if not traits.reads_logits(metric):
            answers = self.shares[view][:]
        elif self.table is not None:
            answers = self.logits[view][:]
        else:
            answers = logits_of(self.shares[view][:], self.task)
        return metric_sums(node, answers, self.labels[:], self.task)

    def of_same_examples(self, other: Predictions) -> bool:
        """Whether both answer the same questions, which have the same answers."""
        same = self.ids == other.ids and self.names == other.names
        mine, theirs = self.labels, other.labels
        if not same or mine is None or theirs is None:
            return same and mine is theirs
        off = SCORE_DIGITS if self.task == "soft_target" else 0.0
        if isinstance(mine, TableLabels) and isinstance(theirs, TableLabels):
            return mine.held.close(theirs.held, off)
        rows = parts(len(self.ids), len(self.names))
        return all(torch.allclose(mine[part], theirs[part], rtol=0, atol=off) for part in rows)


def read_predictions(folder: Path, task: Task, names: list[str]) -> Predictions:
    """The answers in a run's folder; DataError where its file is not whole."""
    if (folder / TABLE).exists():
        table = Table(folder / TABLE, task, names)
        read = {v: Changed(table.rows(v), partial(probabilities, task)) for v in table.views}
        return Predictions(task, names, table.ids, table.labels, read, table)
    path, key = folder / PREDICTIONS, shares_key(task)
    check(path)
    rows = read_lines(path)
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


def _labels(rows: list[Row], task: Task, names: list[str]) -> Tensor | None:
    if any(row.label is None or row.label is UNSET for row in rows):
        return None
    index = {name: i for i, name in enumerate(names)}
    encoded = [np.asarray(encode_label(row.label, task, index)) for row in rows]
    return torch.from_numpy(np.stack(encoded))


def _logits(shares: Tensor, task: Task) -> Tensor:
    """[N, C] -> [N, C]: what gives these probabilities again, none surer than old files can say."""
    return logits_of(shares if task == "regression" else shares.clamp(ROUNDED, 1 - ROUNDED), task)
