"""Metrics against scikit-learn and netcal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from agreements import drawn, peer
from torch import Tensor

from msdkit.functional import probabilities
from msdkit.registry import METRICS
from msdkit.types import Task

# Examples, classes or labels or targets; how far apart the logits are
SHAPES = [(2, 2), (30, 3), (200, 12), (40, 60)]
SCALES = [0.5, 4.0, 300.0]


def sklearn() -> ModuleType:
    return peer("sklearn.metrics")


def score(name: str, task: Task, answers: Tensor, labels: Tensor, **of: Any) -> float:
    """The metric of two batches of answers, which are logits."""
    metric = METRICS.build({"name": name, **of}, num_classes=answers.shape[1], task=task)
    logits = getattr(metric, "reads", "probabilities") == "logits"
    for part in (slice(0, 1), slice(1, None)):
        given = answers[part] if logits else probabilities(task, answers[part])
        metric.update(given, labels[part])
    return metric.compute()


def answered(task: Task) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits [N, C], each of two examples, and labels: int [N] or {0, 1} [N, C]; some classes have
    no example."""
    for seed, shape in enumerate(SHAPES):
        for scale in SCALES:
            logits = drawn(*shape, seed=seed, scale=scale)
            logits[1::2] = logits[::2]
            noisy = logits + drawn(*shape, seed=seed + 9, scale=2 * scale)
            several = (noisy > scale).long()
            several[:, 0] = 0
            yield logits, several if task == "multi_label" else noisy.argmax(-1)


def test_accuracy(agreement: Any) -> None:
    row = agreement("accuracy, one label", "scikit-learn", "accuracy_score")
    for logits, labels in answered("single_label"):
        theirs = sklearn().accuracy_score(labels, logits.argmax(-1))
        row(score("accuracy", "single_label", logits, labels), theirs)
    row = agreement("accuracy, several labels", "scikit-learn", "1 - hamming_loss")
    for logits, labels in answered("multi_label"):
        theirs = 1 - sklearn().hamming_loss(labels, logits > 0)
        row(score("accuracy", "multi_label", logits, labels), theirs)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1(agreement: Any, average: str) -> None:
    row = agreement(f"{average}_f1, one label", "scikit-learn", f'f1_score, "{average}"')
    given: dict[str, Any] = {"average": average, "zero_division": 0}
    for logits, labels in answered("single_label"):
        theirs = sklearn().f1_score(labels, logits.argmax(-1), **given)
        row(score(f"{average}_f1", "single_label", logits, labels), theirs)
    row = agreement(f"{average}_f1, several labels", "scikit-learn", f'f1_score, "{average}"')
    for logits, labels in answered("multi_label"):
        theirs = sklearn().f1_score(labels, (logits > 0).long(), **given)
        row(score(f"{average}_f1", "multi_label", logits, labels), theirs)


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_auroc(agreement: Any) -> None:
    known = "NaN as soon as a class has no curve: taken class by class, without these"
    row = agreement("auroc, several labels", "scikit-learn", "roc_auc_score", known)
    area = sklearn().roc_auc_score
    for logits, labels in answered("multi_label"):
        areas = [area(y, s) for y, s in zip(labels.T, logits.T, strict=True)]
        row(score("auroc", "multi_label", logits, labels), mean_of_defined(areas))
    known += "; probabilities that round to 1 are ties, which logits are not: given log-odds"
    row = agreement("auroc, one label", "scikit-learn", "roc_auc_score", known)
    for logits, labels in answered("single_label"):
        others = [
            torch.cat([logits[:, :c], logits[:, c + 1 :]], 1).logsumexp(1)
            for c in range(logits.shape[1])
        ]
        odds = logits.T - torch.stack(others)
        areas = [area(labels == c, s) for c, s in enumerate(odds)]
        row(score("auroc", "single_label", logits, labels), mean_of_defined(areas))


def mean_of_defined(areas: list[float]) -> float:
    defined = [area for area in areas if not math.isnan(area)]
    return sum(defined) / len(defined) if defined else math.nan


def test_regression(agreement: Any) -> None:
    theirs = {
        "mae": ("mean_absolute_error", "–"),
        "r2": ("r2_score", "−5e31 where the mean of equal labels is rounded: given zeros"),
        "rmse": ("mean_squared_error", "the root is ours: theirs is of each target, then the mean"),
    }
    for name, (function, known) in theirs.items():
        row = agreement(name, "scikit-learn", function, known)
        for seed, shape in enumerate(SHAPES):
            for scale in (1e-3, 1.0, 100.0):
                values, labels = (drawn(*shape, seed=seed + i, scale=scale) for i in (0, 50))
                labels[:, 0] = 0  # never varies
                values[:, -1] = labels[:, -1]
                found = getattr(sklearn(), function)(labels, values)
                found = found**0.5 if name == "rmse" else found
                row(score(name, "regression", values, labels), found, tolerance=1e-6)


def test_calibration(agreement: Any) -> None:
    known = (
        "[a, b) are the bins; where the labels are two or fewer, which classes need not be, it is "
        "of the second class, or an error: given three or more"
    )
    for norm, name in (("l1", "ECE"), ("max", "MCE")):
        row = agreement(f"calibration_error, {norm}", "netcal", name, known)
        for bins in (1, 10, 15):
            theirs = getattr(peer("netcal.metrics"), name)(bins)
            for logits, labels in answered("single_label"):
                if len(labels.unique()) > 2:
                    given = {"bins": bins, "norm": norm}
                    mine = score("calibration_error", "single_label", logits, labels, **given)
                    row(mine, theirs.measure(logits.softmax(-1).numpy(), labels.numpy()))
