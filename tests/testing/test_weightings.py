"""Weightings that are broken on purpose: the check says which promise broke."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from msdkit.testing.weightings import check_weighting


class Weigh(nn.Module):
    def __init__(self, formula: Any, views: Any = ()) -> None:
        super().__init__()
        self.formula, self.wanted = formula, list(views)
        self.scale = nn.Parameter(torch.ones(()))

    def teacher_views(self, modalities: Any) -> list[str]:
        return self.wanted

    def forward(self, inputs: Any) -> Any:
        return self.formula(self, inputs)


BROKEN_WEIGHTINGS = [
    (Weigh(lambda w, x: x.losses[:, 0]), r"must give \[B, V\] = \[3, 3\], gave \[3\]"),
    (Weigh(lambda w, x: -x.losses), "below 0"),
    (Weigh(lambda w, x: x.losses / 0), "not finite"),
    (Weigh(lambda w, x: x.losses * w.scale), "with a gradient; detach"),
    (Weigh(lambda w, x: x.losses, ["without_smell"]), "asks for views without_smell"),
    (
        Weigh(lambda w, x: x.teacher_logits["multimodal"].exp().sum(1, keepdim=True) + x.losses),
        "not finite",
    ),
]


@pytest.mark.parametrize(("weighting", "message"), BROKEN_WEIGHTINGS)
def test_broken_weightings(weighting, message):
    with pytest.raises(AssertionError, match=message):
        check_weighting(weighting)
