"""Whether two methods differ: paired bootstrap intervals and permutation tests of any metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from msdkit import traits
from msdkit.registry import METRICS
from msdkit.types import Task

LEVEL = 95  # per cent
MEMORY = 1 << 24  # examples × resamples drawn at once


class MetricSums(Protocol):
    """A run's answers to N examples under one metric; `times` it is drawn anew."""

    count: int
    times: int

    def weighted(self, weights: Tensor) -> Tensor:
        """int [R, N], how often each example counts -> the metric, [R]"""

    def mixed(self, other: Any, swap: Tensor) -> Tensor:
        """bool [R, N], where the other's answer stands for this one -> the metric, [R]"""


class Sums:
    """Answers under a metric of sums over the examples; counts is `[N, K]`."""

    times = 2000

    def __init__(self, metric: Any, counts: Tensor) -> None:
        self.metric, self.counts, self.count = metric, counts.double(), len(counts)

    def weighted(self, weights: Tensor) -> Tensor:
        return self.metric.of_counts(weights.double() @ self.counts)

    def mixed(self, other: Sums, swap: Tensor) -> Tensor:
        sums = self.counts.sum(0) + swap.double() @ (other.counts - self.counts)
        return self.metric.of_counts(sums)


class Anew:
    """Answers under a metric that must be computed anew each time, such as an area under a curve.

    build makes the metric; answers are `[N, C]`. A metric of classes is that of those which the
    drawn examples define.
    """

    times = 400

    def __init__(self, build: Any, answers: Tensor, labels: Tensor) -> None:
        self.build, self.answers, self.labels, self.count = build, answers, labels, len(answers)

    def _value(self, answers: Tensor, labels: Tensor) -> float:
        metric = self.build()
        metric.update(answers, labels)
        return metric.compute()

    def weighted(self, weights: Tensor) -> Tensor:
        all_rows = torch.arange(self.count)
        rows = [all_rows.repeat_interleave(times) for times in weights]
        return torch.tensor([self._value(self.answers[r], self.labels[r]) for r in rows])

    def mixed(self, other: Anew, swap: Tensor) -> Tensor:
        mixes = (torch.where(s.unsqueeze(-1), other.answers, self.answers) for s in swap)
        return torch.tensor([self._value(mix, self.labels) for mix in mixes])


def metric_sums(node: Any, answers: Tensor, labels: Tensor, task: Task) -> MetricSums:
    """A metric's node, what it reads of the answers `[N, C]`, and labels."""

    def build() -> Any:
        return METRICS.build(node, num_classes=answers.shape[1], task=task)

    metric = build()
    if counts := traits.counts(metric):
        return Sums(metric, counts(answers, labels))
    return Anew(build, answers, labels)


def resampled(runs: Sequence[MetricSums], seed: int = 0) -> np.ndarray:
    """[1 + times]: the mean over a method's runs, then that of each resample; NaN where a metric is
    undefined for the examples that were drawn, the same ones for every method.

    Each draws examples, and one run fewer than there are, with replacement: with all n the
    variance over runs would be (n - 1) / n of what it should be (Rao and Wu, Journal of the
    American Statistical Association, 1988). Equal seeds draw the same for every method.
    """
    draw, count = np.random.default_rng(seed), runs[0].count
    values = [float(_mean([r.weighted(torch.ones(1, count, dtype=torch.int64)) for r in runs]))]
    for size in _portions(count, runs[0].times):
        weights = torch.from_numpy(draw.multinomial(count, np.full(count, 1 / count), size))
        chosen = torch.from_numpy(draw.integers(len(runs), size=(max(1, len(runs) - 1), size)))
        each = torch.stack([run.weighted(weights).double() for run in runs])
        values += each.gather(0, chosen).mean(0).tolist()
    return np.asarray(values)


def interval(difference: np.ndarray) -> tuple[float, float]:
    """The percentile interval (Efron and Tibshirani, 1993, chapter 13) of resampled differences,
    of which the first is none; of those that are defined, NaN without any."""
    tail, drawn = (100 - LEVEL) / 2, difference[1:]
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(difference[0]) or not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def permuted(ours: Sequence[MetricSums], theirs: Sequence[MetricSums], seed: int = 0) -> float:
    """The two-sided p of a paired permutation test between two methods' mean metric.

    If methods did not matter, their answers to an example could change places. Each permutation
    swaps them for a random half of the examples, in all runs at once, since runs answer the same
    examples: a statement on other examples, for these trained models. Noreen, Computer-intensive
    Methods for Testing Hypotheses, 1989; the observed difference counts as one permutation.
    """
    draw, count, extreme = np.random.default_rng(seed), ours[0].count, 1
    observed = _difference(ours, theirs, torch.zeros(1, count, dtype=torch.bool))
    for size in _portions(count, ours[0].times):
        swap = torch.from_numpy(draw.random((size, count)) < 0.5)
        found = _difference(ours, theirs, swap)
        # "Not below", so that what is no number is no evidence
        extreme += int((~(found.abs() < observed.abs() - 1e-12)).sum())
    return extreme / (ours[0].times + 1)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm, Scandinavian Journal of Statistics, 1979)."""
    order, adjusted, highest = np.argsort(p, kind="stable"), [0.0] * len(p), 0.0
    for rank, i in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def _difference(ours: Sequence[MetricSums], theirs: Sequence[MetricSums], swap: Tensor) -> Tensor:
    pairs = list(zip(ours, theirs, strict=True))
    mine = _mean([a.mixed(b, swap) for a, b in pairs])
    return mine - _mean([b.mixed(a, swap) for a, b in pairs])


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([v.double() for v in values]).mean(0)


def _portions(count: int, total: int) -> Iterator[int]:
    """Parts of `total`, small enough that examples × part fits the memory."""
    most = max(1, MEMORY // count)
    while total > 0:
        yield min(most, total)
        total -= most
