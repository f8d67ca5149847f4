"""Predictions per view, their scores, and how far two models agree."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import toy

from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.errors import TrainingError
from msdkit.evaluation.scores import agreement, check_answers, predict, score
from msdkit.runs.saved_model import load
from msdkit.types import default_views

VIEWS = default_views(["text", "image"])

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [-1.0, -2.0, -3.0], [0.5, 0.0, 3.0]])


@pytest.fixture
def split(tmp_path: Path, toy_teacher: Path) -> Split:
    raw = RawSplit(toy.Toy("val", n=10), "val", "single_label")
    return Split(ModelInputs(raw, load(toy_teacher).processors, tmp_path))


def test_predictions_do_not_depend_on_the_batch(split: Split, toy_teacher: Path) -> None:
    model = load(toy_teacher).model
    whole = predict(model, split, VIEWS)
    assert {v: x.shape for v, x in whole.items()} == dict.fromkeys(VIEWS, (10, 3))
    for name, logits in predict(model, split, VIEWS, batch_size=3).items():
        torch.testing.assert_close(logits, whole[name], rtol=0, atol=1e-5)


def test_evaluation_leaves_training_as_it_was(split: Split, toy_teacher: Path) -> None:
    model = load(toy_teacher).model.train()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = predict(model, split, VIEWS)
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert toy.equal(first, predict(model, split, VIEWS))  # no dropout


def test_scores_per_view() -> None:
    logits = {"multimodal": LOGITS, "text": -LOGITS}
    found = score(logits, torch.tensor([0, 0, 2]), ["accuracy"], "single_label")
    assert found == {"multimodal": {"accuracy": 1.0}, "text": {"accuracy": 0.0}}


def test_agreement() -> None:
    other = LOGITS.clone()
    other[0] = torch.tensor([0.0, 1.0, -2.0])
    assert agreement(LOGITS, other, "single_label") == pytest.approx(2 / 3)
    assert agreement(LOGITS, other, "multi_label") == pytest.approx(8 / 9)


def test_agreement_on_numbers_is_a_correlation() -> None:
    """Of each target, so that one of a large mean or unit does not hide another."""
    mine = torch.tensor([[1.0, 1e4 + 1], [2.0, 1e4 + 2], [3.0, 1e4 + 3]])
    theirs = torch.tensor([[1.0, 5.0], [3.0, 3.0], [2.0, 1.0]])
    assert agreement(mine, theirs, "regression") == pytest.approx((0.5 - 1) / 2)
    assert agreement(mine, mine, "regression") == pytest.approx(1)
    assert agreement(torch.ones(3, 1), mine[:, :1], "regression") == 0


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_answers_that_are_no_numbers_are_refused(wrong: float) -> None:
    logits = LOGITS.clone()
    logits[1, 2] = wrong
    with pytest.raises(TrainingError, match=f"view 'text': the answer to row 1 is {wrong}, as is"):
        score({"text": logits}, torch.tensor([0, 0, 2]), ["accuracy"], "single_label")
    with pytest.raises(TrainingError, match="to 'y' of val is"):
        check_answers({"text": logits}, "single_label", ["x", "y", "z"], "val")
    for task in ("single_label", "regression"):
        with pytest.raises(TrainingError, match="view 'teacher'"):
            agreement(LOGITS, logits, task)


def test_a_class_may_be_impossible() -> None:
    logits = LOGITS.clone()
    logits[:, 1] = -math.inf
    found = score({"text": logits}, torch.tensor([0, 0, 2]), ["accuracy", "auroc"], "single_label")
    assert found == {"text": {"accuracy": 1, "auroc": 1}}


def test_a_predicted_number_is_never_infinite() -> None:
    numbers = {"text": torch.tensor([[1.0, 2.0], [1.0, -math.inf]])}
    with pytest.raises(TrainingError, match="'text': the answer to row 1 is -inf, as is that to 1"):
        score(numbers, torch.zeros(2, 2), ["rmse"], "regression")
    check_answers(numbers, "single_label")


def test_without_examples_every_metric_is_undefined() -> None:
    for task, metrics in (("single_label", ["accuracy", "auroc"]), ("regression", ["rmse", "r2"])):
        found = score({"text": torch.empty(0, 2)}, torch.empty(0, 2), metrics, task)["text"]
        assert list(found) == metrics
        assert all(map(math.isnan, found.values()))
