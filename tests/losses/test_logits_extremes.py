"""Losses on logits at large, equal and half-precision numbers, and at a batch of one."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from logit_losses import EVERY, distil
from torch import Tensor

from msdkit.functional import unit_deviations
from msdkit.registry import LOSSES
from msdkit.types import ModelOutput


def extremes() -> Tensor:
    """Every pattern of ±100 over three classes, and constants."""
    signs = torch.cartesian_prod(*[torch.tensor([-100.0, 100.0])] * 3)
    return torch.cat([signs, torch.zeros(1, 3), torch.full((1, 3), 0.1)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", EVERY)
def test_finite_at_extreme_logits(name, dtype):
    rows = extremes().to(dtype)
    n = len(rows)
    student = rows.repeat_interleave(n, 0).requires_grad_()
    teacher = rows.repeat(n, 1).requires_grad_()
    value = distil(name, student, teacher, torch.arange(n * n) % 2)  # class 2 is missing
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    value.sum().backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e4
    assert teacher.grad is None


@pytest.mark.parametrize("name", EVERY)
def test_one_example(name):
    student = torch.tensor([[1.0, -2.0, 0.5]], requires_grad=True)
    value = distil(name, student, torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([1]))
    assert value.shape == (1,)
    value.sum().backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0


def test_dist_of_one_example_has_its_row_and_warns_once():
    student, teacher = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.0, 3.0, 1.0]])
    outputs = ModelOutput(student), ModelOutput(teacher)
    loss = LOSSES.build("dist")
    with pytest.warns(UserWarning, match="Dist: a batch of one has no columns; their term is 0"):
        value = loss(*outputs, torch.tensor([0]))
    r = np.corrcoef(student.softmax(1)[0], teacher.softmax(1)[0])[0, 1]
    assert value.item() == pytest.approx(1 - r, abs=1e-6)
    assert loss(*outputs, torch.tensor([0])).item() == value.item()  # a warning would be an error


@pytest.mark.parametrize("constant", [0.0, 0.1, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_constant_logits_have_no_direction(constant, dtype):
    flat = torch.full((2, 10), constant, dtype=dtype)
    assert unit_deviations(flat).abs().max() < 1e-4
    for name in ("kl_standardized", "dist"):
        student = flat.clone().requires_grad_()
        teacher = torch.arange(20, dtype=dtype).view(2, 10) % 7
        distil(name, student, teacher).sum().backward()
        assert student.grad.isfinite().all()
        assert 0 < student.grad.abs().max() < 100


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's forward mode
@pytest.mark.parametrize("name", EVERY)
def test_gradients_by_differences(seeded, name):
    student, teacher, labels = (x[:3] for x in seeded)

    def of(z: Tensor) -> Tensor:
        return distil(name, z, teacher, labels)

    assert torch.autograd.gradcheck(of, (student.requires_grad_(),), check_forward_ad=True)


def test_half_precision_is_summed_in_single():
    far = torch.tensor([[100.0, -100.0]], dtype=torch.float16)
    for name, expected in (("kl", 200), ("reverse_kl", 200), ("sigmoid_kl", 200), ("jsd", log(2))):
        assert distil(name, far, -far).dtype == torch.float32
        assert distil(name, far, -far).item() == pytest.approx(expected)
