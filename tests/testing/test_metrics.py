"""Metrics that are broken on purpose: the check says which promise broke."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from msdkit.testing.metrics import check_metric


def test_broken_metrics():
    class Share:
        higher_is_better = False
        right = total = 0.0

        def update(self, probabilities: Any, labels: Any) -> None:
            self.right += float((probabilities.argmax(1) == labels).sum())
            self.total += len(labels)

        def compute(self) -> Any:
            return self.right / self.total

    with pytest.raises(AssertionError, match="against its higher_is_better"):
        check_metric(Share())
    Share.higher_is_better = True
    check_metric(Share())
    with pytest.raises(AssertionError, match="must compute a float, gave Tensor"):
        check_metric(type("Broken", (Share,), {"compute": lambda self: torch.tensor(1.0)})())
    with pytest.raises(AssertionError, match="not finite"):
        check_metric(type("Broken", (Share,), {"compute": lambda self: float("nan")})())


class Total:
    """The share of right answers, by hand."""

    right = total = 0.0

    def update(self, answers: Any, labels: Any) -> None:
        self.right += float((answers.argmax(1) == labels).sum())
        self.total += len(labels)

    def compute(self) -> float:
        return self.right / self.total


class MeanOfBatches(Total):
    """Each batch counts alike, however large."""

    def update(self, answers: Any, labels: Any) -> None:
        self.right += float((answers.argmax(1) == labels).float().mean())
        self.total += 1


class LastBatch(Total):
    def update(self, answers: Any, labels: Any) -> None:
        self.right, self.total = float((answers.argmax(1) == labels).sum()), len(labels)


class First(Total):
    """Earlier examples count more."""

    def update(self, answers: Any, labels: Any) -> None:
        for one, label in zip(answers.argmax(1), labels, strict=True):
            self.total += 1
            self.right += float(one == label) / self.total

    def compute(self) -> float:
        return self.right


class Changing(Total):
    def update(self, answers: Any, labels: Any) -> None:
        super().update(answers.round_(), labels)


class Counting(Total):
    """Its counts are of wrong answers, its value of right ones."""

    def counts(self, answers: Any, labels: Any) -> Any:
        wrong = answers.argmax(1) != labels
        return torch.stack([wrong, torch.ones_like(wrong)], 1)

    def of_counts(self, sums: Any) -> Any:
        return sums[..., 0] / sums[..., 1]


class OneCount(Counting):
    def counts(self, answers: Any, labels: Any) -> Any:
        return super().counts(answers, labels).sum(0)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (MeanOfBatches, "must not depend on how examples are split"),
        (LastBatch, "must not depend on how examples are split"),
        (First, "in another order of examples"),
        (Changing, "changes what it is given, in place"),
        (Counting, "of the sums of its counts"),
        (OneCount, r"must give counts \[B, K\], B = 8; gave \[2\]"),
    ],
)
def test_a_metric_is_of_the_examples_and_not_of_their_batches(metric: Any, message: str) -> None:
    check_metric(Total())
    with pytest.raises(AssertionError, match=message):
        check_metric(metric())
