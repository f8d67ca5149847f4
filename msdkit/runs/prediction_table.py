"""`predictions.parquet`: of thousands of classes the likeliest, written and read part by part.

A row is an example: `id`, `prediction`, `label` (null where it is not known; of soft targets the
classes, with `label/scores`), and of each view `VIEW/classes` by number with their
`VIEW/log_probabilities` (regression: `VIEW/values`) in double precision, the largest first, and
`VIEW/rest`, what all others come to (`top_answers`). What the example adds to the sums of a metric
stands in `VIEW/METRIC/places` and `VIEW/METRIC/sums`, without those that are 0: it is worked out of
all classes, and so are scores. The schema's metadata names classes and views under `msdkit`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.evaluation.reading import Logits, Sink
from msdkit.evaluation.scores import metric_name, read_shares
from msdkit.io.seals import sealed
from msdkit.registry import METRICS
from msdkit.runs.top_answers import Ragged, ragged, top_answers
from msdkit.types import MULTIMODAL, Task

ABOUT, FORMAT = b"msdkit", 1
SCORES = "label/scores"


@contextmanager
def table_writer(
    path: Path,
    ids: Sequence[str],
    task: Task,
    names: Sequence[str],
    *,
    metrics: Sequence[Any] = (),
    top_k: int = 50,
) -> Iterator[Sink]:
    """Inside, what writes a part of the answers; at the end the file appears as a whole."""
    import pyarrow.parquet as pq

    made = _Columns(task, names, metrics, top_k)
    with sealed(path) as partial:
        writer: Any = None

        def write(rows: slice, logits: Logits, labels: Tensor | None) -> None:
            nonlocal writer
            table = made.table(ids[rows], logits, labels)
            if writer is None:
                numbers = [n for n in table.column_names if n.endswith(made.measure)]
                others = [n for n in table.column_names if n not in numbers]
                writer = pq.ParquetWriter(
                    partial,
                    table.schema,
                    compression="zstd",
                    use_dictionary=[_leaf(table, name) for name in others],
                    use_byte_stream_split=[_leaf(table, name) for name in numbers],
                )
            writer.write_table(table)

        try:
            yield write
        finally:
            if writer is not None:
                writer.close()


class _Columns:
    """From a part of the answers to columns."""

    def __init__(
        self, task: Task, names: Sequence[str], metrics: Sequence[Any], top_k: int
    ) -> None:
        import pyarrow as pa

        self.task, self.names, self.nodes, self.top_k = task, pa.array(names), metrics, top_k
        self.measure = "/values" if task == "regression" else "/log_probabilities"
        self.width = pa.int16() if len(names) <= 1 << 15 else pa.int32()

    def table(self, ids: Sequence[str], logits: Logits, labels: Tensor | None) -> Any:
        """A part of the file, with what stands in its metadata."""
        import pyarrow as pa

        first = logits.get(MULTIMODAL, next(iter(logits.values())))
        columns = {"id": pa.array(ids, pa.string()), **self._labels(labels, len(ids))}
        if self.task != "regression":
            columns["prediction"] = self._named(self._predicted(first))
        sums: dict[str, int] = {}
        for view, answers in logits.items():
            top, rest = top_answers(self.task, answers, labels, self.top_k)
            columns[f"{view}/classes"] = _listed(top, top.columns, self.width)
            columns[f"{view}{self.measure}"] = _listed(top, top.values)
            columns[f"{view}/rest"] = pa.array(rest.numpy())
            for name, counts in self._counts(answers, labels):
                held, sums[name] = ragged(counts != 0, counts), counts.shape[1]
                columns[f"{view}/{name}/places"] = _listed(held, held.columns, pa.int32())
                columns[f"{view}/{name}/sums"] = _listed(held, held.values)
        about = {"format": FORMAT, "task": self.task, "classes": self.names.to_pylist()}
        about |= {"views": list(logits), "top_k": self.top_k, "sums": sums}
        return pa.table(columns, metadata={ABOUT: json.dumps(about)})

    def _counts(self, answers: Tensor, labels: Tensor | None) -> Iterator[tuple[str, Tensor]]:
        """(metric, float64 [B, K]: what each example adds to its sums)"""
        for node in self.nodes if labels is not None else ():
            metric = METRICS.build(node, num_classes=answers.shape[1], task=self.task)
            if counts := traits.counts(metric):
                by_logits = traits.reads_logits(metric)
                read = answers if by_logits else read_shares(answers, self.task)
                yield metric_name(node), counts(read, labels).double()

    def _predicted(self, logits: Tensor) -> Tensor | Ragged:
        """The class of each example, or its classes."""
        if self.task == "multi_label":
            return ragged(logits > 0, logits)
        return logits.argmax(-1)

    def _named(self, classes: Tensor | Ragged) -> Any:
        if isinstance(classes, Tensor):
            return self.names.take(_array(classes))
        return _list_of(classes, self.names.take(_array(classes.columns)))

    def _labels(self, labels: Tensor | None, count: int) -> Mapping[str, Any]:
        import pyarrow as pa

        if labels is None:
            return {"label": pa.nulls(count)}
        if self.task == "single_label":
            return {"label": self._named(labels)}
        if self.task == "regression":
            held = ragged(torch.ones_like(labels, dtype=torch.bool), labels)
            return {"label": _listed(held, held.values)}
        held = ragged(labels > 0, labels)
        scores = {SCORES: _listed(held, held.values)} if self.task == "soft_target" else {}
        return {"label": self._named(held), **scores}


def _array(values: Tensor, kind: Any = None) -> Any:
    import pyarrow as pa

    found = pa.array(values.numpy())
    return found if kind is None else found.cast(kind)


def _listed(held: Ragged, values: Tensor, kind: Any = None) -> Any:
    """[K] numbers as lists of each row"""
    return _list_of(held, _array(values, kind))


def _list_of(held: Ragged, values: Any) -> Any:
    import pyarrow as pa

    return pa.ListArray.from_arrays(_array(held.ends, pa.int32()), values)


def _leaf(table: Any, name: str) -> str:
    """The path of a column's numbers inside the file."""
    import pyarrow as pa

    return f"{name}.list.element" if pa.types.is_list(table.schema.field(name).type) else name
