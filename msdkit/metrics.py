"""Metrics: torchmetrics' implementations under one interface for every task kind.

A metric takes `(num_classes, task)` from the framework and has `update(probabilities, labels)` and
`compute() -> float`; probabilities are `[B, C]` (in regression the predicted numbers), labels as in
`Batch`.
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


@METRICS.register("macro_f1")
class MacroF1(Classification):
    """The F1 score of each class, averaged over classes."""

    def __init__(self, num_classes: int, task: Task) -> None:
        super().__init__(num_classes, task)
        self.metric = self._make("F1Score", average="macro")


@METRICS.register("micro_f1")
class MicroF1(Classification):
    """The F1 score over all decisions."""

    def __init__(self, num_classes: int, task: Task) -> None:
        super().__init__(num_classes, task)
        self.metric = self._make("F1Score", average="micro")


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
        best = probabilities.argmax(-1, keepdim=True)
        self.metric.update(labels.gather(-1, best).squeeze(-1))

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
