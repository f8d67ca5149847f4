"""One step against the formula in a loop, and what must not reach what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_student import MODALITIES, THREE, B, Sums, batch_of, kl_row
from torch import Tensor, nn

from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.distillation.views import distilled_views, merge_views
from msdkit.errors import ConfigError
from msdkit.losses.logits import KLDivergence
from msdkit.losses.task import CrossEntropy
from msdkit.types import Modality, ModelOutput, View, WeightingInput, default_views
from msdkit.weightings.saliency import Saliency


class ByIndex(nn.Module):
    """Weights that differ by example and view, with a gradient that must not get through."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.given: WeightingInput | None = None

    def forward(self, inputs: WeightingInput) -> Tensor:
        self.given = inputs
        shape = inputs.losses.shape
        return self.scale * torch.arange(shape.numel()).reshape(shape) / 10


TERMS = [
    Term(KLDivergence(temperature=2.0), weight=0.5, name="kl"),
    Term(KLDivergence(), weight=2.0, views=["without_text", "image"], target="multimodal"),
    Term(KLDivergence(temperature=3.0), weight=4.0, ramp=8, views=["multimodal"], name="kl"),
]
VIEWS = ["multimodal", "text", "image", "audio", "without_text"]


def test_the_formula_in_a_loop():
    student, teacher = Sums(THREE, seed=0), Sums(THREE, seed=1)
    weighting, step, task_weight = ByIndex(), 2, 0.7
    distiller = Distiller(
        student,
        teacher=teacher,
        task_loss=CrossEntropy(),
        terms=TERMS,
        weighting=weighting,
        task_weight=task_weight,
    )
    batch = batch_of(THREE)
    assert batch.labels is not None
    output = distiller(batch, step)
    assert distiller.views == VIEWS
    views = [View.parse(v, THREE) for v in VIEWS]
    with torch.no_grad():
        s = {v: o.logits for v, o in student(batch.inputs, views).items()}
        t = {v: o.logits for v, o in teacher(batch.inputs, views).items()}
    total = 0.0
    for i in range(B):
        task = -float(s["multimodal"][i].double().log_softmax(0)[batch.labels[i]])
        example = task_weight * task
        for v, view in enumerate(VIEWS):
            weight = 2 * (i * len(VIEWS) + v) / 10
            if view in ("multimodal", "text", "image", "audio"):
                example += weight * 0.5 * kl_row(t[view][i], s[view][i], 2.0)
            if view in ("without_text", "image"):
                example += weight * 2.0 * kl_row(t["multimodal"][i], s[view][i], 1.0)
            if view == "multimodal":  # step 2 of a ramp of 8
                example += weight * 4.0 * 2 / 8 * kl_row(t[view][i], s[view][i], 3.0)
        total += example / B
        assert output.task[i].item() == pytest.approx(task, rel=1e-5)
    assert output.total.item() == pytest.approx(total, rel=1e-5)
    assert output.distill.shape == output.weights.shape == (B, len(VIEWS))
    assert list(output.terms) == ["kl_0", "KLDivergence", "kl_2"]
    assert output.terms["kl_2"][:, 1:].abs().sum() == 0
    assert output.terms["kl_2"].mean() > 0  # before weight and ramp
    for view in VIEWS:
        torch.testing.assert_close(output.logits[view], s[view])


def test_what_the_weighting_is_given():
    weighting = ByIndex()
    distiller = Distiller(
        Sums(), teacher=Sums(seed=1), terms=[Term(KLDivergence())], weighting=weighting
    )
    output = distiller(batch_of(), 5)
    given = weighting.given
    assert given is not None
    assert (given.step, given.ids, given.task) == (5, [f"id{i}" for i in range(B)], "single_label")
    assert [v.visible for v in given.views] == [{"text", "image"}, {"text"}, {"image"}]
    torch.testing.assert_close(given.losses, output.distill.detach())
    assert not given.losses.requires_grad
    assert not any(x.requires_grad for x in given.student_logits.values())
    assert not any(x.requires_grad for x in given.teacher_logits.values())
    assert not output.weights.requires_grad
    output.total.backward()
    assert weighting.scale.grad is None


