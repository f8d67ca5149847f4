"""Predictions and metrics of a model, for each view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from msdkit import traits
from msdkit.data.labels import Labels
from msdkit.data.split import Split
from msdkit.errors import ConfigError, TrainingError
from msdkit.evaluation.stream import parts, stream
from msdkit.functional import probabilities
from msdkit.registry import METRICS
from msdkit.types import AnswerRows, Task, View

Scores = dict[str, dict[str, float]]  # {view: {metric: value}}


def predict(
    model: nn.Module, split: Split, views: Sequence[View], **options: Any
) -> dict[str, Tensor]:
    """{view: logits `[N, C]`}, all at once; the rest is as of `stream`. Of several processes only
    the main one gets them."""
    found: dict[str, list[Tensor]] = {}

    def read(_: slice, logits: dict[str, Tensor]) -> None:
        for view, part in logits.items():
            found.setdefault(view, []).append(part)

    stream(model, split, views, read, **options)
    return {view: torch.cat(held) for view, held in found.items()}


class Scorer:
    """Each metric of each view, from one part of the answers after another; NaN where one is
    undefined, as all are without examples. metrics: names or nodes of METRICS."""

    def __init__(self, views: Iterable[str], metrics: Sequence[Any], task: Task) -> None:
        self.nodes, self.task = metrics, task
        self._built: dict[str, dict[str, Any]] = {view: {} for view in views}

    def update(self, logits: Mapping[str, Tensor], labels: Tensor) -> None:
        """{view: [B, C]} and their labels"""
        for view, answers in logits.items():
            shares = None
            for metric in self._metrics(view, answers.shape[1]).values():
                if traits.reads_logits(metric):
                    metric.update(answers, labels)
                    continue
                shares = read_shares(answers, self.task) if shares is None else shares
                metric.update(shares, labels)

    def scores(self) -> Scores:
        """{view: {metric: value}} of what was read"""
        undefined = {metric_name(node): math.nan for node in self.nodes}
        return {
            view: {name: _number(name, metric.compute()) for name, metric in built.items()}
            or dict(undefined)
            for view, built in self._built.items()
        }

    def _metrics(self, view: str, classes: int) -> dict[str, Any]:
        if not self._built[view]:
            context = {"num_classes": classes, "task": self.task}
            self._built[view] = {
                metric_name(node): _alone(METRICS.build(node, **context)) for node in self.nodes
            }
        return self._built[view]


def score(
    logits: Mapping[str, AnswerRows],
    labels: Labels | AnswerRows,
    metrics: Sequence[Any],
    task: Task,
) -> Scores:
    """Each metric of each view `[N, C]`; `metrics` are names or nodes of METRICS. NaN where one is
    undefined, as all are without examples; TrainingError where an answer is not a number."""
    scorer = Scorer(logits, metrics, task)
    for part in parts(*next(iter(logits.values())).shape) if logits else ():
        answers = {view: rows[part] for view, rows in logits.items()}
        check_answers(answers, task, first=part.start)
        scorer.update(answers, labels[part])
    return scorer.scores()


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
    logits: Mapping[str, Tensor],
    task: Task,
    ids: Sequence[str] | None = None,
    split: str = "",
    first: int = 0,
) -> None:
    """TrainingError that names an example whose answer `[C]` has a NaN or an infinity, but that
    some classes may have minus infinity and are never answered. ids: else rows from `first` on are
    named."""
    for view, rows in logits.items():
        # Of classes the largest, NaN where one is: of the others a probability of 0 may be meant
        asked = rows if task == "regression" else rows.amax(-1, keepdim=True)
        wrong = (~asked.isfinite()).any(-1).nonzero().flatten().tolist()
        if wrong:
            example = f"row {first + wrong[0]}" if ids is None else f"'{ids[wrong[0]]}' of {split}"
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


def metric_name(node: Any) -> str:
    """The name of a metric, given as a name or a node."""
    return node if isinstance(node, str) else node["name"]


class Agreement:
    """The share of answers (of decisions, for several labels) that student and teacher have in
    common, from one part after another.

    Regression: the Pearson correlation of each target, averaged; 0 where one side never varies.
    NaN without examples; TrainingError where an answer is not a number.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.equal, self.count = task, 0, 0
        self._numbers: list[tuple[Tensor, Tensor]] = []

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """[B, C], [B, C]"""
        check_answers({"student": student, "teacher": teacher}, self.task)
        if self.task == "regression":
            self._numbers.append((student, teacher))
            return
        a, b = (x > 0 if self.task == "multi_label" else x.argmax(-1) for x in (student, teacher))
        self.equal, self.count = self.equal + int((a == b).sum()), self.count + a.numel()

    def value(self) -> float:
        """That of all that was read."""
        if self._numbers:
            student, teacher = (torch.cat(side) for side in zip(*self._numbers, strict=True))
            return _correlation(student, teacher)
        return float(torch.tensor(self.equal / self.count)) if self.count else math.nan


def agreement(student: Tensor, teacher: Tensor, task: Task) -> float:
    """[N, C], [N, C] -> their `Agreement`"""
    found = Agreement(task)
    found.update(student, teacher)
    return found.value()


def _correlation(a: Tensor, b: Tensor) -> float:
    """[N, C], [N, C] -> the mean over columns of Pearson's r"""
    a, b = (x.double() - x.double().mean(0) for x in (a, b))
    scale = a.norm(dim=0) * b.norm(dim=0)
    return float(((a * b).sum(0) / scale.where(scale > 0, 1.0)).mean())
