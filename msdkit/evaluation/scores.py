"""Predictions and metrics of a model, for each view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from msdkit import parallel, traits
from msdkit.data.labels import Labels, labels_at
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.errors import ConfigError, TrainingError
from msdkit.functional import probabilities, without_classes
from msdkit.progress import bar
from msdkit.registry import METRICS
from msdkit.types import Task, View

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
    """{view: logits `[N, C]`} on the CPU, the least for classes that are never an answer; the
    random state of training stays as it was.

    Several processes share the batches, which are those of one process; the main one gets all
    logits, and the others nothing.
    """
    training, parts, never = model.training, [], split.inputs.raw.unanswered
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
            logits = {v: outputs[v].logits.float().cpu() for v in views}
            parts.append({v: without_classes(x, never) for v, x in logits.items()})
            advance(len(rows))
    model.train(training)
    found = {v.name: [part[v] for part in parts] for v in views}
    whole = {v: parallel.to_main(torch.cat(p) if p else None, counts) for v, p in found.items()}
    return {v: x for v, x in whole.items() if x is not None}


def score(
    logits: Mapping[str, Tensor], labels: Labels, metrics: Sequence[Any], task: Task
) -> Scores:
    """Each metric of each view; `metrics` are names or nodes of METRICS. NaN where one is
    undefined, as all are without examples; TrainingError where an answer is not a number."""
    check_answers(logits, task)
    return {view: _score_view(x, labels, metrics, task) for view, x in logits.items()}


def score_split(
    logits: Mapping[str, Tensor], split: Split, metrics: Sequence[Any], task: Task
) -> Scores:
    """As `score`, none without labels; an error names the example."""
    check_answers(logits, task, split.ids, split.inputs.raw.split)
    return {} if split.labels is None else score(logits, split.labels, metrics, task)


def _score_view(
    logits: Tensor, labels: Labels, metrics: Sequence[Any], task: Task
) -> dict[str, float]:
    if not len(logits):
        return {metric_name(node): math.nan for node in metrics}
    context = {"num_classes": logits.shape[1], "task": task}
    built = {metric_name(node): _alone(METRICS.build(node, **context)) for node in metrics}
    for start in range(0, len(logits), CHUNK):
        part = slice(start, start + CHUNK)
        right, shares = labels[part], read_shares(logits[part], task)
        for metric in built.values():
            metric.update(logits[part] if traits.reads_logits(metric) else shares, right)
    return {name: _number(name, metric.compute()) for name, metric in built.items()}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"metric '{name}' gave {value!r:.80}; expected a number") from None


def read_shares(logits: Tensor, task: Task) -> Tensor:
    """[N, C] -> [N, C], what metrics read: probabilities, or regression's numbers as they are.

    In float64, where sure answers still differ, and never beyond 0 and 1, which some libraries
    would take for logits.
    """
    if task == "regression":
        return logits
    return probabilities(task, logits.double()).clamp(0, 1)


def check_metric(
    name: str, metrics: Sequence[Any], labels: Labels, num_classes: int, task: Task
) -> None:
    """ConfigError where val's labels leave the metric undefined that chooses the best model.

    name: that metric's; metrics: names or nodes, with its node where it has one.
    """
    node = next((node for node in metrics if metric_name(node) == name), name)
    undefined = traits.undefined(METRICS.build(node, num_classes=num_classes, task=task))
    if undefined is not None and (why := undefined(labels[:])):
        raise ConfigError(
            f"evaluate.metric: '{name}' chooses the best checkpoint and is undefined on val: "
            f"{why}; choose another metric, or another val split"
        )


def check_answers(
    logits: Mapping[str, Tensor], task: Task, ids: Sequence[str] | None = None, split: str = ""
) -> None:
    """TrainingError that names an example whose answer `[C]` has a NaN or an infinity, but that
    some classes may have minus infinity and are never answered. ids: else rows from 0 are named."""
    for view, rows in logits.items():
        # Of classes the largest, NaN where one is: of the others a probability of 0 may be meant
        asked = rows if task == "regression" else rows.amax(-1, keepdim=True)
        wrong = (~asked.isfinite()).any(-1).nonzero().flatten().tolist()
        if wrong:
            example = f"row {wrong[0]}" if ids is None else f"'{ids[wrong[0]]}' of {split}"
            answer = next(x for x in asked[wrong[0]].tolist() if not math.isfinite(x))
            raise TrainingError(
                f"view '{view}': the answer to {example} is {answer}, as is that to "
                f"{len(wrong):,} of {len(rows):,} examples; expected finite numbers"
            )


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
    NaN without examples; TrainingError where an answer is not a number.
    """
    check_answers({"student": student, "teacher": teacher}, task)
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