@pytest.mark.parametrize(
    ("ramp", "steps"), [(0, [1.5, 1.5, 1.5]), (4, [0.0, 0.375, 1.5]), (1, [0.0, 1.5, 1.5])]
)
def test_ramps(ramp, steps):
    term = Term(KLDivergence(), weight=1.5, ramp=ramp)
    assert [term.factor(step) for step in (0, 1, 9)] == steps


def test_weights_ramps_and_weighting_may_change_between_steps():
    student, teacher = Sums(THREE, seed=0), Sums(THREE, seed=1)
    terms = [Term(KLDivergence(), views=["text"])]
    distiller, batch = Distiller(student, teacher=teacher, terms=terms), batch_of(THREE)
    before = distiller(batch, 1).distill
    terms[0].weight, terms[0].ramp = 3.0, 6
    assert torch.allclose(distiller(batch, 1).distill, before / 2)
    distiller.weighting = ByIndex()
    assert distiller(batch, 1).weights[1, 1] == pytest.approx(0.6)


def test_the_teacher_is_frozen_and_outside():
    teacher = Sums(seed=1)
    distiller = Distiller(
        Sums(), teacher=teacher, task_loss=CrossEntropy(), terms=[Term(KLDivergence())]
    )
    assert distiller.teacher is teacher
    distiller.train()
    assert not teacher.training
    distiller(batch_of()).total.backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(p.grad is not None for p in distiller.student.parameters())
    mine = {id(p) for p in distiller.parameters()}
    assert not any(id(p) in mine for p in teacher.parameters())
    assert set(distiller.state_dict()) == {
        f"student.linear.{n}.{p}" for n in MODALITIES for p in ("weight", "bias")
    }


def test_a_loss_with_parameters_is_part_of_the_module():
    loss = KLDivergence()
    loss.scale = nn.Parameter(torch.ones(()))
    distiller = Distiller(Sums(), teacher=Sums(seed=1), terms=[Term(loss)])
    assert "losses.0.scale" in distiller.state_dict()


def test_without_terms_the_student_is_trained_alone():
    distiller = Distiller(Sums(), task_loss=CrossEntropy(), weighting=Saliency())
    output = distiller(batch_of())
    assert distiller.views == ["multimodal"]
    assert distiller.teacher_views == []
    assert output.total.item() == pytest.approx(output.task.mean().item())
    assert output.terms == {}
    assert output.distill.tolist() == [[0.0]] * B


def test_without_a_task_loss_labels_are_not_needed():
    distiller = Distiller(Sums(), teacher=Sums(seed=1), terms=[Term(KLDivergence())])
    output = distiller(batch_of(labels=None))
    assert output.total.item() == pytest.approx(output.distill.sum(1).mean().item())
    with pytest.raises(ConfigError, match="the task loss needs labels, and this batch has none"):
        Distiller(Sums(), task_loss=CrossEntropy())(batch_of(labels=None))


