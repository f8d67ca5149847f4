"""Predictions and metrics of a model, for each view."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msdkit import parallel
from msdkit.data import RawSplit, Split
from msdkit.functional import probabilities
from msdkit.progress import bar
from msdkit.registry import METRICS
from msdkit.split_labels import Labels, labels_at
from msdkit.types import MULTIMODAL, Task, View

Scores = dict[str, dict[str, float]]  # {view: {metric: value}}
CHUNK = 8192  # examples scored at once


def predict(
    model: nn.Module,
    split: Split,
    views: Sequence[View],
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    what: str = "evaluate",
) -> dict[str, Tensor]:
    """{view: logits `[N, C]`} on the CPU; the random state of training stays as it was.

    Several processes share the batches, which are those of one process; the main one gets all
    logits, and the others nothing.
    """
    training, parts = model.training, []
    batches, world = torch.arange(len(split)).split(batch_size), parallel.world()
    ends = [len(batches) * r // world for r in range(world + 1)]
    shares = [batches[start:end] for start, end in pairwise(ends)]
    counts = [sum(map(len, share)) for share in shares]
    mine, count = shares[parallel.rank()], counts[parallel.rank()]
    model.eval()
    with torch.random.fork_rng(), torch.inference_mode(), bar(count, what, "ex") as advance:
        for rows in mine:
            inputs = {m: s.to(device) for m, s in split.inputs.batch(rows.tolist()).items()}
            outputs = model(inputs, list(views))
            parts.append({v: outputs[v].logits.float().cpu() for v in views})
            advance(len(rows))
    model.train(training)
    found = {v.name: [part[v] for part in parts] for v in views}
    logits = {v: parallel.to_main(torch.cat(p) if p else None, counts) for v, p in found.items()}
    return {v: x for v, x in logits.items() if x is not None}


def score(
    logits: Mapping[str, Tensor], labels: Labels, metrics: Sequence[Any], task: Task
) -> Scores:
    """Each metric of each view; `metrics` are names or nodes of METRICS."""
    return {view: _score_view(x, labels, metrics, task) for view, x in logits.items()}


def _score_view(
    logits: Tensor, labels: Labels, metrics: Sequence[Any], task: Task
) -> dict[str, float]:
    context = {"num_classes": logits.shape[1], "task": task}
    built = {metric_name(node): _alone(METRICS.build(node, **context)) for node in metrics}
    for start in range(0, len(logits), CHUNK):
        part = slice(start, start + CHUNK)
        shares, right = probabilities(task, logits[part]), labels[part]
        for metric in built.values():
            metric.update(shares, right)
    return {name: metric.compute() for name, metric in built.items()}


def _alone(metric: Any) -> Any:
    """torchmetrics would ask the other processes, and this one has all the examples."""
    for part in (metric, *vars(metric).values()):
        if hasattr(part, "distributed_available_fn"):
            part.distributed_available_fn = lambda: False
    return metric


def slice_scores(
    raw: RawSplit,
    models: Mapping[str, Mapping[str, Tensor]],
    metrics: Sequence[Any],
    task: Task,
) -> dict[str, dict[str, Any]]:
    """{slice: {"count": n, model: scores}} of the subsets that the data set reports apart.

    models: {name: {view: logits [N, C]}}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, rows in raw.slices.items():
        assert raw.labels is not None
        labels = labels_at(raw.labels, rows)
        found[name] = {"count": len(rows)}
        for model, logits in models.items():
            chosen = {view: values[rows] for view, values in logits.items()}
            found[name][model] = score(chosen, labels, metrics, task)
    return found


def metric_name(node: Any) -> str:
    """The name of a metric, given as a name or a node."""
    return node if isinstance(node, str) else node["name"]


def agreement(student: Tensor, teacher: Tensor, task: Task) -> float:
    """[N, C], [N, C] -> the share of answers (of decisions, for several labels) that are equal.

    Regression: the Pearson correlation of each target, averaged; 0 where one side never varies.
    """
    if task == "regression":
        return _correlation(student, teacher)
    if task == "multi_label":
        return float(((student > 0) == (teacher > 0)).float().mean())
    return float((student.argmax(-1) == teacher.argmax(-1)).float().mean())


def _correlation(a: Tensor, b: Tensor) -> float:
    """[N, C], [N, C] -> the mean over columns of Pearson's r"""
    a, b = (x.double() - x.double().mean(0) for x in (a, b))
    scale = a.norm(dim=0) * b.norm(dim=0)
    return float(((a * b).sum(0) / scale.where(scale > 0, 1.0)).mean())


def answers(logits: Tensor, task: Task, names: Sequence[str]) -> list[Any]:
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
            "prediction": answers(first, self.task, self.names)[0],
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
