"""Divergences, task losses and margins against numbers by hand and float64 loops."""

from __future__ import annotations

from math import exp, inf, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from msdkit.functional import (
    divergence,
    margin,
    probabilities,
    sigmoid_kl,
    softmax_kl,
    task_loss,
    upcast,
)

numbers = st.floats(-30, 30, allow_nan=False, width=32)


def logits_of(size: int) -> st.SearchStrategy[Tensor]:
    return st.lists(numbers, min_size=size, max_size=size).map(
        lambda row: torch.tensor([row], dtype=torch.float64)
    )


pairs = st.integers(2, 6).flatmap(lambda c: st.tuples(logits_of(c), logits_of(c)))


def softmax_loop(row: list[float]) -> list[float]:
    top = max(row)
    parts = [exp(x - top) for x in row]
    return [p / sum(parts) for p in parts]


def softmax_kl_loop(teacher: list[float], student: list[float], temperature: float) -> float:
    """Σ_c p_c log(p_c / q_c)"""
    p = softmax_loop([x / temperature for x in teacher])
    q = softmax_loop([x / temperature for x in student])
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


def sigmoid_kl_loop(teacher: list[float], student: list[float], temperature: float) -> float:
    """Σ_c p log(p / q) + (1 − p) log((1 − p) / (1 − q))"""
    total = 0.0
    for t, s in zip(teacher, student, strict=True):
        p, q = 1 / (1 + exp(-t / temperature)), 1 / (1 + exp(-s / temperature))
        no_p, no_q = 1 / (1 + exp(t / temperature)), 1 / (1 + exp(s / temperature))
        total += p * log(p / q) + no_p * log(no_p / no_q)
    return total


