"""Costs of a model whose numbers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msdkit.evaluation.cost import cost
from msdkit.processors.base import Processor
from msdkit.runs.saved_model import SavedModel
from msdkit.types import Modality, ModelOutput, Padded, View


class Encoder(Processor):
    """A frozen 8 x 8 matrix; raw values are counts of rows."""

    def __init__(self) -> None:
        self.weight = torch.ones(8, 8)

    @property
    def modality(self) -> Modality:
        return Modality("features", 8)

    @property
    def num_parameters(self) -> int:
        return 64

    def __call__(self, raw: int) -> np.ndarray:
        """rows -> float32 [L, 8]"""
        return (torch.ones(raw, 8) @ self.weight).numpy()


class Attending(nn.Module):
    """One linear layer on every row, and attention of all rows to all."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.used = nn.Linear(8, 3)

    def forward(self, inputs: dict[str, Padded], views: list[View]) -> dict[str, ModelOutput]:
        """{modality: [B, L, 8]} -> {view: [B, 3]}"""
        rows = self.linear(inputs["image"].values)
        mixed: Tensor = nn.functional.scaled_dot_product_attention(rows, rows, rows)
        return {view: ModelOutput(self.used(mixed.mean(1))) for view in views}


def saved(**more: Any) -> SavedModel:
    processors = {"image": Encoder()}
    fields = {"image": "array"}
    return SavedModel(Attending(), {}, {}, processors, {}, fields, "single_label", ["a", "b", "c"])


def test_parameters_and_flops_count_the_encoders() -> None:
    found = cost(saved(), [{"image": 4}, {"image": 6}])
    assert found["parameters_encoders"] == 64
    assert found["parameters"] == 64 + (8 * 8 + 8) + (8 * 3 + 3)

    def flops(rows: int) -> int:
        encoder = linear = 2 * rows * 8 * 8
        attention = 2 * (2 * rows * rows * 8)
        return encoder + linear + attention + 2 * 8 * 3

    assert found["flops_per_example"] == (flops(4) + flops(6)) / 2
    assert found["examples_per_second"] > 0
