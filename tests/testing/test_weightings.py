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


def shares(weighting: Any, inputs: Any) -> Any:
    return inputs.losses / inputs.losses.sum(0)


def sure(inputs: Any) -> Any:
    """[B, 1]: how sure the teacher is of each example"""
    return inputs.teacher_logits["multimodal"].float().softmax(1).amax(1, keepdim=True)


def changing(weighting: Any, inputs: Any) -> Any:
    return inputs.losses.mul_(2)


OTHERS, PLACE = "lets other examples change", "another value at another place"
COUPLED = [
    (shares, OTHERS),
    (lambda w, x: x.losses.mean(0).expand_as(x.losses), OTHERS),
    (lambda w, x: (sure(x) / sure(x).amax()).expand_as(x.losses), OTHERS),
    (
        lambda w, x: (sure(x) >= sure(x).median()).float().expand_as(x.losses),
        f"{OTHERS}|value alone",
    ),
    (lambda w, x: (x.labels[:, None] == x.labels).sum(1, keepdim=True) + x.losses, OTHERS),
    (lambda w, x: x.losses * torch.arange(len(x.ids))[:, None], PLACE),
    (lambda w, x: x.losses / len(x.ids), "another value alone"),
    (changing, "changes what it is given, in place"),
]


@pytest.mark.parametrize(("formula", "message"), COUPLED)
def test_weights_that_depend_on_the_batch_are_found(formula: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_weighting(Weigh(formula))


def test_what_says_batch_coupled_may_and_so_may_a_fitted_table() -> None:
    class Coupled(Weigh):
        batch_coupled = True

    for formula, message in COUPLED:
        if "in place" not in message:
            check_weighting(Coupled(formula))

    class Fitted(Weigh):
        """Weights by what the whole training set has."""

        def fit(self, logits: Any, labels: Any, ids: Any) -> None:
            values = logits["multimodal"].float().amax(1).exp().clamp(max=1)
            self.table = dict(zip(ids, (values / values.sum()).tolist(), strict=True))

    def look_up(weighting: Any, inputs: Any) -> Any:
        found = torch.tensor([weighting.table[key] for key in inputs.ids])
        return found[:, None].expand_as(inputs.losses)

    check_weighting(Fitted(look_up))
    check_weighting(Weigh(lambda w, x: sure(x).expand_as(x.losses)))
