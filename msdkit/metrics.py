"""Metrics: torchmetrics' implementations under one interface for every task kind.

A metric takes `(num_classes, task)` from the framework and has `update(probabilities, labels)` and
`compute() -> float`; probabilities are `[B, C]` (in regression the predicted numbers), labels as in
`Batch`. A metric of sums over examples may also have `counts(probabilities, labels) -> [B, K]`,
what each example adds to K sums, and `of_counts([..., K]) -> [...]`, its value by such sums:
thousands of resamples are then one matrix product.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor

from msdkit.registry import METRICS
from msdkit.types import PositiveInt, Task

HARD = frozenset({"single_label", "multi_label"})


class Classification:
    """A torchmetrics metric for single labels (multiclass) or several labels (multilabel)."""

    task_kinds = HARD
    higher_is_better = True
    metric: Any

    def __init__(self, num_classes: int, task: Task) -> None:
        self.num_classes, self.task = num_classes, task

    def _options(self) -> dict[str, Any]:
        multi = self.task == "multi_label"
        return {"num_labels" if multi else "num_classes": self.num_classes}

    @property
    def _prefix(self) -> str:
        return "Multilabel" if self.task == "multi_label" else "Multiclass"

    def _make(self, name: str, **options: Any) -> Any:
        from torchmetrics import classification

        return getattr(classification, self._prefix + name)(**self._options(), **options)

    def _decisions(self, probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """bool [B, C], bool [B, C]: the classes that are answered, and those that are right"""
        if self.task == "multi_label":
            return probabilities > 0.5, labels > 0
        classes = torch.arange(self.num_classes)
        return probabilities.argmax(-1, True) == classes, labels.unsqueeze(-1) == classes

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """[B, C], labels as in `Batch`"""
        self.metric.update(probabilities, labels.long())

    def compute(self) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchmetrics warns of classes without examples
            return float(self.metric.compute())


@METRICS.register("accuracy")
class Accuracy(Classification):
    """The share of right answers; with several labels, of right (example, label) pairs at 0.5."""

    def __init__(self, num_classes: int, task: Task) -> None:
        super().__init__(num_classes, task)
        self.metric = self._make("Accuracy", average="micro")

    def counts(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """[B, C], labels -> [B, 2]: right decisions, decisions"""
        answered, right = self._decisions(probabilities, labels)
        if self.task == "multi_label":
            hits = (answered == right).sum(-1)
            return torch.stack([hits, torch.full_like(hits, self.num_classes)], -1)
        hits = (answered & right).sum(-1)
        return torch.stack([hits, torch.ones_like(hits)], -1)

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2] -> [...]"""
        return sums[..., 0] / sums[..., 1]


class F1(Classification):
    """What both F1 scores count: per class right answers, and answers and labels together."""

    def counts(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """[B, C], labels -> [B, 2C]"""
        answered, right = self._decisions(probabilities, labels)
        return torch.cat([answered & right, answered.long() + right.long()], -1)


@METRICS.register("macro_f1")
class MacroF1(F1):
    """The F1 score of each class, averaged over classes."""

    def __init__(self, num_classes: int, task: Task) -> None:
        super().__init__(num_classes, task)
        self.metric = self._make("F1Score", average="macro")

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2C] -> [...]; a single label's class that neither side names does not count"""
        hits, named = sums.double().chunk(2, -1)
        scores = 2 * hits / named.clamp(min=1)
        if self.task == "multi_label":
            return scores.mean(-1)
        return scores.sum(-1) / (named > 0).sum(-1).clamp(min=1)


@METRICS.register("micro_f1")
class MicroF1(F1):
    """The F1 score over all decisions."""

    def __init__(self, num_classes: int, task: Task) -> None:
        super().__init__(num_classes, task)
        self.metric = self._make("F1Score", average="micro")

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2C] -> [...]"""
        hits, named = (part.sum(-1) for part in sums.double().chunk(2, -1))
        return 2 * hits / named.clamp(min=1)


@METRICS.register("auroc")
class AUROC(Classification):
    """The area under the ROC curve, one class against the rest, averaged over classes."""

    def __init__(self, num_classes: int, task: Task) -> None:
        super().__init__(num_classes, task)
        self.metric = self._make("AUROC", average="macro")


@METRICS.register("calibration_error")
class CalibrationError(Classification):
    """Expected calibration error of the top answer (Guo et al., ICML 2017, equation 3)."""

    task_kinds = frozenset({"single_label"})
    higher_is_better = False

    def __init__(
        self,
        num_classes: int,
        task: Task,
        *,
        bins: PositiveInt = 15,
        norm: Literal["l1", "l2", "max"] = "l1",
    ) -> None:
        super().__init__(num_classes, task)
        self.metric = self._make("CalibrationError", n_bins=bins, norm=norm)


@METRICS.register("vqa_accuracy")
class VQAAccuracy:
    """The soft target of the answer with the highest probability, averaged over examples.

    Antol et al., ICCV 2015, section 3, with the annotators' agreement already in the targets.
    """

    task_kinds = frozenset({"soft_target"})
    higher_is_better = True

    def __init__(self) -> None:
        from torchmetrics import MeanMetric

        self.metric = MeanMetric()

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """[B, C], [B, C]"""
        self.metric.update(self.counts(probabilities, labels)[:, 0])

    def counts(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B, 2]: the answer's target, 1"""
        best = probabilities.argmax(-1, keepdim=True)
        targets = labels.gather(-1, best).squeeze(-1)
        return torch.stack([targets, torch.ones_like(targets)], -1)

    def of_counts(self, sums: Tensor) -> Tensor:
        """[..., 2] -> [...]"""
        return sums[..., 0] / sums[..., 1]

    def compute(self) -> float:
        return float(self.metric.compute())


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

    1 is right, 0 is as good as the labels' own mean; NaN for a single example. A target that never
    varies counts 1 where it is met and 0 where not.
    """

    higher_is_better = True

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []

    def update(self, values: Tensor, labels: Tensor) -> None:
        """[B, C], [B, C]"""
        self._parts.append((values.double(), labels.double()))

    def compute(self) -> float:
        from torchmetrics.functional import r2_score

        values, labels = (torch.cat(part) for part in zip(*self._parts, strict=True))
        if len(labels) < 2:
            return float("nan")
        # In units of the labels' own spread, since r2_score takes sums below 1e-4 for zero
        mean, spread = labels.mean(0), labels.std(0)
        spread = torch.where(spread > 0, spread, 1.0)
        return float(r2_score((values - mean) / spread, (labels - mean) / spread))
