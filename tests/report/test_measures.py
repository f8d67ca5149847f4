"""The report's numbers, against numbers worked out by hand or another way."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from report_subject import VIEWS, made_up
from scipy.special import softmax

from msdkit.report import measures
from msdkit.report.overview import front, verdict
from msdkit.report.subject import Run, Subject
from msdkit.runs.results import Slice


def test_density_of_the_second_of_two_classes(tmp_path: Path) -> None:
    subject = made_up(tmp_path, classes=2)
    assert measures.output_name(subject) == "probability of class 1"
    logits = torch.tensor([[0.0, math.log(0.77 / 0.23)], [0.0, 0.0]])  # .77 and .5
    expected = [10 if i in (15, 10) else 0 for i in range(20)]
    assert measures.density(subject, logits) == pytest.approx(expected)


def test_density_of_the_largest_of_several(tmp_path: Path) -> None:
    subject = made_up(tmp_path)
    assert measures.output_name(subject) == "largest probability"
    logits = subject.methods[0].runs[0].logits["text"]
    largest = softmax(logits.numpy(), -1).max(-1)
    counts = [sum(i <= min(x * 20, 19.5) < i + 1 for x in largest) for i in range(20)]
    expected = [count / len(largest) * 20 for count in counts]
    assert measures.density(subject, logits) == pytest.approx(expected)


def test_distances_are_divergences_from_the_teacher(tmp_path: Path) -> None:
    subject = made_up(tmp_path)
    found = measures.distances(subject, subject.methods[1])
    assert list(found) == VIEWS
    for view in VIEWS:
        p = softmax(subject.teacher[view].numpy(), -1)
        for run, value in zip(subject.methods[1].runs, found[view], strict=True):
            q = softmax(run.logits[view].numpy(), -1)
            assert value == pytest.approx((p * np.log(p / q)).sum(-1).mean())
    assert measures.distances(replace(subject, teacher={}), subject.methods[1]) == {}


def test_reliability_and_its_error_by_hand() -> None:
    """Two answers of .75, one right; two of .95, both right; the rest of the classes share."""
    shares = torch.tensor([[0.75, 0.25], [0.25, 0.75], [0.95, 0.05], [0.05, 0.95]]).double()
    labels = torch.tensor([0, 0, 0, 1])
    confidence, right = measures.confidences("single_label", shares.log(), labels)
    x, y = measures.reliability(confidence, right)
    assert x == pytest.approx([0.75, 0.95])
    assert y == pytest.approx([0.5, 1.0])
    error = measures.calibration_error("single_label", shares.log(), labels)
    assert error == pytest.approx((0.25 + 0.05) / 2)


def test_several_labels_are_calibrated_class_by_class() -> None:
    shares, labels = torch.tensor([[0.9, 0.3], [0.9, 0.3]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    confidence, right = measures.confidences("multi_label", shares.logit(), labels)
    x, y = measures.reliability(confidence, right)
    assert x == pytest.approx([0.3, 0.9], abs=1e-6)
    assert y == pytest.approx([0, 0.5])
    error = measures.calibration_error("multi_label", shares.logit(), labels)
    assert error == pytest.approx((0.3 + 0.4) / 2)


def test_confusion_counts_all_seeds_and_keeps_the_worst() -> None:
    labels = torch.arange(20).repeat(2)
    right = torch.eye(20)[labels]
    wrong = right.clone()
    wrong[3] = torch.eye(20)[7]
    table = measures.confusion([right, wrong], labels, 20)
    assert table.sum() == 80
    assert (table[3, 7], table[3, 3], table[7, 3]) == (1, 3, 0)
    kept = measures.most_confused(table)
    assert len(kept) == measures.CONFUSED
    assert {3, 7} <= set(kept)
    assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("distill", "sampled", "share"),
    [
        ([], False, 1),
        ([{"name": "kd", "views": ["multimodal"]}], False, 1),
        ([{"name": "kd"}], False, 1 + 1 / 3 * 3),
        ([{"name": "kd", "views": ["without_text"]}], False, 1 + 2 / 3),
        ([{"name": "kd"}], True, 1 + 1 / 3),
    ],
)
def test_examples_read_in_training(distill: Any, sampled: bool, share: float) -> None:
    every = "sample" if sampled else "all"
    train = {"batch_size": 8, "accumulate": 2, "views_per_step": every}
    results = SimpleNamespace(config={"train": train, "distill": distill}, steps=10)
    run: Any = SimpleNamespace(results=results)
    assert measures.passes(run, ("text", "image", "audio")) == pytest.approx(160 * share)


def with_results(subject: Subject, **found: Any) -> Subject:
    """The same, where each run says this of its split."""

    def told(run: Run) -> Run:
        split = structs.replace(run.results.evaluated, **found)
        return replace(run, results=structs.replace(run.results, splits={"test": split}))

    methods = [replace(m, runs=[told(run) for run in m.runs]) for m in subject.methods]
    return replace(subject, methods=methods)


def test_scores_of_views_and_slices_with_the_teachers(tmp_path: Path) -> None:
    scored = {"multimodal": {"accuracy": 0.9}}
    part = Slice(student={"multimodal": {"accuracy": 0.3}}, teacher=scored, count=4)
    subject = with_results(made_up(tmp_path), teacher=scored, slices={"first": part})
    found = measures.scores(subject)
    assert list(found["multimodal"]) == ["teacher", "plain", "kd", "msd_saliency"]
    assert found["multimodal"]["teacher"] == [0.9]
    assert found["text"]["kd"] == [0.5, 0.51, 0.52]
    # no run wrote down the teacher's score of this view: it is worked out from its answers
    right = subject.teacher["text"].argmax(-1) == subject.labels
    assert found["text"]["teacher"] == pytest.approx([float(right.float().mean())])
    count, rows = measures.slices(subject)["first"]
    assert (count, rows["teacher"], rows["kd"]) == (4, [0.9], [0.3, 0.3, 0.3])


def test_classes_are_the_frequent_ones(tmp_path: Path) -> None:
    subject = made_up(tmp_path, "multi_label", classes=40)
    found = measures.classes(subject)
    counts = {name: int(rows.sum()) for name, rows in found.items()}
    assert counts.pop("all") == 130
    expected = dict(zip(subject.label_names, subject.labels.sum(0).int().tolist(), strict=True))
    assert counts == {name: expected[name] for name in counts}
    assert sorted(counts.values())[0] >= sorted(expected.values())[-measures.CONFUSED]
    assert list(measures.classes(made_up(tmp_path, "regression"))) == ["all"]


def test_the_front_holds_what_none_beats() -> None:
    points = {"a": (1.0, 0.5), "b": (1.0, 0.6), "c": (2.0, 0.6), "d": (3.0, 0.7), "e": (4.0, 0.1)}
    assert front(points, higher=True) == ["b", "d"]
    assert front(points, higher=False) == ["a", "e"]


@pytest.mark.parametrize(
    ("metric", "mean", "established", "said"),
    [
        ("accuracy", 0.1, True, "better"),
        ("accuracy", -0.1, True, "worse"),
        ("rmse", -0.1, True, "better"),
        ("rmse", -0.1, False, "not established"),
    ],
)
def test_verdicts(metric: str, mean: float, established: bool, said: str) -> None:
    assert verdict({"metric": metric, "mean": mean, "established": established}) == said
