"""Controls: means and seeded shuffles of another weighting's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from weighting_inputs import THREE, TWO, N, given, some

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.types import WeightingInput


def control(kind: str, of: Any = "saliency", **params: Any) -> Any:
    weighting = WEIGHTINGS.build({"name": "control", "of": of, "kind": kind, **params})
    train = given(TWO)
    weighting.fit(train.teacher_logits, train.labels, train.ids)
    return weighting


def test_the_mean_control_gives_everyone_the_mean():
    mean = WEIGHTINGS.build("saliency")(given(TWO)).mean(0)
    weights = control("mean")(some([3, 1]))
    torch.testing.assert_close(weights, mean.expand(2, -1), rtol=1e-6, atol=1e-6)


def rows_of(weights: Tensor) -> list[tuple[float, ...]]:
    return [tuple(row) for row in weights.float().tolist()]  # as the control keeps them


def test_the_shuffle_control_is_a_permutation():
    own = rows_of(WEIGHTINGS.build("saliency")(given(TWO)))
    everyone = some(list(range(N)))
    shuffled = rows_of(control("shuffle")(everyone))
    assert sorted(shuffled) == sorted(own)
    assert shuffled != own
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0)).tolist()
    assert shuffled == [own[i] for i in order]


def test_the_shuffle_is_seeded_and_belongs_to_the_example():
    everyone = some(list(range(N)))
    first = control("shuffle", seed=1)
    torch.manual_seed(123)
    assert rows_of(first(everyone)) == rows_of(control("shuffle", seed=1)(everyone))
    several = {tuple(rows_of(control("shuffle", seed=s)(everyone))) for s in range(6)}
    assert len(several) > 1
    whole = rows_of(first(everyone))
    assert rows_of(first(some([4, 0]))) == [whole[4], whole[0]]  # in whatever batch


def test_the_control_weighs_large_training_sets_in_parts(monkeypatch):
    whole = control("shuffle")(some(list(range(N))))
    monkeypatch.setattr("msdkit.weightings.control.CHUNK", 2)
    torch.testing.assert_close(control("shuffle")(some(list(range(N)))), whole)


def test_controls_refuse():
    with pytest.raises(ConfigError, match=r"control: call fit\(teacher_logits, labels, ids\)"):
        WEIGHTINGS.build({"name": "control", "of": "saliency"})(given(TWO))
    stranger = some([0])
    stranger.ids[0] = "stranger"
    with pytest.raises(ConfigError, match="example 'stranger' is not in the training set"):
        control("shuffle")(stranger)

    class ByLoss(nn.Module):
        def forward(self, inputs: WeightingInput) -> Tensor:
            return inputs.losses

    with pytest.raises(ConfigError, match="must depend only on the teacher's answers and the lab"):
        control("mean", of=ByLoss())(some([0]))


def test_controls_hand_on_what_the_wrapped_weighting_says():
    wrapped = control("mean")
    assert wrapped.teacher_views(THREE) == WEIGHTINGS.build("saliency").teacher_views(THREE)
    constant = control("mean", of={"name": "population", "weights": {"text": 1.0}})
    with pytest.raises(ConfigError, match="no weight for the distilled view"):
        constant.validate(["multimodal", "text"])
