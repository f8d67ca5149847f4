"""Areas under ROC curves: of the classes that have one, by ranks that no rounding hides."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from msdkit.evaluation.scores import score
from msdkit.functional import log_odds
from msdkit.metrics import AUROC
from msdkit.types import Task

SURE = torch.tensor([20.0, 22.0, 24.0, 26.0])  # sigmoids round to 1 in single precision


def auroc(logits: Tensor, labels: Tensor, task: Task = "single_label") -> float:
    return score({"multimodal": logits}, labels, ["auroc"], task)["multimodal"]["auroc"]


def by_pairs(scores: Tensor, own: Tensor) -> float:
    """The share of pairs (own, other) in the right order; equals count half."""
    above = scores[own][:, None] - scores[~own][None]
    return float((above.sign() + 1).mean()) / 2


def test_pairs_by_hand() -> None:
    """Class 1 above class 0: .6 over .1; .8 over .1 and .7."""
    shares = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    assert auroc(shares.log(), torch.tensor([0, 1, 0, 1])) == pytest.approx(3 / 4)


def test_equals_count_half() -> None:
    """Class 1: 2 over 0 and = 2; 0 = 0 and below 2: (1 + 1/2 + 1/2 + 0) / 4."""
    logits = torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 0.0]])
    assert auroc(logits, torch.tensor([0, 1, 0, 1])) == pytest.approx(1 / 2)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_sure_answers_keep_their_order(task: Task) -> None:
    labels = torch.tensor([0, 0, 1, 1])
    if task == "multi_label":
        assert auroc(SURE[:, None], labels[:, None], task) == 1
        assert auroc(-SURE[:, None], labels[:, None], task) == 0
    else:
        assert auroc(torch.stack([torch.zeros(4), SURE], 1), labels) == 1
        assert auroc(torch.stack([SURE, torch.zeros(4), -SURE], 1), labels) == 0


def test_a_class_without_examples_has_no_curve() -> None:
    logits = torch.tensor([[3.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [1.0, 2.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert auroc(logits, labels) == 1
    several = torch.nn.functional.one_hot(labels, 3)
    assert auroc(logits, several, "multi_label") == 1
    several[:, 2] = 1  # nor has one that all examples have
    assert auroc(logits, several, "multi_label") == 1


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0]])
def test_without_any_curve_it_is_undefined(labels: list[int]) -> None:
    right = torch.tensor(labels)
    assert math.isnan(auroc(torch.randn(3, 2), right))
    assert math.isnan(auroc(torch.randn(3, 1), right[:, None], "multi_label"))
    message = AUROC(2, "single_label").undefined(right)
    assert message == "each class is that of all or of none of its 3 examples"
    assert AUROC(2, "single_label").undefined(torch.tensor([0, 1, 1])) == ""


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_it_is_the_mean_over_pairs(task: Task) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 5, generator=draw).round(decimals=1)  # with equal ones
    index = torch.randint(4, (200,), generator=draw)
    right = torch.nn.functional.one_hot(index, 5).bool()
    labels, shares = (index, logits.double().softmax(-1))
    if task == "multi_label":
        right = right | (torch.rand(200, 5, generator=draw) < 0.2)
        labels, shares = right.float(), logits.double()
    areas = [by_pairs(shares[:, c], right[:, c]) for c in range(5) if right[:, c].any()]
    assert auroc(logits, labels, task) == pytest.approx(sum(areas) / len(areas), abs=1e-4)


def test_log_odds() -> None:
    """Class by class log p / (1 - p); of far logits what the others leave."""
    logits = torch.tensor([[1.0, 2.0, -0.5], [3.0, 3.0, 3.0]])
    expected = logits.double().softmax(-1).logit()
    torch.testing.assert_close(log_odds("single_label", logits), expected)
    far = log_odds("single_label", torch.tensor([[800.0, 0.0, 0.0], [0.0, float("-inf"), 0.0]]))
    assert far[0].tolist() == pytest.approx([800 - math.log(2), -800, -800])
    assert far[1].tolist() == pytest.approx([0, -math.inf, 0])
    assert torch.equal(log_odds("multi_label", logits), logits.double())
