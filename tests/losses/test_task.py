"""Task losses against numbers by hand and loops in float64."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.registry import LOSSES

LABELS = {
    "cross_entropy": torch.tensor([0, 1, 0, 1]),  # class 2 is missing
    "bce": torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    "soft_target_bce": torch.tensor([[0.3, 0, 1], [0, 0, 0], [1, 1, 1], [0.9, 0.1, 0]]),
    "mse": torch.tensor([[0.5, -2.0, 0.0]] * 4),
}
KINDS = {
    "cross_entropy": {"single_label"},
    "bce": {"multi_label"},
    "soft_target_bce": {"soft_target"},
    "mse": {"regression"},
}


def test_cross_entropy_by_hand():
    logits = torch.tensor([[log(3.0), 0.0], [log(3.0), 0.0]])
    loss = LOSSES.build("cross_entropy")
    assert loss(logits, torch.tensor([0, 1])).tolist() == pytest.approx([log(4 / 3), log(4)])
    soft = loss(logits, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    assert soft.tolist() == pytest.approx([(log(4 / 3) + log(4)) / 2, log(4 / 3)])
    # smoothing 0.2 over two classes: 0.9 on the label, 0.1 on the other
    smooth = LOSSES.build({"name": "cross_entropy", "label_smoothing": 0.2})
    expected = 0.9 * log(4 / 3) + 0.1 * log(4)
    assert smooth(logits, torch.tensor([0, 0])).tolist() == pytest.approx([expected] * 2)


def test_class_weights_multiply_and_the_mean_is_over_examples():
    logits = torch.tensor([[log(3.0), 0.0], [log(3.0), 0.0]])
    loss = LOSSES.build({"name": "cross_entropy", "class_weights": [0.5, 2.0]}, num_classes=2)
    value = loss(logits, torch.tensor([0, 1]))
    assert value.tolist() == pytest.approx([0.5 * log(4 / 3), 2 * log(4)])
    # torch's own mean divides by the weights' sum, 2.5
    assert value.mean().item() == pytest.approx((0.5 * log(4 / 3) + 2 * log(4)) / 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, [0.2, 1.7, 3.0]])
def test_cross_entropy_against_a_loop(smoothing, weights):
    torch.manual_seed(1)
    logits, labels = 3 * torch.randn(4, 3, dtype=torch.float64), LABELS["cross_entropy"]
    w = weights or [1.0] * 3
    expected = []
    for row, y in zip(logits.tolist(), labels.tolist(), strict=True):
        total = log(sum(exp(z) for z in row))
        q = [(1 - smoothing) * (c == y) + smoothing / 3 for c in range(3)]
        expected.append(sum(w[c] * q[c] * (total - row[c]) for c in range(3)))
    node = {"name": "cross_entropy", "label_smoothing": smoothing, "class_weights": weights}
    loss = LOSSES.build(node, num_classes=3)
    assert loss(logits, labels).tolist() == pytest.approx(expected, rel=1e-12)
    assert not loss.state_dict()  # the config holds the weights, checkpoints do not


def test_bce_by_hand():
    logits = torch.tensor([[log(3.0), 0.0]])
    for labels in (torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0]])):
        assert LOSSES.build("bce")(logits, labels).item() == pytest.approx(log(4 / 3) + log(2))
    soft = LOSSES.build("soft_target_bce")(logits, torch.tensor([[0.5, 0.3]])).item()
    assert soft == pytest.approx(0.5 * log(4 / 3) + 0.5 * log(4) + log(2))


@pytest.mark.parametrize(
    ("node", "labels"),
    [
        ({"name": "bce"}, LABELS["bce"]),
        ({"name": "bce", "positive_weights": [0.2, 1.0, 7.5]}, LABELS["bce"]),
        ({"name": "soft_target_bce"}, LABELS["soft_target_bce"]),
    ],
)
def test_bce_against_a_loop(node, labels):
    torch.manual_seed(2)
    logits = 3 * torch.randn(4, 3, dtype=torch.float64)
    weights = node.get("positive_weights", [1.0] * 3)
    expected = [
        sum(
            w * y * log(1 + exp(-z)) + (1 - y) * log(1 + exp(z))
            for w, y, z in zip(weights, ys, zs, strict=True)
        )
        for ys, zs in zip(labels.double().tolist(), logits.tolist(), strict=True)
    ]
    value = LOSSES.build(node, num_classes=3)(logits, labels.double())
    assert value.tolist() == pytest.approx(expected, rel=1e-12)


def test_mse_by_hand():
    loss = LOSSES.build("mse")
    numbers = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    assert loss(numbers, torch.tensor([[0.0, 4.0], [0.0, 2.0]])).tolist() == [2.5, 4.5]
    # one target: labels [B] must not spread over [B, B]
    column = torch.tensor([[1.0], [5.0]])
    assert loss(column, torch.tensor([0.0, 2.0])).tolist() == [1.0, 9.0]
    assert loss(column, torch.tensor([[0], [2]])).tolist() == [1.0, 9.0]


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_at_extreme_logits_and_for_one_example(name, dtype):
    logits = torch.tensor(
        [[100, -100, 100], [-100, 100, -100], [-100] * 3, [0] * 3], dtype=dtype, requires_grad=True
    )
    loss, labels = LOSSES.build(name), LABELS[name]
    value = loss(logits, labels)
    assert value.shape == (4,)
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    value.sum().backward()
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(loss(logits[2:3], labels[2:3]), value[2:3])


def test_half_precision_is_summed_in_single():
    far = torch.tensor([[100.0, -100.0]], dtype=torch.float16)
    assert LOSSES.build("bce")(far, torch.tensor([[0, 1]])).item() == pytest.approx(200)
    assert LOSSES.build("cross_entropy")(far, torch.tensor([1])).item() == pytest.approx(200)


@pytest.mark.parametrize("name", LABELS)
def test_each_task_kind_has_its_loss(name):
    assert LOSSES.get(name).task_kinds == KINDS[name]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "cross_entropy", "label_smoothing": 1.5}, "expected float >= 0 and <= 1, got"),
        ({"name": "cross_entropy", "class_weights": [1.0, 0.0, 1.0]}, "class_weights.1: expected"),
        ({"name": "soft_target_bce", "temperature": 1.0}, "loss 'soft_target_bce' has no paramet"),
        (
            {"name": "cross_entropy", "class_weights": [1.0, 2.0]},
            "cross_entropy: class_weights has 2 numbers, the data set 3 classes",
        ),
        (
            {"name": "bce", "positive_weights": [1.0, 2.0, 1.0, 1.0]},
            "bce: positive_weights has 4 numbers, the data set 3 classes",
        ),
    ],
)
def test_parameters_are_checked(node, message):
    with pytest.raises(ConfigError) as error:
        LOSSES.build(node, num_classes=3)
    assert message in str(error.value)


def test_the_number_of_classes_need_not_be_known():
    loss = LOSSES.build({"name": "cross_entropy", "class_weights": [1.0, 2.0]})
    logits: Tensor = torch.zeros(1, 2)
    assert loss(logits, torch.tensor([1])).item() == pytest.approx(2 * log(2))
