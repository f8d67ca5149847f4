"""Losses that are broken on purpose: the check says which promise broke."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch import nn

from msdkit.testing.losses import check_loss
from msdkit.types import ModelOutput


class Distill(nn.Module):
    """A distill loss that its keyword arguments make."""

    def __init__(self, formula: Any, **marks: Any) -> None:
        super().__init__()
        self.formula = formula
        for name, value in marks.items():
            setattr(self, name, value)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
        return self.formula(student.logits, teacher.logits)


BROKEN_LOSSES = [
    (Distill(lambda s, t: (s - t.detach()).mean()), r"must give \[B\] = \[3\]"),
    (Distill(lambda s, t: (s - t).pow(2).mean(1)), "sends a gradient to the teacher"),
    (Distill(lambda s, t: t.mean(1)), "teacher"),
    (Distill(lambda s, t: s.detach().mean(1)), "sends no gradient to the student"),
    (Distill(lambda s, t: s.exp().sum(1)), "is not finite at torch.float32 logits up to 100"),
    (Distill(lambda s, t: s.softmax(1).log().sum(1)), "is not finite at"),
    (
        Distill(lambda s, t: (s.abs() - 100).abs().sqrt().sum(1)),
        "gradient that is not finite",
    ),
    (Distill(lambda s, t: -(s**2).mean(1), divergence=True), "says `divergence`, but has a mean"),
    (Distill(lambda s, t: (s**2).mean(1), divergence=True), "at the teacher, not 0"),
    (Distill(lambda s, t: s.mean(1), task_kinds={"multi_label"}), "is not for single_label"),
]


@pytest.mark.parametrize(("loss", "message"), BROKEN_LOSSES)
def test_broken_losses(loss, message):
    with pytest.raises(AssertionError, match=message):
        check_loss(loss)


class OnFeatures(Distill):
    """The mean squared gap of features, without a look at the mask unless `masked`."""

    masked = True

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
        total = 0.0
        for name, mine in student.features.items():
            gap = (mine - teacher.features[name].detach()).pow(2)
            if self.masked and name != "pooled":
                shape = (len(mine), *(1 for _ in gap.shape[1:-2]), -1, 1)
                gap = gap * student.mask.view(shape)
            total = total + gap.flatten(1).mean(1)
        return total


class OverViews(Distill):
    scope = "views"

    def forward(self, student: Any, teacher: Any, labels: Any) -> Any:
        assert list(student) == list(teacher) == ["multimodal", "text", "image"]
        return sum(self.formula(student[v].logits, teacher[v].logits) for v in student)


def test_losses_on_features_and_over_all_views():
    needs = ("pooled", "hidden.0", "hidden", "attention", "value")
    check_loss(OnFeatures(None, divergence=True, needs=needs))
    check_loss(OverViews(lambda s, t: (s - t.detach()).pow(2).mean(1), divergence=True))
    with pytest.raises(AssertionError, match="sends a gradient to the teacher"):
        check_loss(OverViews(lambda s, t: (s - t).pow(2).mean(1)))


@pytest.mark.parametrize("need", ["hidden", "hidden.0", "attention", "value"])
def test_a_loss_must_not_read_padding(need):
    with pytest.raises(AssertionError, match=rf"reads '{need}.*' at padding"):
        check_loss(OnFeatures(None, masked=False, needs=(need,)))


def test_a_loss_must_survive_an_example_of_padding_alone():
    class Mean(Distill):
        needs = ("hidden",)

        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
            sums = (student.features["hidden.2"] * student.mask[..., None]).sum((1, 2))
            return sums / student.mask.sum(1)

    with pytest.raises(AssertionError, match=r"is not finite .*, one example all padding"):
        check_loss(Mean(None))


def test_a_loss_may_warn_at_a_batch_of_one():
    class Warns(Distill):
        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
            if len(student.logits) == 1:
                warnings.warn("needs two examples", stacklevel=2)
            return super().forward(student, teacher, labels)

    check_loss(Warns(lambda s, t: (s - t.detach()).pow(2).mean(1)))
