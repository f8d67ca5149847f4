"""Metrics: what a model's answers are worth, under one interface for every task kind.

A metric takes `(num_classes, task)` from the framework and has `update(answers, labels)` and
`compute() -> float`, NaN where it is undefined. Answers are probabilities `[B, C]`, in regression
the predicted numbers, and logits `[B, C]` for a class with `reads = "logits"`, since sure
probabilities round to equal ones; labels are as in `Batch`. A metric that some labels leave
undefined has `undefined(labels) -> str`, the reason or nothing, which is asked before training.
One of sums over examples may have `counts(answers, labels) -> [B, K]`, what each example adds to K
sums, and `of_counts([..., K]) -> [...]`, its value by such sums: thousands of resamples are then
one matrix product.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from msdkit.functional import Norm, area_under_roc, calibration_gap, confidence_bin, log_odds
from msdkit.registry import METRICS
from msdkit.types import PositiveInt, Task

HARD = frozenset({"single_label", "multi_label"})


class Counted(ABC):
    """A metric of sums over the examples."""

    _sums: Tensor | None = None

    @abstractmethod
    def counts(self, answers: Tensor, labels: Tensor) -> Tensor:
        """[B, C], labels -> [B, K]"""

    @abstractmethod
    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., K] -> [...]"""

    def update(self, answers: Tensor, labels: Tensor) -> None:
        """[B, C], labels as in `Batch`"""
        added = self.counts(answers, labels).double().sum(0)
        self._sums = added if self._sums is None else self._sums + added

    def compute(self) -> float:
        return math.nan if self._sums is None else float(self.of_counts(self._sums))


class Classification:
    """A metric of single labels or of several labels."""

    task_kinds = HARD
    higher_is_better = True

    def __init__(self, num_classes: int, task: Task) -> None:
        self.num_classes, self.task = num_classes, task

    def _right(self, labels: Tensor) -> Tensor:
        """bool [B, C]: the classes that an example has"""
        several = labels.dim() > 1
        return labels > 0 if several else labels.unsqueeze(-1) == torch.arange(self.num_classes)

    def _answered(self, probabilities: Tensor) -> Tensor:
        """bool [B, C]: the classes that are answered"""
        if self.task == "multi_label":
            return probabilities > 0.5
        return self._right(probabilities.argmax(-1))


@METRICS.register("accuracy")
class Accuracy(Classification, Counted):
    """The share of right answers; with several labels, of right (example, label) pairs at 0.5."""

    def counts(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """[B, C], labels -> [B, 2]: right decisions, decisions"""
        answered, right = self._answered(probabilities), self._right(labels)
        if self.task == "multi_label":
            hits = (answered == right).sum(-1)
            return torch.stack([hits, torch.full_like(hits, self.num_classes)], -1)
        hits = (answered & right).sum(-1)
        return torch.stack([hits, torch.ones_like(hits)], -1)

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2] -> [...]"""
        return sums[..., 0] / sums[..., 1]


class F1(Classification, Counted):
    """What both F1 scores count: per class right answers, and answers and labels together."""

    def counts(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """[B, C], labels -> [B, 2C]"""
        answered, right = self._answered(probabilities), self._right(labels)
        return torch.cat([answered & right, answered.long() + right.long()], -1)


@METRICS.register("macro_f1")
class MacroF1(F1):
    """The F1 score of each class, averaged over classes.

    As in scikit-learn: a single label's class that neither side names does not count, and with
    several labels it counts 0.
    """

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2C] -> [...]"""
        hits, named = sums.double().chunk(2, -1)
        scores = 2 * hits / named.clamp(min=1)
        if self.task == "multi_label":
            return scores.mean(-1)
        return scores.sum(-1) / (named > 0).sum(-1).clamp(min=1)


