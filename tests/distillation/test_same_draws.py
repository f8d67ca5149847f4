"""A random masking hides a row behind the same other row in teacher and student."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.losses.logits import LogitMSE
from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.models.masking import Drop, Masking, Shuffle
from msdkit.types import Batch, Modality, Padded, View

B = 7
MODALITIES = {"text": Modality("tokens", 9), "image": Modality("features", 3)}


class Noise(Masking):
    """A plugin's: it draws from torch's generator and knows of no step."""

    deterministic = False

    def forward(self, embeddings: Tensor, mask: Tensor, modality: str, token: Any = None) -> Any:
        """[B, L, H], [B, L] -> ([B, L, H], [B, L])"""
        return torch.randn_like(embeddings), mask


class Noting(Shuffle):
    """Keeps the rows that stand in for others."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[int]]] = []

    def forward(self, embeddings: Tensor, mask: Tensor, modality: str, token: Any = None) -> Any:
        """[B, L, H], [B, L] -> ([B, L, H], [B, L])"""
        numbers = torch.arange(len(mask)).float()[:, None, None]
        rows, _ = super().forward(numbers, mask, modality)
        self.seen.append((modality, rows[:, 0, 0].int().tolist()))
        return super().forward(embeddings, mask, modality, token)


def model(masking: Masking, dropout: float = 0.0) -> FusionTransformer:
    torch.manual_seed(0)
    made = FusionTransformer(MODALITIES, 4, masking, hidden=8, layers=1, heads=2, dropout=dropout)
    return made.train()


def batch(count: int = B) -> Batch:
    draws = torch.Generator().manual_seed(1)
    text = torch.randint(9, (count, 5), generator=draws)
    image = torch.randn(count, 4, 3, generator=draws)
    inputs = {
        "text": Padded(text, torch.ones(count, 5, dtype=torch.bool)),
        "image": Padded(image, torch.ones(count, 4, dtype=torch.bool)),
    }
    return Batch([str(i) for i in range(count)], inputs)


def distiller(student: FusionTransformer, teacher: FusionTransformer, **rest: Any) -> Distiller:
    views = ["multimodal", "text", "image", "without_text"]
    return Distiller(student, teacher=teacher, terms=[Term(LogitMSE(), views=views)], **rest)


@pytest.mark.parametrize("masking", [Shuffle, Noise])
@pytest.mark.parametrize("rest", [{}, {"views_per_step": "sample"}])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(masking: Any, rest: Any) -> None:
    student = model(masking())
    teacher = deepcopy(student)
    step = distiller(student, teacher, **rest)
    losses = torch.stack([step(batch(), step=i).distill for i in range(3)])
    torch.testing.assert_close(losses, torch.zeros_like(losses), atol=1e-10, rtol=0)


def test_dropout_of_the_student_changes_nothing_of_that() -> None:
    mine, theirs = Noting(), Noting()
    step = distiller(model(mine, dropout=0.5), model(theirs))
    for i in range(4):
        step(batch(), step=i)
    assert sorted(map(str, mine.seen)) == sorted(map(str, theirs.seen))


def test_the_partners_are_new_at_each_step_and_follow_the_seed() -> None:
    """And those of the two modalities differ: what is hidden together comes from two rows."""

    def partners() -> list[dict[str, set[str]]]:
        masking, found = Noting(), []
        step = distiller(model(masking), model(Shuffle()))
        torch.manual_seed(5)
        for i in range(3):
            masking.seen.clear()
            step(batch(), step=i)
            found.append({m: {str(r) for n, r in masking.seen if n == m} for m in MODALITIES})
        return found

    first = partners()
    for step in first:
        assert [len(rows) for rows in step.values()] == [1, 1]  # in each view the same
        assert step["text"] != step["image"]
    assert len({str(step) for step in first}) == 3
    assert partners() == first


def test_outside_of_a_step_each_call_draws_for_itself() -> None:
    masking = Noting()
    student = model(masking)
    step = distiller(student, model(Shuffle()))
    step(batch())
    masking.seen.clear()
    student.eval()
    for _ in range(3):
        student(batch().inputs, [View("text", ["text"])])
    assert len({str(row) for row in masking.seen}) == 3


def test_the_generator_goes_on_as_if_nothing_was_drawn_inside() -> None:
    """A step takes one number from it, whatever the masking draws; without one it takes none."""

    def state_after(count: int) -> Tensor:
        torch.manual_seed(3)
        distiller(model(Shuffle()), model(Shuffle()))
        torch.manual_seed(3)
        for _ in range(count):
            torch.randint(2**62, ())
        return torch.get_rng_state()

    expected = state_after(1)
    step = distiller(model(Shuffle()), model(Shuffle()))
    torch.manual_seed(3)
    step(batch())
    assert torch.equal(torch.get_rng_state(), expected)
    plain = distiller(model(Drop()), model(Drop()))
    torch.manual_seed(3)
    plain(batch())
    assert torch.equal(torch.get_rng_state(), state_after(0))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks at it itself
@torch._dynamo.config.patch(fail_on_recompile_limit_hit=True)
def test_a_compiled_student_draws_the_same() -> None:
    """And is not compiled anew for each seed."""
    student = model(Shuffle())
    step = distiller(student, deepcopy(student))
    student.compile(dynamic=True, backend="eager")
    for i in range(2 * torch._dynamo.config.recompile_limit):
        loss = step(batch(), step=i).distill
        torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-10, rtol=0)
