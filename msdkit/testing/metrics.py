"""The contract of metrics."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.testing.promises import labels_of, promise
from msdkit.types import Task

SURE = 20.0  # a logit whose probability rounds to 1


def check_metric(metric: Any, *, task: Task = "single_label", num_classes: int = 4) -> None:
    """A fresh metric: a finite float, over several batches, that prefers the right answers as
    `higher_is_better` says; `undefined` says nothing of these labels."""
    labels = labels_of(task, 2 * num_classes, num_classes)
    right = torch.nn.functional.one_hot(torch.arange(len(labels)) % num_classes).float()
    right = SURE * (2 * right - 1) if traits.reads_logits(metric) else right
    right = labels if task == "regression" else right
    undefined = traits.undefined(metric)
    why = undefined(labels) if undefined else ""
    promise(why == "", metric, f"says of defined labels that they leave it undefined: {why!r}")
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
