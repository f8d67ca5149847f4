"""Losses that are broken on purpose: the check says which promise broke."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
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


def gap(s: Any, t: Any) -> Any:
    return (s - t.detach()).pow(2).mean(1)


def halved(s: Any, t: Any) -> Any:
    return gap(s, t.div_(2))


def noisy(s: Any, t: Any) -> Any:
    return gap(s, t) + torch.rand(len(s)) * s.mean().detach()


def zeros(s: Any, t: Any) -> Any:
    return gap(s, t).mean().expand(len(s)) * 0 + gap(s, t)


OTHERS, PLACE = "lets other examples change", "another value at another place"
ALONE, GRADIENT = "another value alone", "sends an example's gradient to other examples"
COUPLED = [
    (lambda s, t: gap(s, t).mean().expand(len(s)), OTHERS),
    (lambda s, t: gap(s, t).sum().repeat(len(s)) / len(s), OTHERS),
    (lambda s, t: gap(s, t) - gap(s, t).mean().detach(), OTHERS),
    (lambda s, t: (s - s.mean(0)).pow(2).mean(1), OTHERS),
    (lambda s, t: gap(s, t) * (gap(s, t) / (1 + gap(s, t).sum())).detach(), OTHERS),
    (lambda s, t: gap(s, t).cumsum(0), OTHERS),
    (lambda s, t: gap(s.roll(1, 0), t), OTHERS),
    (lambda s, t: gap(s, t.detach()[:1]), OTHERS),
    (noisy, OTHERS),
    (lambda s, t: gap(s, t) * torch.arange(1, len(s) + 1), PLACE),
    (lambda s, t: gap(s, t) / len(s), ALONE),
    (lambda s, t: gap(s, t) * (len(s) > 1), ALONE),
    (lambda s, t: gap(s, t) + s.mean() - s.mean().detach(), GRADIENT),
    (halved, "changes what it is given, in place"),
]


@pytest.mark.parametrize(("formula", "message"), COUPLED)
def test_a_disguised_reduction_is_found(formula: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_loss(Distill(formula))


@pytest.mark.parametrize("formula", [f for f, message in COUPLED if "in place" not in message])
def test_what_says_batch_coupled_may_look_at_its_batch(formula: Any) -> None:
    check_loss(Distill(formula, batch_coupled=True))


def test_drawing_at_random_is_no_coupling() -> None:
    check_loss(Distill(lambda s, t: gap(s, t) * torch.rand(len(s))))
    check_loss(Distill(zeros))


def test_the_labels_of_others_and_a_task_loss() -> None:
    def by_frequency(logits: Any, labels: Any) -> Any:
        alike = (labels[:, None] == labels).sum(1)
        return F.cross_entropy(logits, labels, reduction="none") / alike

    class Task(nn.Module):
        def __init__(self, formula: Any) -> None:
            super().__init__()
            self.formula = formula

        def forward(self, logits: Any, labels: Any) -> Any:
            return self.formula(logits, labels)

    check_loss(Task(lambda x, y: F.cross_entropy(x, y, reduction="none")))
    with pytest.raises(AssertionError, match=OTHERS):
        check_loss(Task(lambda x, y: F.cross_entropy(x, y).expand(len(x))))
    with pytest.raises(AssertionError, match=OTHERS):
        check_loss(Task(by_frequency), num_classes=2)
    with pytest.raises(AssertionError, match="changes what it is given"):
        check_loss(Task(lambda x, y: F.cross_entropy(x, y.fill_(0), reduction="none")))


def test_features_and_memories_of_others() -> None:
    class Relations(Distill):
        needs = ("pooled",)

        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
            mine, theirs = student.features["pooled"], teacher.features["pooled"].detach()
            return (mine @ mine.T - theirs @ theirs.T).pow(2).mean(1)

    class Running(Distill):
        """A mean that its own batch moves before it is used."""

        scale = 1.0

        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
            values = gap(student.logits, teacher.logits)
            self.scale = 0.9 * self.scale + 0.1 * float(values.detach().mean())
            return values / self.scale

    class Before(Running):
        """The same, used first: the batches before this one are no part of it."""

        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
            scale = self.scale
            return super().forward(student, teacher, labels) * self.scale / scale

    for loss in (Relations(None), Running(None)):
        with pytest.raises(AssertionError, match=OTHERS):
            check_loss(loss)
    check_loss(Before(None))


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
