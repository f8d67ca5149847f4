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
