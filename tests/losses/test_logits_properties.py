"""What losses on logits keep for any numbers: signs, shifts, order, scale, symmetry."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_losses import EVERY, SINGLE, distil
from torch import Tensor

from msdkit.functional import pearson_distance, unit_deviations
from msdkit.registry import LOSSES

quarters = st.integers(-120, 120).map(lambda n: n / 4)  # exact, and never all but equal


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Student and teacher `[B, C]`, labels."""
    b, c = draw(st.integers(1, 4)), draw(st.integers(2, 6))

    def numbers(element: st.SearchStrategy, size: int) -> list:
        return draw(st.lists(element, min_size=size, max_size=size))

    student, teacher = (
        torch.tensor(numbers(quarters, b * c), dtype=torch.float64).view(b, c) for _ in range(2)
    )
    return student, teacher, torch.tensor(numbers(st.integers(0, c - 1), b))


few = settings(deadline=None, max_examples=40, derandomize=True)
close = {"rtol": 1e-8, "atol": 1e-8}


@few
@given(batches(), st.sampled_from(EVERY))
def test_divergences_are_not_negative_and_zero_at_the_teacher(batch, name):
    student, teacher, labels = batch
    assert LOSSES.get(name).divergence
    assert distil(name, student, teacher, labels).min() >= -1e-12
    assert distil(name, teacher, teacher, labels).abs().max() <= 1e-12


@few
@given(batches(), quarters, st.sampled_from([n for n in SINGLE if n != "mse_logits"]))
def test_a_softmax_ignores_a_shift(batch, shift, name):
    student, teacher, labels = batch
    shifted = distil(name, student + shift, teacher - shift, labels)
    torch.testing.assert_close(shifted, distil(name, student, teacher, labels), **close)


@few
@given(batches(), st.sampled_from([n for n in EVERY if n != "dkd"]))
def test_the_order_of_classes_and_examples_is_free(batch, name):
    student, teacher, labels = batch
    value = distil(name, student, teacher, labels)
    torch.testing.assert_close(distil(name, student.flip(1), teacher.flip(1)), value, **close)
    torch.testing.assert_close(
        distil(name, student.flip(0), teacher.flip(0)), value.flip(0), **close
    )


@few
@given(batches(), st.sampled_from([0.25, 3.0, 1000.0]), quarters)
def test_kl_standardized_ignores_scale_and_shift(batch, scale, shift):
    student, teacher, _ = batch
    value = distil("kl_standardized", student, teacher)
    for changed in (
        distil("kl_standardized", scale * student + shift, teacher),
        distil("kl_standardized", student, scale * teacher + shift),
    ):
        torch.testing.assert_close(changed, value, **close)


@few
@given(batches(), st.sampled_from([0.25, 3.0]), quarters, st.sampled_from([0, 1]))
def test_pearsons_distance_ignores_scale_and_shift(batch, scale, shift, dim):
    """So `dist` compares probabilities up to a line, per example and per class."""
    first, second, _ = batch
    value = pearson_distance(first, second, dim)
    torch.testing.assert_close(pearson_distance(scale * first + shift, second, dim), value, **close)
    turned = pearson_distance(-first, second, dim)
    both = (unit_deviations(first, dim).square().sum(dim) > 0.5) & (
        unit_deviations(second, dim).square().sum(dim) > 0.5
    )
    torch.testing.assert_close((turned + value)[both], torch.full_like(value[both], 2.0), **close)


@few
@given(batches(), st.sampled_from([1.0, 4.0]))
def test_jsd_is_symmetric_and_bounded(batch, temperature):
    student, teacher, _ = batch
    node = {"name": "jsd", "temperature": temperature}
    value = distil(node, student, teacher)
    torch.testing.assert_close(distil(node, teacher, student), value, **close)
    assert value.max() <= temperature**2 * log(2) + 1e-12
    far = torch.tensor([[1000.0, 0.0]])
    assert distil(node, far, -far).item() == pytest.approx(temperature**2 * log(2))
