"""The contract of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.functional import probabilities
from msdkit.testing.independence import unchanged
from msdkit.testing.promises import labels_of, normal, promise
from msdkit.types import Task

SURE = 20.0  # a logit whose probability rounds to 1


def check_metric(metric: Any, *, task: Task = "single_label", num_classes: int = 4) -> None:
    """A fresh metric: a finite float that prefers the right answers as `higher_is_better` says, and
    the same one however the examples are ordered and split into batches, which it leaves as they
    are; with `counts`, `of_counts` of their sums is that number, too. `undefined` says nothing of
    these labels."""
    labels = labels_of(task, 2 * num_classes, num_classes)
    right = torch.nn.functional.one_hot(torch.arange(len(labels)) % num_classes).float()
    right = SURE * (2 * right - 1) if traits.reads_logits(metric) else right
    right = labels if task == "regression" else right
    undefined = traits.undefined(metric)
    why = undefined(labels) if undefined else ""
    promise(why == "", metric, f"says of defined labels that they leave it undefined: {why!r}")
    good, bad = (_value(metric, x, labels) for x in (right, right.roll(1, dims=1)))
    sign = 1 if traits.higher_is_better(metric) else -1
    promise(
        sign * good > sign * bad,
        metric,
        f"scores right answers {good:.3g} and wrong ones {bad:.3g}, against its higher_is_better",
    )

    answers = _unsure(metric, labels, task, num_classes)
    _check_batches(metric, answers, labels)
    _check_counts(metric, answers, labels)


def _unsure(metric: Any, labels: Tensor, task: Task, num_classes: int) -> Tensor:
    """[B, C]: answers of which some are right, in the form that the metric reads."""
    noise = normal(len(labels), num_classes, seed=4)
    if task == "regression":
        return labels + noise / 2
    hot = torch.nn.functional.one_hot(torch.arange(len(labels)) % num_classes)
    logits = noise + 1.5 * hot
    return logits if traits.reads_logits(metric) else probabilities(task, logits.double())


def _check_batches(metric: Any, answers: Tensor, labels: Tensor) -> None:
    count, backwards = len(labels), torch.arange(len(labels)).flip(0)
    whole = _value(metric, answers, labels, [count])
    for sizes in ([count // 2, count - count // 2], [1, count - 1], [1] * count):
        parts = _value(metric, answers, labels, sizes)
        promise(
            math.isclose(parts, whole, rel_tol=1e-4, abs_tol=1e-6),
            metric,
            f"computes {parts:.6g} of batches of {sizes} and {whole:.6g} of one; it must not "
            "depend on how examples are split into batches",
        )
    turned = _value(metric, answers[backwards], labels[backwards], [count])
    same = math.isclose(turned, whole, rel_tol=1e-4, abs_tol=1e-6)
    promise(same, metric, f"computes {turned:.6g} in another order of examples, {whole:.6g} in one")


def _check_counts(metric: Any, answers: Tensor, labels: Tensor) -> None:
    counts = traits.counts(metric)
    if counts is None:
        return
    found, count = counts(answers, labels), len(labels)
    right = found.dim() == 2 and len(found) == count
    promise(right, metric, f"must give counts [B, K], B = {count}; gave {list(found.shape)}")
    summed = float(metric.of_counts(found.double().sum(0)))
    whole = _value(metric, answers, labels, [count])
    same = math.isclose(summed, whole, rel_tol=1e-4, abs_tol=1e-6)
    promise(same, metric, f"makes {summed:.6g} of the sums of its counts, and computes {whole:.6g}")


def _value(metric: Any, answers: Tensor, labels: Tensor, sizes: Sequence[int] = ()) -> float:
    """By batches of these sizes; by default two."""
    metric, half = deepcopy(metric), len(labels) // 2
    with unchanged(metric, {"answers": answers, "labels": labels}):
        for part in torch.arange(len(labels)).split(list(sizes) or [half, len(labels) - half]):
            rows = slice(int(part[0]), int(part[-1]) + 1)  # views, as the framework hands over
            metric.update(answers[rows], labels[rows])
    value = metric.compute()
    promise(isinstance(value, float), metric, f"must compute a float, gave {type(value).__name__}")
    promise(value - value == 0, metric, f"computes {value}, which is not finite")
    return value
