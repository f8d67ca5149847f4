"""Losses against scipy's and scikit-learn's of probabilities, which have no gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from agreements import answers, drawn, logits, peer
from torch import Tensor

from msdkit.registry import LOSSES

TEMPERATURE = 3.0


def given(
    node: Any, activation: str, *scales: float
) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
    """Our loss [B], and the softened probabilities of student and teacher [B, C]"""
    loss = LOSSES.build({"name": node, "temperature": TEMPERATURE})
    for student, teacher, labels in logits(scales or (1.0, 5.0, 40.0)):
        soft = [
            getattr(x / TEMPERATURE, activation)(*SOFTMAX[activation]) for x in (student, teacher)
        ]
        yield loss(answers(student), answers(teacher), labels), soft[0].numpy(), soft[1].numpy()


SOFTMAX = {"softmax": (-1,), "sigmoid": ()}


def test_kl(agreement: Any) -> None:
    row = agreement("kl", "scipy", "stats.entropy(p, q)", "without τ²: undone")
    entropy = peer("scipy.stats").entropy
    for mine, student, teacher in given("kl", "softmax"):
        row(mine, TEMPERATURE**2 * entropy(teacher, student, axis=-1))


def test_reverse_kl(agreement: Any) -> None:
    row = agreement("reverse_kl", "scipy", "stats.entropy(q, p)", "without τ²: undone")
    entropy = peer("scipy.stats").entropy
    for mine, student, teacher in given("reverse_kl", "softmax"):
        row(mine, TEMPERATURE**2 * entropy(student, teacher, axis=-1))


def test_jsd(agreement: Any) -> None:
    known = "the root of it, without τ²: undone"
    row = agreement("jsd", "scipy", "spatial.distance.jensenshannon", known)
    distance = peer("scipy.spatial.distance").jensenshannon
    for mine, student, teacher in given("jsd", "softmax"):
        row(mine, TEMPERATURE**2 * distance(student, teacher, axis=-1) ** 2)


def test_sigmoid_kl(agreement: Any) -> None:
    known = "without τ²: undone; of probabilities, so lost where 1 − p rounds"
    row = agreement("sigmoid_kl", "scipy", "special.rel_entr", known)
    relative = peer("scipy.special").rel_entr
    for mine, student, teacher in given("sigmoid_kl", "sigmoid", 1.0, 5.0):
        both = relative(teacher, student) + relative(1 - teacher, 1 - student)
        row(mine, TEMPERATURE**2 * both.sum(-1))


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(agreement: Any, weighted: bool) -> None:
    known = "divides by the sum of the weights, not by their number: undone" if weighted else "–"
    name = "cross_entropy, class_weights" if weighted else "cross_entropy"
    row = agreement(name, "scikit-learn", "log_loss", known)
    for student, _, labels in logits(scales=(1.0, 5.0)):
        classes = range(student.shape[1])
        weights = 0.5 + drawn(len(classes)).abs() if weighted else drawn(len(classes)) * 0 + 1
        mine = LOSSES.build({"name": "cross_entropy", "class_weights": weights.tolist()})
        each = weights[labels].numpy()
        given = labels.numpy(), student.softmax(-1).numpy()
        theirs = peer("sklearn.metrics").log_loss(*given, sample_weight=each, labels=list(classes))
        row(mine(student, labels).mean(), theirs * each.mean())


def test_bce(agreement: Any) -> None:
    row = agreement("bce", "scikit-learn", "log_loss", "of one class at a time: summed")
    log_loss = peer("sklearn.metrics").log_loss
    for student, teacher, _ in logits(scales=(1.0, 5.0)):
        labels = (teacher > 0).double()
        columns = zip(labels.T.numpy(), student.sigmoid().T.numpy(), strict=True)
        theirs = sum(log_loss(y, p, labels=[0, 1]) for y, p in columns)
        row(LOSSES.build("bce")(student, labels).mean(), theirs, tolerance=1e-10)


def test_soft_targets(agreement: Any) -> None:
    row = agreement("soft_target_bce", "scipy", "special.xlogy", "of probabilities: summed by hand")
    special = peer("scipy.special")
    for student, teacher, _ in logits(scales=(1.0, 5.0)):
        targets, p = teacher.sigmoid(), student.sigmoid().numpy()
        given = targets.numpy()
        theirs = -(special.xlogy(given, p) + special.xlog1py(1 - given, -p)).sum(-1)
        row(LOSSES.build("soft_target_bce")(student, targets), theirs)


def test_squares(agreement: Any) -> None:
    row = agreement("mse", "scikit-learn", "mean_squared_error")
    theirs = peer("sklearn.metrics").mean_squared_error
    for student, labels, _ in logits():
        mine = LOSSES.build("mse")(student, labels).mean()
        row(mine, theirs(labels.numpy(), student.numpy()))
