"""Metrics against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from msdkit.metrics import CalibrationError
from msdkit.registry import METRICS

# Answers a b b c a; labels a b c c c: 3 of 5 right
SINGLE = torch.tensor(
    [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.45, 0.25], [0.1, 0.2, 0.7], [0.6, 0.0, 0.4]]
)
SINGLE_LABELS = torch.tensor([0, 1, 2, 2, 2])
# Decisions 10 11 00; labels 10 01 01: hits a b, a too much, b missing
MULTI = torch.tensor([[0.9, 0.2], [0.7, 0.6], [0.1, 0.4]])
MULTI_LABELS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])


def measured(node: Any, shares: Tensor, labels: Tensor, task: str) -> float:
    metric = METRICS.build(node, num_classes=shares.shape[1], task=task)
    half = len(shares) // 2
    metric.update(shares[:half], labels[:half])
    metric.update(shares[half:], labels[half:])
    return metric.compute()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 3 / 5),
        ("micro_f1", 3 / 5),
        # a: precision 1/2, recall 1; b: 1/2, 1; c: 1, 1/3
        ("macro_f1", (2 / 3 + 2 / 3 + 1 / 2) / 3),
        # of pairs (own, other): a .8 above .2 .3 .1 .6; b .7 above all; c .25 .7 .4 above .1 .1
        ("auroc", 1.0),
    ],
)
def test_single_label(name: str, expected: float) -> None:
    found = measured(name, SINGLE, SINGLE_LABELS, "single_label")
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 4 / 6),
        ("micro_f1", 2 * 2 / (2 * 2 + 1 + 1)),
        ("macro_f1", (2 / 3 + 2 / 3) / 2),
        # a: .9 above .7 and .1; b: .6 and .4 above .2
        ("auroc", 1.0),
    ],
)
def test_multi_label(name: str, expected: float) -> None:
    found = measured(name, MULTI, MULTI_LABELS, "multi_label")
    assert found == pytest.approx(expected, abs=1e-6)


def test_auroc_counts_pairs() -> None:
    shares = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    labels = torch.tensor([0, 1, 0, 1])  # class 1 above class 0: .6 over .1; .8 over .1 and .7
    assert measured("auroc", shares, labels, "single_label") == pytest.approx(3 / 4)


def test_calibration_error() -> None:
    # bin (0.5, 1]: confidences .8 .7 .7 .6 (right 1 1 1 0); below: .45 (wrong)
    node = {"name": "calibration_error", "bins": 2}
    expected = 4 / 5 * abs(0.7 - 3 / 4) + 1 / 5 * abs(0.45 - 0)
    found = measured(node, SINGLE, SINGLE_LABELS, "single_label")
    assert found == pytest.approx(expected, abs=1e-6)
    assert not CalibrationError.higher_is_better


def test_vqa_accuracy() -> None:
    targets = torch.tensor([[1.0, 0.3, 0], [0, 0.6, 0], [0, 0, 1], [0, 0, 0.9], [0, 0, 0.3]])
    found = measured("vqa_accuracy", SINGLE, targets, "soft_target")
    assert found == pytest.approx((1 + 0.6 + 0 + 0.9 + 0) / 5)


VALUES = torch.tensor([[1.0, 10.0], [2.0, 10.0], [4.0, 30.0], [1.0, 30.0]])
TRUTH = torch.tensor([[1.0, 20.0], [3.0, 10.0], [3.0, 20.0], [1.0, 30.0]])


@pytest.mark.parametrize(
    ("name", "expected", "better"),
    [
        ("mae", (1 + 1 + 10 + 10) / 8, False),
        ("rmse", ((1 + 1 + 100 + 100) / 8) ** 0.5, False),
        # means 2 and 20: squares around them 4 and 200, errors 2 and 200
        ("r2", ((1 - 2 / 4) + (1 - 200 / 200)) / 2, True),
    ],
)
def test_regression(name: str, expected: float, better: bool) -> None:
    assert measured(name, VALUES, TRUTH, "regression") == pytest.approx(expected, abs=1e-6)
    assert METRICS.get(name).higher_is_better is better  # type: ignore[attr-defined]
    assert METRICS.get(name).task_kinds == {"regression"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("unit", "zero"), [(1e-4, 0.0), (1e6, 0.0), (1.0, 4096.0)])
def test_r2_does_not_depend_on_the_unit(unit: float, zero: float) -> None:
    found = measured("r2", VALUES * unit + zero, TRUTH * unit + zero, "regression")
    assert found == pytest.approx(0.25, abs=1e-5)


def test_r2_where_labels_do_not_vary() -> None:
    flat = torch.full((4, 1), 3.0)
    assert measured("r2", flat, flat, "regression") == 1
    assert measured("r2", VALUES[:, :1], flat, "regression") == 0
    metric = METRICS.build("r2")
    metric.update(flat[:1], flat[:1])
    assert math.isnan(metric.compute())


def test_a_class_without_examples_is_no_cause_for_a_warning() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1])
    assert 0 <= measured("auroc", SINGLE, labels, "single_label") <= 1
