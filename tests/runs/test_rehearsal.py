"""The step before the first one leaves nothing behind, and takes nothing away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
import toy
from torch import Tensor

from msdkit.registry import WEIGHTINGS
from msdkit.runs.experiment import Experiment
from msdkit.types import WeightingInput
from msdkit.weightings.base import Weighting


class Fitted(Weighting):
    """How many training examples there are, and how often it was asked, in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("examples", torch.zeros(()))
        self.register_buffer("asked", torch.zeros(()))

    def fit(self, logits: Mapping[str, Tensor], labels: Tensor, ids: Sequence[str]) -> None:
        self.examples.fill_(len(ids))

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        self.asked += 1
        return torch.ones_like(inputs.losses)


@pytest.mark.usefixtures("own_cache")
def test_what_a_weighting_fits_into_a_buffer_stays(tmp_path: Path, toy_teacher: Path) -> None:
    WEIGHTINGS.register("fitted_x")(Fitted)
    changes = {"teacher": {"run": str(toy_teacher)}, "distill": ["kl"], "weighting": "fitted_x"}
    experiment = Experiment(toy.configured(tmp_path / "x.yaml", toy.PLAIN, changes))
    experiment.trainer()
    weighting = experiment.weighting
    assert isinstance(weighting, Fitted)
    assert int(weighting.examples) == len(experiment.train_split)
    assert int(weighting.asked) == 0  # but once in the rehearsal
