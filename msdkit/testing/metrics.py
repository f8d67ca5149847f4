"""The contract of metrics."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.testing.promises import labels_of, promise
from msdkit.types import Task


def check_metric(metric: Any, *, task: Task = "single_label", num_classes: int = 4) -> None:
    """A fresh metric: a finite float, over several batches, that prefers the right answers as
    `higher_is_better` says."""
    labels = labels_of(task, 2 * num_classes, num_classes)
    right = torch.nn.functional.one_hot(torch.arange(len(labels)) % num_classes).float()
    right = labels if task == "regression" else right
    good, bad = _value(metric, right, labels), _value(metric, right.roll(1, dims=1), labels)
    sign = 1 if traits.higher_is_better(metric) else -1
    promise(
        sign * good > sign * bad,
        metric,
        f"scores right answers {good:.3g} and wrong ones {bad:.3g}, against its higher_is_better",
    )


def _value(metric: Any, probabilities: Tensor, labels: Tensor) -> float:
    metric, half = deepcopy(metric), len(labels) // 2
    metric.update(probabilities[:half], labels[:half])
    metric.update(probabilities[half:], labels[half:])
    value = metric.compute()
    promise(isinstance(value, float), metric, f"must compute a float, gave {type(value).__name__}")
    promise(value - value == 0, metric, f"computes {value}, which is not finite")
    return value