@METRICS.register("micro_f1")
class MicroF1(F1):
    """The F1 score over all decisions; 0 where neither side names a class."""

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2C] -> [...]"""
        hits, named = (part.sum(-1) for part in sums.double().chunk(2, -1))
        return 2 * hits / named.clamp(min=1)


@METRICS.register("auroc")
class AUROC(Classification):
    """The area under the ROC curve of each class against the rest, averaged over classes.

    Classes that all examples have, or none, have no curve and do not count; without any other it
    is NaN. The area is the share of pairs (own, other) in which the own example has the larger
    probability, where equals count half (Hanley and McNeil, Radiology, 1982).
    """

    reads = "logits"

    def __init__(self, num_classes: int, task: Task) -> None:
        super().__init__(num_classes, task)
        self._parts: list[tuple[Tensor, Tensor]] = []

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """[B, C], labels as in `Batch`"""
        self._parts.append((log_odds(self.task, logits), self._right(labels)))

    def compute(self) -> float:
        if not self._parts:
            return math.nan
        scores, right = (torch.cat(part) for part in zip(*self._parts, strict=True))
        areas = [
            area_under_roc(s.contiguous(), own) for s, own in zip(scores.T, right.T, strict=True)
        ]
        return float(torch.stack(areas).nanmean())

    def undefined(self, labels: Tensor) -> str:
        """Why these labels give no area; empty if they do."""
        right = self._right(labels)
        if (right.any(0) & ~right.all(0)).any():
            return ""
        return f"each class is that of all or of none of its {len(labels):,} examples"


@METRICS.register("calibration_error")
class CalibrationError(Classification, Counted):
    """Expected calibration error of the top answer (Guo et al., ICML 2017, equation 3).

    Bins are open below and closed above, so that a confidence of 1 is in the last.
    """

    task_kinds = frozenset({"single_label"})
    higher_is_better = False

    def __init__(
        self, num_classes: int, task: Task, *, bins: PositiveInt = 15, norm: Norm = "l1"
    ) -> None:
        super().__init__(num_classes, task)
        self.bins, self.norm = bins, norm

    def counts(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B] -> [B, 3 · bins]: for its bin 1, the confidence, and 1 if it is right"""
        confidence, answer = probabilities.max(-1)
        each = torch.stack([torch.ones_like(confidence), confidence, answer == labels], -1)
        held = confidence_bin(confidence, self.bins).unsqueeze(-1) == torch.arange(self.bins)
        return (each.double().unsqueeze(-1) * held.unsqueeze(-2)).flatten(-2)

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 3 · bins] -> [...]"""
        return calibration_gap(sums.unflatten(-1, (3, self.bins)), self.norm)


@METRICS.register("vqa_accuracy")
class VQAAccuracy(Counted):
    """The soft target of the answer with the largest logit, averaged over examples.

    Antol et al., ICCV 2015, section 3, with the annotators' agreement already in the targets.
    """

    task_kinds = frozenset({"soft_target"})
    higher_is_better = True
    reads = "logits"

    def counts(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B, 2]: the answer's target, 1"""
        best = logits.argmax(-1, keepdim=True)
        targets = labels.gather(-1, best).squeeze(-1)
        return torch.stack([targets, torch.ones_like(targets)], -1)

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2] -> [...]"""
        return sums[..., 0] / sums[..., 1]


class Regression:
    """A metric of predicted numbers, by torchmetrics."""

    task_kinds = frozenset({"regression"})
    higher_is_better = False
    metric: Any

    def update(self, values: Tensor, labels: Tensor) -> None:
        """[B, C], [B, C]"""
        self.metric.update(values.flatten(), labels.flatten())

    def compute(self) -> float:
        return float(self.metric.compute())


@METRICS.register("mae")
class MAE(Regression):
    """The mean absolute error over examples and targets, in the labels' unit."""

    def __init__(self) -> None:
        from torchmetrics import MeanAbsoluteError

        self.metric = MeanAbsoluteError()


@METRICS.register("rmse")
class RMSE(Regression):
    """The root of the mean squared error over examples and targets, in the labels' unit."""

    def __init__(self) -> None:
        from torchmetrics import MeanSquaredError

        self.metric = MeanSquaredError(squared=False)


@METRICS.register("r2")
class R2(Regression):
    """The coefficient of determination R² = 1 − Σ(y − ŷ)² / Σ(y − mean y)², averaged over targets.

    1 is right, 0 is as good as the labels' own mean; undefined for a single example. A target that
    never varies counts 1 where it is met and 0 where not.
    """

    higher_is_better = True

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []

    def update(self, values: Tensor, labels: Tensor) -> None:
        """[B, C], [B, C]"""
        self._parts.append((values.double(), labels.double()))

    def compute(self) -> float:
        values, labels = (torch.cat(part) for part in zip(*self._parts, strict=True))
        if self.undefined(labels):
            return math.nan
        rest = (values - labels).square().sum(0)
        spread = (labels - labels.mean(0)).square().sum(0)
        # The mean of equal labels may be off by rounding, so that their spread is no sure sign
        varies = labels.amin(0) < labels.amax(0)
        return float(torch.where(varies, 1 - rest / spread, (rest == 0).double()).mean())

    def undefined(self, labels: Tensor) -> str:
        """Why these labels give no coefficient; empty if they do."""
        return "" if len(labels) > 1 else "a single example does not vary"
