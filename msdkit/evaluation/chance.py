"""Whether answers are worth more than a constant one, which looks at no example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.data.labels import Labels
from msdkit.data.raw import RawSplit
from msdkit.evaluation.scores import Scores, metric_name, score
from msdkit.evaluation.stream import parts
from msdkit.registry import METRICS
from msdkit.types import AnswerRows, Task

LEAST = 1e-6  # of a share, so that its logit is finite
ROUNDING = 1e-6  # of scores


def chance_lines(
    answers: Mapping[str, AnswerRows], raw: RawSplit, metrics: Sequence[Any], metric: str
) -> Iterator[str]:
    """A line for each view of a teacher's answers, {view: logits [N, C]}, that has nothing to
    teach; none without labels."""
    if raw.labels is None:
        return
    node, count = _node(metrics, metric), len(raw.label_names)
    scores = score(answers, raw.labels, [node], raw.task)
    for view, constant in at_chance(scores, raw.labels, count, node, raw.task).items():
        found = f"on {raw.split} the teacher's {metric} for view '{view}' is "
        yield f"{found}{scores[view][metric]:.3f}, no better than a constant's {constant:.3f}"


def at_chance(
    scores: Scores, labels: Labels | AnswerRows, num_classes: int, node: Any, task: Task
) -> dict[str, float]:
    """{view: the constant's score} of the views whose metric is not better than that of the best
    constant answer: for single labels the most frequent class, for AUROC 0.5, for numbers the mean.

    node: the metric's name or node. Nothing is said of classes by metrics where less is better,
    such as the calibration error: by these a constant may be perfect.
    """
    metric = metric_name(node)
    better = traits.higher_is_better(METRICS.get(metric))
    if not better and task != "regression":
        return {}
    found = []
    for answer in _constants(labels, num_classes, task):
        same = {"": answer.expand(len(labels), -1)}
        found.append(score(same, labels, [node], task)[""][metric])
    best = max(found) if better else min(found)
    gains = {v: (x[metric] - best) * (1 if better else -1) for v, x in scores.items()}
    return {view: best for view, gain in gains.items() if gain <= ROUNDING}  # no NaN is


def _node(metrics: Sequence[Any], metric: str) -> Any:
    return next((node for node in metrics if metric_name(node) == metric), metric)


def _constants(labels: Labels | AnswerRows, num_classes: int, task: Task) -> list[Tensor]:
    """Logits, in regression numbers, [C] of answers that are the same for all examples."""
    if task == "regression":
        return [labels[:].mean(0), labels[:].median(0).values]
    shares = _shares(labels, num_classes, task).clamp(LEAST, 1 - LEAST)
    if task == "multi_label":  # those that most examples have, or all
        return [shares.logit(), torch.ones_like(shares)]
    return [shares.log() if task == "single_label" else shares.logit()]


def _shares(labels: Labels | AnswerRows, num_classes: int, task: Task) -> Tensor:
    """[C]: how frequent each class is, or its mean score; of many classes not all at once"""
    total = torch.zeros(num_classes, dtype=torch.double)
    for rows in parts(len(labels), num_classes):
        part = labels[rows]
        if task == "single_label":
            total += part.bincount(minlength=num_classes)
        else:
            total += part.sum(0, dtype=torch.double)
    return total / len(labels)
