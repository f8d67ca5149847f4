"""Losses against published formulas, numbers by hand and a seeded reference."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.registry import LOSSES
from msdkit.types import ModelOutput

LABELS = torch.zeros(8, dtype=torch.long)


def distil(node: dict | str, student: Tensor, teacher: Tensor) -> Tensor:
    return LOSSES.build(node)(ModelOutput(student), ModelOutput(teacher), LABELS)


@pytest.fixture
def seeded() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(8, 10, dtype=torch.float64) * 2, torch.randn(8, 10, dtype=torch.float64) * 3


def test_kl_of_seed_0(seeded):
    loss = distil({"name": "kl", "temperature": 4.0}, *seeded)
    assert loss.shape == (8,)
    assert loss.mean().item() == pytest.approx(5.536569464324, abs=1e-11)


def test_kl_is_the_teachers_cross_entropy_minus_its_entropy(seeded):
    student, teacher = seeded
    t = 4.0
    p, log_q = (teacher / t).softmax(1), (student / t).log_softmax(1)
    expected = t**2 * (-(p * log_q).sum(1) + (p * p.log()).sum(1))
    torch.testing.assert_close(distil({"name": "kl", "temperature": t}, *seeded), expected)


def test_kl_by_hand():
    # At temperature 2, log 9 against 0 is p = (3/4, 1/4); the factor is 4
    teacher, student = torch.tensor([[log(9.0), 0.0]]), torch.zeros(1, 2)
    expected = 4 * (0.75 * log(1.5) + 0.25 * log(0.5))
    node = {"name": "kl", "temperature": 2.0}
    assert distil(node, student, teacher).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_sigmoid_kl_against_a_loop(seeded, temperature):
    def bernoulli(t: float, s: float) -> float:
        p, q = 1 / (1 + exp(-t)), 1 / (1 + exp(-s))
        return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))

    student, teacher = seeded
    expected = [
        temperature**2
        * sum(
            bernoulli(t / temperature, s / temperature)
            for t, s in zip(of_teacher, of_student, strict=True)
        )
        for of_teacher, of_student in zip(teacher.tolist(), student.tolist(), strict=True)
    ]
    given = distil({"name": "sigmoid_kl", "temperature": temperature}, student, teacher)
    assert given.tolist() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_of_kl_by_hand(seeded):
    """d/ds τ² KL = τ (softmax(s/τ) − softmax(t/τ)): of one size at every temperature."""
    student, teacher = seeded
    student.requires_grad_()
    distil({"name": "kl", "temperature": 4.0}, student, teacher).sum().backward()
    expected = 4 * ((student / 4).softmax(1) - (teacher / 4).softmax(1))
    torch.testing.assert_close(student.grad, expected.detach())


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


def test_bce_by_hand():
    logits = torch.tensor([[log(3.0), 0.0]])
    for labels in (torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0]])):
        assert LOSSES.build("bce")(logits, labels).item() == pytest.approx(log(4 / 3) + log(2))
    soft = LOSSES.build("soft_target_bce")(logits, torch.tensor([[0.5, 0.3]])).item()
    assert soft == pytest.approx(0.5 * log(4 / 3) + 0.5 * log(4) + log(2))


def test_half_precision_is_summed_in_single():
    far = torch.tensor([[100.0, -100.0]], dtype=torch.float16)
    assert distil("kl", far, -far).dtype == torch.float32
    assert distil("kl", far, -far).item() == pytest.approx(200)
    assert distil("sigmoid_kl", far, -far).item() == pytest.approx(200)
    assert LOSSES.build("bce")(far, torch.tensor([[0, 1]])).item() == pytest.approx(200)
    assert LOSSES.build("cross_entropy")(far, torch.tensor([1])).item() == pytest.approx(200)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "kl", "temperature": 0.0}, "temperature: expected float > 0, got 0.0"),
        ({"name": "kl", "temperature": "4"}, "temperature: expected float > 0, got '4'"),
        ({"name": "cross_entropy", "label_smoothing": 1.5}, "expected float >= 0 and <= 1, got"),
        ({"name": "bce", "temperature": 1.0}, "loss 'bce' has no parameter 'temperature'. It t"),
    ],
)
def test_parameters_are_checked(node, message):
    with pytest.raises(ConfigError) as error:
        LOSSES.build(node)
    assert message in str(error.value)
