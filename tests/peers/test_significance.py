"""Statistics of `compare` against scipy and statsmodels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from agreements import drawn, peer

from msdkit.evaluation.significance import holm, interval, metric_sums, permuted, resampled

RESAMPLES = 2000


def answers(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two methods' logits [N, 2], of which the first is better, and labels [N]"""
    labels = torch.arange(count) % 2
    right = torch.nn.functional.one_hot(labels, 2).double()
    shared = drawn(count, 2, seed=seed)
    better, worse = (drawn(count, 2, seed=seed + i, scale=0.7) for i in (1, 2))
    return 0.9 * right + shared + better, 0.3 * right + shared + worse, labels


def hits(logits: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    return (logits.argmax(-1) == labels).double().numpy()


def sums(logits: torch.Tensor, labels: torch.Tensor) -> list[Any]:
    return [metric_sums("accuracy", logits.softmax(-1), labels, "single_label")]


@pytest.mark.parametrize("count", [12, 60, 500])
def test_permutations(agreement: Any, count: int) -> None:
    known = f"counts all swaps, ours draws {RESAMPLES:,}; the difference is that of p"
    row = agreement(f"permutation test, {count} examples", "statsmodels", "mcnemar", known)
    exact = peer("statsmodels.stats.contingency_tables").mcnemar
    for seed in range(0, 30, 3):
        mine, theirs, labels = answers(count, seed)
        a, b = hits(mine, labels), hits(theirs, labels)
        table = [[(a * b).sum(), (a * (1 - b)).sum()], [((1 - a) * b).sum(), 0]]
        p = exact(np.array(table), exact=True).pvalue
        deviation = max((p * (1 - p) / RESAMPLES) ** 0.5, 1 / RESAMPLES)
        found = permuted(sums(mine, labels), sums(theirs, labels))
        row(found, p, tolerance=4 * deviation, unit=1)


@pytest.mark.parametrize("count", [60, 500])
def test_intervals(agreement: Any, count: int) -> None:
    known = f"of {10 * RESAMPLES:,} resamples, ours of {RESAMPLES:,}; in standard errors"
    row = agreement(f"interval, {count} examples", "scipy", "stats.bootstrap", known)
    bootstrap = peer("scipy.stats").bootstrap
    for seed in range(0, 15, 3):
        mine, theirs, labels = answers(count, seed)
        gap = hits(mine, labels) - hits(theirs, labels)
        found = bootstrap((gap,), np.mean, n_resamples=10 * RESAMPLES, method="percentile",
                          rng=np.random.default_rng(seed)).confidence_interval  # fmt: skip
        drawn_gaps = resampled(sums(mine, labels)) - resampled(sums(theirs, labels))
        error = gap.std() / count**0.5
        row(interval(drawn_gaps), tuple(found), tolerance=0.2, unit=error)


def test_holm(agreement: Any) -> None:
    row = agreement("holm", "statsmodels", 'multipletests, "holm"')
    adjusted = peer("statsmodels.stats.multitest").multipletests
    draw = np.random.default_rng(0)
    for count in (1, 2, 5, 30):
        for power in (1, 4):
            p = (draw.random(count) ** power).round(2)  # some are equal, some 0
            row(holm(p.tolist()), adjusted(p, method="holm")[1])
