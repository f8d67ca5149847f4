"""Schedules: factors by hand, and hooks handed on."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from weighting_inputs import THREE, TWO, N, given

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.types import WeightingInput

INNER = {"name": "population", "weights": {"multimodal": 1.0, "text": 0.5, "image": 2.0}}


def schedule(**params: Any) -> Any:
    return WEIGHTINGS.build({"name": "schedule", "of": INNER, "steps": 4, **params})


@pytest.mark.parametrize(
    ("params", "factors"),
    [
        ({}, [0, 0.25, 0.5, 0.75, 1, 1, 1]),
        ({"start": 1.0, "end": 0.5}, [1, 0.875, 0.75, 0.625, 0.5, 0.5, 0.5]),
        ({"shape": "cosine"}, [*((1 - cos(pi * k / 4)) / 2 for k in range(5)), 1, 1]),
        ({"shape": "cosine", "start": 2.0, "end": 2.0}, [2.0] * 7),
    ],
)
def test_factors_by_hand(params, factors):
    weighting = schedule(**params)
    for step, factor in enumerate(factors):
        assert weighting.factor(step) == pytest.approx(factor, abs=1e-12)
        expected = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64).mul(factor).expand(N, 3)
        torch.testing.assert_close(weighting(given(TWO, step=step)), expected)


def test_other_views_are_left_alone():
    weights = schedule(views=["image"])(given(TWO, step=1))
    assert weights.tolist() == [[1.0, 0.5, 0.5]] * N


def test_validate_names_the_view_and_asks_the_inner_weighting():
    weighting = schedule(views=["text", "imag"])
    with pytest.raises(ConfigError, match=r"views.1: 'imag' is not a dist.*Did you mean 'image'"):
        weighting.validate(["multimodal", *TWO])
    schedule(views=["text"]).validate(["multimodal", *TWO])
    with pytest.raises(ConfigError, match="no weight for the distilled view"):
        schedule().validate(["multimodal", *THREE])


class Recorder(nn.Module):
    """Every hook there is."""

    interval = 3

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def teacher_views(self, modalities: Any) -> list[str]:
        return ["text"]

    def fit(self, *parts: Any) -> None:
        self.calls.append(("fit", parts))

    def update(self, *parts: Any) -> None:
        self.calls.append(("update", parts))

    def forward(self, inputs: WeightingInput) -> Tensor:
        return inputs.losses


def test_hooks_are_handed_on():
    inner = Recorder()
    weighting = schedule(of=inner)
    assert weighting.teacher_views(THREE) == ["text"]
    assert weighting.interval == 3
    weighting.fit({}, None, [])
    weighting.update(1, 2, 3)
    assert inner.calls == [("fit", ({}, None, [])), ("update", (1, 2, 3))]


def test_hooks_that_the_inner_weighting_lacks_are_lacking():
    plain = schedule()
    assert not any(hasattr(plain, name) for name in ("fit", "update", "interval", "task_kinds"))
    agreeing = schedule(of="agreement")
    assert agreeing.task_kinds == WEIGHTINGS.get("agreement").task_kinds
    nested = schedule(of={"name": "schedule", "of": "learned", "steps": 2})
    assert nested.interval == WEIGHTINGS.build("learned").interval
    assert hasattr(nested, "update")
