"""Intervals and permutation tests against formulas and exhaustive counts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from msdkit.evaluation.significance import (
    Anew,
    Sums,
    holm,
    interval,
    metric_sums,
    permuted,
    resampled,
)
from msdkit.functional import probabilities
from msdkit.registry import METRICS

TASKS = {
    "accuracy": ("single_label", "multi_label"),
    "micro_f1": ("single_label", "multi_label"),
    "macro_f1": ("single_label", "multi_label"),
    "vqa_accuracy": ("soft_target",),
    "calibration_error": ("single_label",),
}
CASES = [(name, task) for name, tasks in TASKS.items() for task in tasks]


def drawn(task: str, n: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(probabilities, labels) of four classes; the last is never right and hardly answered."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 4, generator=rng) - torch.tensor([0.0, 0.0, 0.0, 9.0])
    labels = torch.randint(3, (n,), generator=torch.Generator().manual_seed(9))
    if task != "single_label":
        labels = torch.nn.functional.one_hot(labels, 4) * (1.0 if task == "multi_label" else 0.6)
    return probabilities(task, logits), labels


@pytest.mark.parametrize(("name", "task"), CASES)
def test_sums_give_the_metric(name: str, task: str) -> None:
    """Of every example as often as a resample has it: what torchmetrics says of the rows."""
    shares, labels = drawn(task)
    sums = metric_sums(name, shares, labels, task)
    assert isinstance(sums, Sums)
    anew = Anew(lambda: METRICS.build(name, num_classes=4, task=task), shares, labels)
    weights = torch.from_numpy(np.random.default_rng(0).multinomial(60, [1 / 60] * 60, 5))
    assert sums.weighted(weights).tolist() == pytest.approx(anew.weighted(weights).tolist())


@pytest.mark.parametrize(("name", "task"), CASES)
def test_swapped_answers_give_the_metric(name: str, task: str) -> None:
    (a, labels), (b, _) = drawn(task), drawn(task, seed=1)
    swap = torch.rand(5, 60, generator=torch.Generator().manual_seed(2)) < 0.5
    fast = metric_sums(name, a, labels, task).mixed(metric_sums(name, b, labels, task), swap)

    def build() -> object:
        return METRICS.build(name, num_classes=4, task=task)

    slow = Anew(build, a, labels).mixed(Anew(build, b, labels), swap)
    assert fast.tolist() == pytest.approx(slow.tolist())


def hits(right: list[int]) -> Sums:
    labels = torch.zeros(len(right), dtype=torch.long)
    shares = torch.tensor([[0.9, 0.1] if hit else [0.1, 0.9] for hit in right])
    found = metric_sums("accuracy", shares, labels, "single_label")
    assert isinstance(found, Sums)
    return found


def test_the_p_is_that_of_all_permutations() -> None:
    """2 seeds of 8 examples: of 2^8 ways to swap, the share that is at least as far from 0."""
    ours = [[1, 1, 1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 1, 1, 0, 1]]
    theirs = [[0, 1, 0, 1, 0, 1, 0, 0], [1, 0, 1, 0, 0, 0, 0, 1]]
    per_example = (np.array(ours) - np.array(theirs)).sum(0)
    far = [abs(sum(per_example * s)) for s in product([1, -1], repeat=8)]
    exact = np.mean([x >= abs(per_example.sum()) for x in far])
    found = permuted([hits(x) for x in ours], [hits(x) for x in theirs])
    assert found == pytest.approx(exact, abs=3 * (exact * (1 - exact) / 2000) ** 0.5 + 1 / 2000)


def test_equal_methods_are_exchangeable() -> None:
    run = [hits([1, 0, 1, 1])]
    assert permuted(run, run) == 1


def test_what_is_no_number_is_no_evidence() -> None:
    class Never:
        count, times = 4, 20

        def mixed(self, other: object, swap: torch.Tensor) -> torch.Tensor:
            return torch.full((len(swap),), torch.nan)

    assert permuted([Never()], [Never()]) == 1


def test_resampled_means_vary_as_those_of_new_seeds_would() -> None:
    """Seeds that differ and examples that do not: the variance is s² / n, s² with n − 1."""
    runs = [hits([hit] * 50) for hit in (0, 0, 1, 1)]
    found = resampled(runs)
    assert found[0] == 0.5
    assert np.var(found[1:]) == pytest.approx((1 / 3) / 4, rel=0.08)  # 0.0625 with all n drawn


def test_the_interval_has_the_binomial_width() -> None:
    run = hits([1] * 300 + [0] * 100)
    found = resampled([run])
    assert found[0] == 0.75
    half = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    low, high = interval(found)
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.006)


def test_a_metric_without_sums_is_computed_anew() -> None:
    shares, labels = drawn("single_label", n=20)
    found = metric_sums("auroc", shares[:, :3], labels, "single_label")
    assert isinstance(found, Anew)
    metric = METRICS.build("auroc", num_classes=3, task="single_label")
    metric.update(shares[:, :3], labels)
    assert found.weighted(torch.ones(1, 20).long())[0] == pytest.approx(metric.compute())


def test_resamples_that_leave_a_metric_undefined_do_not_count() -> None:
    """One positive of four: a resample lacks it with probability (3/4)^4; all others say 1."""
    logits = torch.tensor([[0.0, 3.0], [0.0, 2.0], [0.0, 1.0], [0.0, 0.0]])
    run = metric_sums("auroc", logits, torch.tensor([1, 0, 0, 0]), "single_label")
    found = resampled([run])
    assert np.isnan(found).mean() == pytest.approx(0.75**4 + 0.25**4, abs=0.1)
    assert interval(found) == (1, 1)
    assert permuted([run], [run]) == 1


def test_without_a_defined_value_there_is_no_interval() -> None:
    none = metric_sums("auroc", torch.randn(4, 2), torch.ones(4).long(), "single_label")
    found = resampled([none])
    assert np.isnan(found).all()
    assert np.isnan(interval(found)).all()
    assert permuted([none], [none]) == 1


def test_holm() -> None:
    """The steps of Holm's paper: times 4, 3, 2, 1 in order, never falling, at most 1."""
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
