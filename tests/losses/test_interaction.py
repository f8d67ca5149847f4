"""`interaction` against a loop, and what it must not see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.registry import LOSSES
from msdkit.types import ModelOutput

VIEWS = ("multimodal", "text", "image", "audio")


def outputs(logits: dict[str, Tensor]) -> dict[str, ModelOutput]:
    return {view: ModelOutput(x) for view, x in logits.items()}


def distil(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> Tensor:
    return LOSSES.build("interaction")(outputs(student), outputs(teacher), torch.zeros(1))


def draw(seed: int = 0, views: tuple[str, ...] = VIEWS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {v: torch.randn(5, 4, generator=generator, dtype=torch.float64) for v in views}


def test_against_a_loop():
    student, teacher = draw(), draw(1)
    for i, value in enumerate(distil(student, teacher).tolist()):
        parts = []
        for z in (student, teacher):
            z = {v: x[i].tolist() for v, x in z.items()}
            raw = [z["multimodal"][c] - sum(z[m][c] for m in VIEWS[1:]) for c in range(4)]
            parts.append([x - sum(raw) / 4 for x in raw])
        expected = sum((s - t) ** 2 for s, t in zip(*parts, strict=True)) / 4
        assert value == pytest.approx(expected, rel=1e-9)


def test_by_hand():
    zero = torch.zeros(1, 2)
    student = {"multimodal": torch.tensor([[3.0, 1.0]]), "text": zero, "image": zero}
    teacher = {"multimodal": zero, "text": torch.tensor([[2.0, 0.0]]), "image": zero}
    # Centred: the student's is (1, −1), the teacher's (−1, 1)
    assert distil(student, teacher).item() == pytest.approx(4.0)


def test_constants_of_a_view_change_nothing():
    student, teacher = draw(), draw(1)
    moved = [
        {v: x + torch.randn(5, 1, dtype=x.dtype) for v, x in z.items()} for z in (student, teacher)
    ]
    torch.testing.assert_close(distil(*moved), distil(student, teacher))


def test_zero_where_the_interaction_is_the_teachers():
    teacher, parts = draw(), draw(1)
    assert distil(teacher, teacher).tolist() == [0.0] * 5
    student = {m: teacher[m] + parts[m] for m in VIEWS[1:]}
    student["multimodal"] = teacher["multimodal"] + sum(parts[m] for m in VIEWS[1:])
    assert distil(student, teacher).max() < 1e-24


def test_leave_one_out_views_are_not_looked_at():
    student, teacher = draw(), draw(1)
    more = {**teacher, "without_text": torch.full((5, 4), torch.nan)}
    torch.testing.assert_close(distil(student, more), distil(student, teacher))
    torch.testing.assert_close(
        distil({**student, "without_text": more["without_text"]}, more), distil(student, teacher)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_at_extremes_and_the_gradient_is_the_students(dtype):
    student = {v: (100 * x.sign()).to(dtype).requires_grad_() for v, x in draw().items()}
    teacher = {v: (-100 * x.sign()).to(dtype).requires_grad_() for v, x in draw().items()}
    values = distil(student, teacher)
    values.sum().backward()
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert all(x.grad.isfinite().all() and x.grad.any() for x in student.values())
    assert all(x.grad is None for x in teacher.values())


@pytest.mark.parametrize(
    "views", [("multimodal",), ("multimodal", "text", "without_text"), ("image", "text")]
)
def test_too_few_views_are_told(views):
    with pytest.raises(ConfigError, match=f"student gave {', '.join(sorted(views))}, the teacher"):
        distil(draw(views=views), draw())


def test_one_class_is_refused():
    single = {v: x[:, :1] for v, x in draw().items()}
    with pytest.raises(ConfigError, match="two classes or more"):
        distil(single, single)
