"""Predictions and metrics of a model, for each view."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msdkit.checkpoint import write_text
from msdkit.data import Split
from msdkit.functional import probabilities
from msdkit.progress import bar
from msdkit.registry import METRICS
from msdkit.types import MULTIMODAL, Task, View

Scores = dict[str, dict[str, float]]  # {view: {metric: value}}


def predict(
    model: nn.Module,
    split: Split,
    views: Sequence[View],
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    what: str = "evaluate",
) -> dict[str, Tensor]:
    """{view: logits `[N, C]`} on the CPU; the random state of training stays as it was."""
    training, parts = model.training, []
    model.eval()
    with torch.random.fork_rng(), torch.inference_mode(), bar(len(split), what, "ex") as advance:
        for start in range(0, len(split), batch_size):
            indices = list(range(start, min(start + batch_size, len(split))))
            inputs = {m: s.to(device) for m, s in split.inputs.batch(indices).items()}
            outputs = model(inputs, list(views))
            parts.append({v: outputs[v].logits.float().cpu() for v in views})
            advance(len(indices))
    model.train(training)
    return {v.name: torch.cat([part[v] for part in parts]) for v in views}


def score(
    logits: Mapping[str, Tensor], labels: Tensor, metrics: Sequence[Any], task: Task
) -> Scores:
    """Each metric of each view; `metrics` are names or nodes of METRICS."""
    result: Scores = {}
    for view, values in logits.items():
        result[view] = {}
        for node in metrics:
            metric = METRICS.build(node, num_classes=values.shape[1], task=task)
            metric.update(probabilities(task, values), labels)
            result[view][metric_name(node)] = metric.compute()
    return result


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


def prediction_rows(
    ids: Sequence[str], logits: Mapping[str, Tensor], task: Task, names: Sequence[str]
) -> list[dict[str, Any]]:
    """{id, prediction, probabilities per view} of each example; the first view predicts."""
    key, figure = shares_key(task), _short if task == "regression" else _rounded
    predicted = answers(logits.get(MULTIMODAL, next(iter(logits.values()))), task, names)
    shares = {view: probabilities(task, values).tolist() for view, values in logits.items()}
    return [
        {
            "id": name,
            "prediction": predicted[i],
            key: {v: [figure(p) for p in rows[i]] for v, rows in shares.items()},
        }
        for i, name in enumerate(ids)
    ]


def write_predictions(
    path: Path, split: Split, logits: Mapping[str, Tensor], task: Task, names: Sequence[str]
) -> None:
    """JSON lines: id, prediction, the probabilities (or values) of each view, and the label if it
    is known."""
    rows = prediction_rows(split.ids, logits, task, names)
    for i, row in enumerate(rows):
        row["label"] = None if split.labels is None else readable(split.labels[i], task, names)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def readable(label: Tensor, task: Task, names: Sequence[str]) -> Any:
    """A label as a person would write it: a class, a list of classes, {class: score} or
    {target: number}."""
    if task == "regression":
        return {name: _short(number) for name, number in zip(names, label.tolist(), strict=True)}
    if task == "single_label":
        return names[int(label)]
    scores = {n: round(s, 4) for n, s in zip(names, label.tolist(), strict=True) if s}
    return list(scores) if task == "multi_label" else scores