def test_softmax_kl_by_hand():
    # p = (3/4, 1/4), q = (1/2, 1/2): 3/4 log(3/2) + 1/4 log(1/2)
    teacher, student = torch.tensor([[log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * log(1.5) + 0.25 * log(0.5)
    assert softmax_kl(teacher, student).item() == pytest.approx(expected, abs=1e-6)
    # the other way: 1/2 log(2/3) + 1/2 log 2
    back = 0.5 * log(2 / 3) + 0.5 * log(2)
    assert softmax_kl(student, teacher).item() == pytest.approx(back, abs=1e-6)
    # at temperature 2, the logits log 9 and 0 are log 3 and 0
    teacher = torch.tensor([[log(9.0), 0.0]])
    assert softmax_kl(teacher, student, 2.0).item() == pytest.approx(expected, abs=1e-6)


def test_sigmoid_kl_by_hand():
    # two independent classes, p = 3/4 and 1/2 against q = 1/2 and 1/2
    teacher, student = torch.tensor([[log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * log(1.5) + 0.25 * log(0.5)
    assert sigmoid_kl(teacher, student).item() == pytest.approx(expected, abs=1e-6)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(pairs, st.sampled_from([0.5, 1.0, 4.0]))
def test_divergences_agree_with_loops(pair, temperature):
    teacher, student = pair
    rows = teacher[0].tolist(), student[0].tolist()
    for fast, slow in ((softmax_kl, softmax_kl_loop), (sigmoid_kl, sigmoid_kl_loop)):
        expected = slow(*rows, temperature)
        value = fast(teacher, student, temperature).item()
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert value >= -1e-9
        assert fast(teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-12)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(pairs, numbers)
def test_properties(pair, shift):
    teacher, student = pair
    shifted = softmax_kl(teacher + shift, student - shift)
    torch.testing.assert_close(shifted, softmax_kl(teacher, student), rtol=1e-9, atol=1e-9)
    order = torch.arange(teacher.shape[1]).flip(0)
    for function in (softmax_kl, sigmoid_kl):
        mixed = function(teacher[:, order], student[:, order])
        torch.testing.assert_close(mixed, function(teacher, student), rtol=1e-9, atol=1e-9)
    # A pair (z, 0) under a softmax is one class under a sigmoid
    zero = torch.zeros_like(teacher[:, :1])
    both = softmax_kl(torch.cat([teacher[:, :1], zero], 1), torch.cat([student[:, :1], zero], 1))
    torch.testing.assert_close(both, sigmoid_kl(teacher[:, :1], student[:, :1]), atol=1e-9, rtol=0)


def test_extremes_are_exact_and_finite():
    far = torch.tensor([[100.0, -100.0, 100.0]])
    # log p_max = 0 of two equal tops: p = (1/2, 0, 1/2); the student's are (0, 1, 0)
    assert softmax_kl(far, -far).item() == pytest.approx(200 - log(2))
    assert sigmoid_kl(far, -far).item() == pytest.approx(300)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for function in (softmax_kl, sigmoid_kl):
            student = -far.to(dtype)
            student.requires_grad_()
            value = function(far.to(dtype), student)
            assert value.dtype == torch.float32
            value.sum().backward()
            assert student.grad is not None
            assert student.grad.isfinite().all()


def test_upcast_leaves_what_is_wide_enough():
    for dtype, wanted in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert upcast(torch.ones(1, dtype=dtype)).dtype == wanted


def test_divergence_and_probabilities_fit_the_task():
    teacher, student = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.3, 0.1, -1.0]])
    rows = teacher[0].tolist(), student[0].tolist()
    assert divergence("single_label", teacher, student).item() == pytest.approx(
        softmax_kl_loop(*rows, 1), rel=1e-5
    )
    for task in ("multi_label", "soft_target"):
        value = divergence(task, teacher, student).item()
        assert value == pytest.approx(sigmoid_kl_loop(*rows, 1), rel=1e-5)
        expected = [1 / (1 + exp(-x)) for x in rows[0]]
        assert probabilities(task, teacher)[0].tolist() == pytest.approx(expected)
    single = probabilities("single_label", teacher)[0].tolist()
    assert single == pytest.approx(softmax_loop(rows[0]))
    assert probabilities("single_label", teacher.bfloat16()).dtype == torch.float32


def test_regression_by_hand():
    teacher, student = torch.tensor([[1.0, -2.0], [0.0, 0.0]]), torch.tensor([[0.5, 1.0], [0, 0]])
    assert divergence("regression", teacher, student).tolist() == [0.5 * (0.25 + 9), 0]
    # of normals of variance 1, by torch's own formula
    normals = [torch.distributions.Normal(mean, 1.0) for mean in (teacher, student)]
    expected = torch.distributions.kl_divergence(*normals).sum(1)
    torch.testing.assert_close(divergence("regression", teacher, student), expected)
    assert probabilities("regression", teacher) is teacher
    assert task_loss("regression", student, teacher).tolist() == [(0.25 + 9) / 2, 0]
    assert margin("regression", student, teacher).tolist() == [-(0.5 + 3) / 2, 0]
    half = student.bfloat16()
    for measure in (task_loss, margin, divergence):
        assert measure("regression", half, teacher).dtype == torch.float32


def test_task_loss_by_hand():
    logits = torch.tensor([[log(3.0), 0.0], [0.0, log(3.0)]])
    single = task_loss("single_label", logits, torch.tensor([0, 0]))
    assert single.tolist() == pytest.approx([log(4 / 3), log(4)])
    # −Σ y log σ(z) + (1 − y) log σ(−z); σ(log 3) = 3/4, σ(0) = 1/2
    multi = task_loss("multi_label", logits, torch.tensor([[1, 1], [1, 0]]))
    assert multi.tolist() == pytest.approx([log(4 / 3) + log(2), log(2) + log(4)])
    soft = task_loss("soft_target", logits, torch.tensor([[0.5, 0.0], [0.0, 1.0]]))
    assert soft.tolist() == pytest.approx(
        [0.5 * log(4 / 3) + 0.5 * log(4) + log(2), log(2) + log(4 / 3)]
    )


def test_margin_by_hand():
    logits = torch.tensor([[3.0, 1.0, -2.0], [3.0, 1.0, -2.0]])
    assert margin("single_label", logits, torch.tensor([0, 2])).tolist() == [2.0, -5.0]
    soft = torch.tensor([[0.2, 0.9, 0.0], [1.0, 0.0, 0.9]])
    assert margin("soft_target", logits, soft).tolist() == [-2.0, 2.0]
    multi = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert margin("multi_label", logits, multi).tolist() == pytest.approx([4 / 3, -4 / 3])
    assert margin("single_label", logits, torch.tensor([0, 1])).max() < inf