def test_cached_answers_equal_live_ones():
    student, teacher = Sums(), Sums(seed=1)
    parts: dict[str, Any] = {
        "terms": [Term(KLDivergence(temperature=2.0)), Term(KLDivergence(), target="text")],
        "weighting": Saliency(),
        "task_loss": CrossEntropy(),
    }
    live = Distiller(student, teacher=teacher, **parts)
    cached = Distiller(student, **parts)
    assert live.teacher_views == cached.teacher_views
    batch = batch_of()
    with torch.no_grad():
        answers = teacher(batch.inputs, live.teacher_views)
    logits = {view: output.logits for view, output in answers.items()}
    one, two = live(batch), cached(batch_of(teacher_logits=logits))
    for name in ("total", "task", "distill", "weights"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    with pytest.raises(ConfigError, match="distillation needs a teacher, or batches with"):
        cached(batch)


def test_a_live_teacher_reads_its_own_inputs():
    class Other(Sums):
        def __init__(self) -> None:
            super().__init__({n: Modality("features", 9) for n in MODALITIES}, seed=1)

    teacher = Other()
    theirs = batch_of(teacher.modalities).inputs
    distiller = Distiller(Sums(), teacher=teacher, terms=[Term(KLDivergence())])
    output = distiller(batch_of(teacher_inputs=theirs))
    expected = teacher(theirs, [View("text", ["text"])])["text"].logits
    student = output.logits["text"]
    rows = [kl_row(t, s, 1.0) for t, s in zip(expected, student.detach(), strict=True)]
    assert output.distill[:, 1].tolist() == pytest.approx(rows, rel=1e-4, abs=1e-6)


def test_a_loss_over_all_views_is_called_once():
    class Gap(nn.Module):
        scope = "views"
        calls = 0

        def forward(self, student: Any, teacher: Any, labels: Any) -> Tensor:
            self.calls += 1
            assert student["text"].ids == [f"id{i}" for i in range(B)]
            return (student["text"].logits - teacher["image"].logits).pow(2).mean(1)

    loss = Gap()
    output = Distiller(Sums(), teacher=Sums(seed=1), terms=[Term(loss)])(batch_of())
    assert loss.calls == 1
    assert output.distill.shape == (B, 3)
    assert (output.distill[:, 0] > 0).all()
    assert output.distill[:, 1:].abs().sum() == 0


def test_features_that_losses_need_are_asked_for():
    class OnPooled(nn.Module):
        needs = ("pooled",)

        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Tensor:
            return (student.features["pooled"] - teacher.features["pooled"]).pow(2).mean(1)

    terms = [Term(OnPooled()), Term(OnPooled(), views=["text"])]
    for dropout in ({}, {"text": 0.5}):
        distiller = Distiller(Sums(), teacher=Sums(seed=1), terms=terms, modality_dropout=dropout)
        assert distiller.student_features == distiller.teacher_features == ("pooled",)
        assert (distiller(batch_of()).distill > 0).all()


def test_views_and_teacher_views():
    assert distilled_views([None], list(THREE)) == default_views(THREE)
    assert distilled_views([], list(THREE)) == ["multimodal"]
    assert distilled_views([["text"], ["without_text"]], list(THREE)) == [
        "multimodal",
        "text",
        "without_text",
    ]
    first = default_views(MODALITIES)[:1]
    assert merge_views(first, ["text", "multimodal", "text"], list(MODALITIES)) == [
        "multimodal",
        "text",
    ]
    with pytest.raises(ConfigError, match=r"unknown view 'txt'\. Did you mean 'text'"):
        distilled_views([["txt"]], list(THREE))
    distiller = Distiller(
        Sums(THREE),
        terms=[Term(KLDivergence(), views=["text"], target="without_image")],
        weighting=Saliency(),
    )
    assert distiller.views == ["multimodal", "text"]
    rest = [f"without_{m}" for m in THREE]
    assert set(distiller.teacher_views) == {"multimodal", *THREE, *rest}
    assert distiller.teacher_views[0] == "multimodal"


def test_weights_of_a_wrong_shape_are_refused():
    class Flat(nn.Module):
        def forward(self, inputs: WeightingInput) -> Tensor:
            return inputs.losses[:, 0]

    terms = [Term(KLDivergence())]
    distiller = Distiller(Sums(), teacher=Sums(seed=1), terms=terms, weighting=Flat())
    with pytest.raises(ConfigError) as error:
        distiller(batch_of())
    assert str(error.value) == (
        "weighting Flat gave weights of shape [6], expected [B, V] = [6, 3]"
    )


@pytest.mark.parametrize("scope", ["view", "views"])
def test_losses_of_a_wrong_shape_are_refused(scope):
    class Mean(nn.Module):
        def forward(self, student: Any, teacher: Any, labels: Tensor) -> Tensor:
            return torch.zeros(())

    loss = Mean()
    loss.scope = scope  # type: ignore[assignment]
    distiller = Distiller(Sums(), teacher=Sums(seed=1), terms=[Term(loss)])
    with pytest.raises(ConfigError, match=rf"'Mean' gave values of shape \[\], .* = \[{B}\]"):
        distiller(batch_of())


def test_losses_stay_in_single_precision_beside_half_precision_logits():
    class Half(Sums):
        def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
            return ModelOutput(super().forward_view(inputs).logits.bfloat16())

    terms = [Term(KLDivergence(), views=["text"])]
    output = Distiller(Half(), teacher=Half(seed=1), terms=terms)(batch_of())
    assert output.terms["KLDivergence"].dtype == torch.float32
    logits, teacher = output.logits["text"].float(), Half(seed=1)
    theirs = teacher(batch_of().inputs, [View("text", ["text"])])["text"].logits.float()
    rows = [kl_row(t, s, 1.0) for t, s in zip(theirs.detach(), logits.detach(), strict=True)]
    assert output.distill[:, 1].tolist() == pytest.approx(rows, rel=1e-5, abs=1e-7)
