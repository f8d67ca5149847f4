"""What `predictions.parquet` holds, read when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.errors import DataError
from msdkit.io.seals import check
from msdkit.runs.prediction_rows import class_names, shares_key, written
from msdkit.runs.prediction_table import ABOUT, FORMAT, SCORES
from msdkit.runs.top_answers import Ragged, whole_answers
from msdkit.types import MULTIMODAL, Task

HELD = 8  # parts that were read last, one view's each


class Table:
    """The file of a run; DataError where it is not whole or answers another question.

    ids: of the examples, in order; labels: as in `Batch`, of several classes read when asked for;
    views: multimodal first; cut: whether classes are left out.
    """

    def __init__(self, path: Path, task: Task, names: Sequence[str]) -> None:
        self.path, self.task, self.names, self.classes = path, task, names, len(names)
        check(path)
        with self._named():
            import pyarrow.parquet as pq

            self._file = pq.ParquetFile(path)
            about = json.loads((self._file.schema_arrow.metadata or {})[ABOUT])
            if about["format"] != FORMAT or (about["task"], about["classes"]) != (task, [*names]):
                raise ValueError("it is of another format, task or classes")
            self.views = sorted(about["views"], key=lambda view: view != MULTIMODAL)
            self.top_k, self._sums = int(about["top_k"]), dict(about["sums"])
            rows = [
                self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)
            ]
            self._starts = torch.tensor([0, *rows]).cumsum(0)
            self.ids: list[str] = self._column("id").to_pylist()
            self.labels = self._labels()
        self.cut = task != "regression" and self.top_k < self.classes
        self._part = lru_cache(HELD)(self._read_part)

    def rows(self, view: str) -> TableRows:
        """The answers to a view as logits, float64 [N, C]."""
        return TableRows(self, view)

    def sums(self, view: str, metric: str) -> Tensor | None:
        """float64 [N, K]: what each example adds to the sums of a metric; None where it has none"""
        if metric not in self._sums:
            return None
        with self._named():
            held = self._lists(f"{view}/{metric}/places", f"{view}/{metric}/sums")
            return held.dense(self._sums[metric])

    def answers(self, view: str, rows: Tensor) -> Tensor:
        """int [B] -> float64 [B, C]: logits"""
        made = torch.empty(len(rows), self.classes, dtype=torch.float64)
        parts = torch.bucketize(rows, self._starts[1:], right=True)
        for part in parts.unique().tolist():
            here = (parts == part).nonzero().flatten()
            top, rest = self._part(view, part)
            at = rows[here] - self._starts[part]
            answers = whole_answers(self.task, top.at(at), rest[at], self.classes, self.top_k)
            made[here] = answers
        return made

    def predictions(self) -> list[Any]:
        """The predicted class of each example, its classes, or {target: number}."""
        if self.task == "regression":
            return class_names(self.rows(self.views[0])[:], self.task, self.names)
        with self._named():
            return self._column("prediction").to_pylist()

    def _read_part(self, view: str, part: int) -> tuple[Ragged, Tensor]:
        with self._named():
            measure = "values" if self.task == "regression" else "log_probabilities"
            top = self._lists(f"{view}/classes", f"{view}/{measure}", part)
            rest = _numbers(self._column(f"{view}/rest", part))
            wrong = top.values.isnan().any() or (top.columns < 0).any()
            if wrong or (top.columns >= self.classes).any() or len(rest) != len(top):
                raise ValueError(f"the answers to view '{view}' in part {part} make no sense")
            return top, rest

    def _column(self, name: str, part: int | None = None) -> Any:
        file = self._file
        found = file.read([name]) if part is None else file.read_row_group(part, [name])
        return found.column(name).combine_chunks()

    def _lists(self, columns: str, values: str, part: int | None = None) -> Ragged:
        """Two columns of lists of equal lengths."""
        places, numbers = self._column(columns, part), self._column(values, part)
        ends = _numbers(places.offsets).long()
        if not torch.equal(ends, _numbers(numbers.offsets).long()):
            raise ValueError(f"'{columns}' and '{values}' do not belong together")
        first, last = int(ends[0]), int(ends[-1])
        held = _numbers(places.values)[first:last].long()
        return Ragged(ends - first, held, _numbers(numbers.values)[first:last])

    def _labels(self) -> Tensor | TableLabels | None:
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._column("label")
        if column.null_count:
            return None
        if self.task == "regression":
            return _numbers(column.values).reshape(len(column), -1)
        single = self.task == "single_label"
        found = pc.index_in(column if single else column.values, pa.array([*self.names]))
        if found.null_count:
            raise ValueError("a label is none of the classes")
        classes = _numbers(found).long()
        if single:
            return classes
        scores = _numbers(self._column(SCORES).values) if self.task == "soft_target" else None
        ends, ones = _numbers(column.offsets).long(), torch.ones(len(classes))
        return TableLabels(Ragged(ends, classes, ones if scores is None else scores), self.classes)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Whatever is wrong with the file is a DataError that names it."""
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            why = f"{self.path.name} lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(f"{self.path} cannot be read: {why}") from error


class KeptRows(Sequence[dict[str, Any]]):
    """Rows as `PredictionRows` gives them, whose numbers are worked out when they are looked at."""

    def __init__(self, table: Table) -> None:
        self.table, self.key = table, shares_key(table.task)
        self.views = {view: table.rows(view) for view in table.views}
        self.answers = table.predictions()

    def __len__(self) -> int:
        return len(self.table.ids)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        shares = {view: LazyShares(rows, i, self.table.task) for view, rows in self.views.items()}
        return {"id": self.table.ids[i], "prediction": self.answers[i], self.key: shares}


class LazyShares(Sequence[float]):
    """One example's probabilities of all classes, or its values."""

    def __init__(self, rows: TableRows, row: int, task: Task) -> None:
        self.rows, self.row, self.task = rows, row, task

    @cached_property
    def _all(self) -> list[float]:
        return written(self.task, self.rows[self.row])

    def __len__(self) -> int:
        return self.rows.table.classes

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]


@dataclass(frozen=True)
class TableRows:
    """One view's answers as logits, float64 `[N, C]`, of the rows that are asked for."""

    table: Table
    view: str

    def __len__(self) -> int:
        return len(self.table.ids)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.table.classes

    def __getitem__(self, index: Any) -> Tensor:
        """index -> [C] or [B, C]"""
        asked = torch.arange(len(self))[index]
        found = self.table.answers(self.view, asked.reshape(-1))
        return found.reshape(*asked.shape, self.table.classes)


@dataclass(frozen=True)
class TableLabels:
    """Labels float32 `[N, C]` of several classes, of the rows that are asked for."""

    held: Ragged
    classes: int

    def __len__(self) -> int:
        return len(self.held)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.classes

    def __getitem__(self, index: Any) -> Tensor:
        """index -> [C] or [B, C]"""
        asked = torch.arange(len(self))[index]
        return self.held.at(asked.reshape(-1)).dense(self.classes).reshape(*asked.shape, -1)


def _numbers(column: Any) -> Tensor:
    """A column of numbers, of which none is missing."""
    if column.null_count:
        raise ValueError("a number is missing")
    return torch.from_numpy(np.array(column.to_numpy(zero_copy_only=False)))
