"""Metrics against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import classification

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
    ],
)
def test_multi_label(name: str, expected: float) -> None:
    found = measured(name, MULTI, MULTI_LABELS, "multi_label")
    assert found == pytest.approx(expected, abs=1e-6)


def test_macro_f1_of_a_class_that_neither_side_names() -> None:
    """As scikit-learn has it: left out where an example has one label, 0 where it has several."""
    labels, answers = torch.tensor([0, 0, 1]), torch.eye(3)[torch.tensor([0, 0, 1])]
    assert measured("macro_f1", answers, labels, "single_label") == 1
    assert measured("macro_f1", answers, answers, "multi_label") == pytest.approx(2 / 3)
    assert measured("micro_f1", answers, answers, "multi_label") == 1


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "micro_f1", "calibration_error"])
def test_one_class_alone_is_always_right(name: str) -> None:
    found = measured(name, torch.ones(2, 1), torch.zeros(2, dtype=torch.long), "single_label")
    assert found == (0 if name == "calibration_error" else 1)


@pytest.mark.parametrize(("name", "expected"), [("accuracy", 3 / 4), ("macro_f1", 4 / 5)])
def test_one_label_that_examples_may_have(name: str, expected: float) -> None:
    shares, labels = torch.tensor([[0.9], [0.8], [0.7], [0.2]]), torch.tensor([[1], [1], [0], [0]])
    assert measured(name, shares, labels, "multi_label") == pytest.approx(expected)


def test_a_share_that_rounds_above_1_changes_no_other() -> None:
    """Libraries take it for a logit, and squash the whole batch."""
    above = MULTI.clone()
    above[0, 0] = 1.0000001
    for name in ("accuracy", "macro_f1", "micro_f1"):
        assert measured(name, above, MULTI_LABELS, "multi_label") == pytest.approx(
            measured(name, MULTI, MULTI_LABELS, "multi_label")
        )


def test_calibration_error() -> None:
    # bin (0.5, 1]: confidences .8 .7 .7 .6 (right 1 1 1 0); below: .45 (wrong)
    node = {"name": "calibration_error", "bins": 2}
    expected = 4 / 5 * abs(0.7 - 3 / 4) + 1 / 5 * abs(0.45 - 0)
    found = measured(node, SINGLE, SINGLE_LABELS, "single_label")
    assert found == pytest.approx(expected, abs=1e-6)
    assert not CalibrationError.higher_is_better


def test_the_last_bin_holds_a_confidence_of_1() -> None:
    """Three of 1 (2 right) and one of .95 (wrong) share (14/15, 1]: |2 - 3.95| / 4."""
    shares = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.95, 0.05]])
    labels = torch.tensor([0, 0, 0, 1])
    found = measured("calibration_error", shares, labels, "single_label")
    assert found == pytest.approx(1.95 / 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("bins", "expected"), [(5, (0.5 + 0.6) / 3), (10, (0.2 + 0.6 + 0.3) / 3)])
def test_an_edge_belongs_to_the_bin_below_it(bins: int, expected: float, dtype: Any) -> None:
    """.8 and .7 (right) share (.6, .8], not (.7, .8]; .6 (wrong) is in neither."""
    shares = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]], dtype=dtype)
    node = {"name": "calibration_error", "bins": bins}
    found = measured(node, shares, torch.tensor([0, 1, 0]), "single_label")
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("norm", "expected"), [("l2", (0.8 * 0.05**2 + 0.2 * 0.45**2) ** 0.5), ("max", 0.45)]
)
def test_norms_of_calibration(norm: str, expected: float) -> None:
    node = {"name": "calibration_error", "bins": 2, "norm": norm}
    found = measured(node, SINGLE, SINGLE_LABELS, "single_label")
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@pytest.mark.parametrize("name", ["Accuracy", "F1Score", "CalibrationError"])
def test_torchmetrics_says_the_same(name: str, task: str) -> None:
    """Where no confidence is 1, which it puts into a bin of its own."""
    ours = {"Accuracy": ["accuracy"], "F1Score": ["macro_f1", "micro_f1"]}
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(300, 6, generator=draw) - torch.tensor([0.0] * 5 + [9.0])
    labels = torch.randint(5, (300,), generator=draw)
    kind, count = "Multiclass", {"num_classes": 6}
    shares = logits.softmax(-1)
    if task == "multi_label":
        labels, shares = (torch.rand(300, 6, generator=draw) < 0.3).long(), logits.sigmoid()
        kind, count = "Multilabel", {"num_labels": 6}
    for mine in ours.get(name, ["calibration_error"] * (task == "single_label")):
        average = {} if name == "CalibrationError" else {"average": "micro"}
        average |= {"average": "macro"} if mine == "macro_f1" else {}
        theirs = getattr(classification, kind + name)(**count, **average)
        expected = float(theirs(shares, labels))
        assert measured(mine, shares, labels, task) == pytest.approx(expected, abs=1e-6)


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


def test_vqa_accuracy_of_answers_whose_probabilities_round_to_1() -> None:
    targets = torch.tensor([[0.0, 1.0]])
    assert measured("vqa_accuracy", torch.tensor([[40.0, 42.0]]), targets, "soft_target") == 1


def test_r2_where_labels_do_not_vary() -> None:
    flat = torch.full((4, 1), 3.0)
    assert measured("r2", flat, flat, "regression") == 1
    assert measured("r2", VALUES[:, :1], flat, "regression") == 0
    assert measured("r2", flat + 1e-3, flat, "regression") == 0
    tenth = torch.full((3, 1), 0.1)  # their mean is not quite 0.1
    assert measured("r2", tenth, tenth, "regression") == 1
    assert measured("r2", tenth * 2, tenth, "regression") == 0
    metric = METRICS.build("r2")
    metric.update(flat[:1], flat[:1])
    assert math.isnan(metric.compute())
