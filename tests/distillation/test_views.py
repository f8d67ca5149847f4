"""Which views a step computes: one drawn, repeated ones once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_student import MODALITIES, THREE, B, C, Sums, batch_of
from torch import Tensor, nn

from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.distillation.views import can_share, drawn
from msdkit.errors import ConfigError
from msdkit.losses.logits import KLDivergence
from msdkit.losses.task import CrossEntropy
from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.models.masking import Zero
from msdkit.types import Batch, ModelOutput, WeightingInput, default_views
from msdkit.weightings.learned import Learned
from msdkit.weightings.saliency import Saliency


def gradients(distiller: Distiller, batch: Batch, step: int = 0) -> dict[str, Tensor]:
    distiller.zero_grad()
    distiller(batch, step).total.backward()
    return {
        n: p.grad.clone() for n, p in distiller.student.named_parameters() if p.grad is not None
    }


def sampling(**changes: Any) -> Distiller:
    terms = [
        Term(KLDivergence(temperature=2.0), weight=0.5),
        Term(KLDivergence(), weight=2.0, views=["without_text", "image"], target="multimodal"),
    ]
    parts: dict[str, Any] = {
        "teacher": Sums(THREE, seed=1),
        "task_loss": CrossEntropy(),
        "terms": terms,
        "weighting": Saliency(),
        "seed": 5,
        **changes,
    }
    return Distiller(Sums(THREE), **parts)


def test_the_mean_over_all_draws_is_the_whole_gradient():
    whole, sample = sampling(), sampling(views_per_step="sample")
    batch, singles = batch_of(THREE), whole.views[1:]
    expected = gradients(whole, batch)
    step_of = {drawn(singles, 5, step): step for step in range(99)}
    assert set(step_of) == set(singles)
    found = [gradients(sample, batch, step) for step in step_of.values()]
    for name, gradient in expected.items():
        mean = torch.stack([g[name] for g in found]).mean(0)
        torch.testing.assert_close(mean, gradient, rtol=1e-5, atol=1e-7)


def test_what_a_draw_leaves_out_is_not_computed():
    distiller = sampling(views_per_step="sample")
    student: Any = distiller.student
    for step in range(5):
        view = drawn(distiller.views[1:], 5, step)
        student.seen.clear()
        output = distiller(batch_of(THREE), step)
        shown = {tuple(m for m in THREE if m in v.visible) for v in (distiller.views[0], view)}
        assert set(student.seen) == shown
        assert list(output.logits) == ["multimodal", view]
        at = distiller.views.index(view)
        assert (output.distill[:, at] > 0).all()
        rest = [v for v in range(1, 5) if v != at]
        assert output.distill[:, rest].abs().sum() == 0
        assert output.weights.shape == (B, 5)  # of all views, as the weighting gives them
        assert output.given is not None
        assert set(output.given.teacher_logits) >= set(distiller.views)


def test_draws_are_even_and_a_function_of_seed_and_step():
    views = default_views(THREE)
    draws = [drawn(views, 0, step) for step in range(4000)]
    torch.manual_seed(7)
    assert draws[:50] == [drawn(views, 0, step) for step in range(50)]
    assert draws[:50] != [drawn(views, 1, step) for step in range(50)]
    for view in views:  # three standard errors
        assert draws.count(view) / 4000 == pytest.approx(0.25, abs=0.021)


def test_what_needs_all_views_refuses_a_draw():
    class Both(nn.Module):
        scope = "views"

    with pytest.raises(ConfigError, match="views_per_step: loss 'Both' needs all views"):
        sampling(terms=[Term(Both())], views_per_step="sample")
    with pytest.raises(ConfigError, match="views_per_step: a weighting that learns needs all"):
        sampling(weighting=Learned(), views_per_step="sample")


# Views that repeat


def repeating(batch: Batch, **content: list[int]) -> Batch:
    """The batch with equal inputs where the content is equal, and with the content."""
    inputs = {
        m: s.rows(torch.tensor([content[m].index(c) for c in content[m]])) if m in content else s
        for m, s in batch.inputs.items()
    }
    told = {m: torch.tensor(c) for m, c in content.items()}
    return replace(batch, inputs=inputs, content=told)


CONTENT: dict[str, list[int]] = {
    "text": [5, 6, 7, 8, 6, 9],
    "image": [3, 3, 3, 1, 3, 1],
    "audio": [0, 1, 2, 3, 4, 5],
}


@pytest.mark.parametrize("live", [True, False])
def test_views_that_repeat_are_computed_once(live):
    batch = repeating(batch_of(THREE), **CONTENT)
    distiller, teacher = sampling(), Sums(THREE, seed=1)
    if not live:
        answers = teacher(batch.inputs, distiller.teacher_views)
        logits = {v: o.logits.detach() for v, o in answers.items()}
        batch, distiller = replace(batch, teacher_logits=logits), sampling(teacher=None)
    student: Any = distiller.student
    shared = gradients(distiller, batch)
    # without_text shows audio, which differs in each example
    assert student.seen == {
        ("text", "image", "audio"): 6,
        ("text",): 5,
        ("image",): 2,
        ("audio",): 6,
        ("image", "audio"): 6,
    }
    if live:
        assert distiller.teacher is not None
        assert distiller.teacher.seen["image",] == 2  # type: ignore[operator, index]
    one = distiller(batch)
    plain = replace(batch, content=None)
    for name, gradient in gradients(distiller, plain).items():
        torch.testing.assert_close(shared[name], gradient, rtol=1e-5, atol=1e-7)
    two = distiller(plain)
    torch.testing.assert_close(one.terms, two.terms)
    torch.testing.assert_close(one.weights, two.weights)
    assert list(one.logits) == list(two.logits)


def test_features_of_repeated_views_are_handed_back_in_order():
    class OnPooled(nn.Module):
        needs = ("pooled",)

        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Tensor:
            assert student.ids == [f"id{i}" for i in range(B)]
            return (student.features["pooled"] - teacher.features["pooled"]).pow(2).mean(1)

    distiller = sampling(terms=[Term(OnPooled())], weighting=None)
    batch = repeating(batch_of(THREE), **CONTENT)
    torch.testing.assert_close(
        distiller(batch).distill, distiller(replace(batch, content=None)).distill
    )


def test_a_view_of_several_modalities_repeats_where_all_do():
    content = {**CONTENT, "audio": [1, 1, 1, 2, 1, 2]}
    distiller = sampling()
    student: Any = distiller.student
    distiller(repeating(batch_of(THREE), **content))
    assert student.seen["image", "audio"] == 2
    assert student.seen["text", "image", "audio"] == 5


def test_little_repetition_and_unknown_content_change_nothing():
    some = {"text": list(range(B)), "image": CONTENT["image"]}
    distiller = sampling()
    student: Any = distiller.student
    distiller(repeating(batch_of(THREE), **some))
    assert student.seen["image",] == 2
    assert student.seen["text",] == student.seen["audio",] == student.seen["image", "audio"] == 6


def test_models_that_look_beyond_the_view_are_not_shared():
    class Normed(Sums):
        def __init__(self) -> None:
            super().__init__(THREE)
            self.norm = nn.BatchNorm1d(C)

    assert can_share(Sums())
    assert not can_share(Normed())
    assert not can_share(nn.Linear(2, 2))  # says nothing of its masking
    kept = FusionTransformer(MODALITIES, C, Zero(), hidden=8, heads=2)
    assert not can_share(kept)  # a hidden modality's length still shows


def test_repeated_views_are_handed_all_inputs():
    class Counting(Sums):
        def forward(self, inputs: Any, views: Any, features: Any = ()) -> Any:
            assert len({len(inputs[m].mask) for m in THREE}) == 1
            return super().forward(inputs, views, features)

    batch = repeating(batch_of(THREE), **CONTENT)
    distiller = Distiller(Counting(THREE), teacher=Sums(THREE), terms=[Term(KLDivergence())])
    assert distiller(batch).total.isfinite()
    student: Any = distiller.student
    assert student.seen["image",] == 2


def test_hidden_modalities_are_drawn_for_each_example():
    distiller = sampling(modality_dropout={"text": 0.5, "image": 0.5})
    content = {m: [0] * B for m in THREE}
    torch.manual_seed(0)
    student: Any = distiller.student
    distiller(repeating(batch_of(THREE), **content))
    assert student.seen["text",] == student.seen["image",] == 1
    assert student.seen["image", "audio"] + student.seen["text", "audio"] == B + 1


def test_content_stays_on_the_host_and_inputs_are_copied_once():
    batch = repeating(batch_of(THREE), **CONTENT)
    batch = replace(batch, teacher_inputs=batch.inputs)
    moved = batch.to("meta")
    assert moved.inputs["text"].values.device.type == "meta"
    assert moved.teacher_inputs is moved.inputs
    assert moved.content is not None
    assert moved.content["text"].device.type == "cpu"


def test_a_weighting_that_reads_an_answer_that_was_not_drawn_is_told() -> None:
    class Reads(nn.Module):
        def forward(self, inputs: WeightingInput) -> Tensor:
            return torch.stack([inputs.student_logits[v][:, 0] for v in inputs.views], 1)

    distiller = Distiller(
        Sums(), terms=[Term(KLDivergence())], weighting=Reads(), views_per_step="sample"
    )
    answers = {view: torch.randn(B, C) for view in default_views(MODALITIES)}
    with pytest.raises(ConfigError, match="Reads reads the student's answers to view"):
        distiller(batch_of(teacher_logits=answers), 0)
