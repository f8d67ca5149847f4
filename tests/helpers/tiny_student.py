"""A student small enough to work out by hand, and batches for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from msdkit.models.base import Model
from msdkit.types import Batch, Modality, ModelOutput, Padded

MODALITIES = {"text": Modality("features", 5), "image": Modality("features", 4)}
THREE = {**MODALITIES, "audio": Modality("features", 3)}
B, C = 6, 3


class Sums(Model):
    """A linear layer per modality; it counts its calls by view."""

    def __init__(self, modalities: Any = MODALITIES, seed: int = 0) -> None:
        super().__init__(modalities, C)
        torch.manual_seed(seed)
        self.linear = nn.ModuleDict({n: nn.Linear(m.size, C) for n, m in modalities.items()})
        self.seen: Counter[tuple[str, ...]] = Counter()

    @classmethod
    def provides(cls, **params: Any) -> set[str]:
        return {"pooled"}

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        self.seen[tuple(inputs)] += len(next(iter(inputs.values())).mask)
        logits: Any = sum(self.linear[n](s.values).mean(1) for n, s in inputs.items())
        return ModelOutput(logits, {"pooled": 2 * logits} if features else {})


def batch_of(modalities: Any = MODALITIES, size: int = B, **changes: Any) -> Batch:
    """A batch of random rows, the same at each call."""
    draws = torch.Generator().manual_seed(7)
    inputs = {
        n: Padded(
            torch.randn(size, 2, m.size, generator=draws), torch.ones(size, 2, dtype=torch.bool)
        )
        for n, m in modalities.items()
    }
    ids = [f"id{i}" for i in range(size)]
    return Batch(ids, inputs, **{"labels": torch.arange(size) % C, **changes})


def kl_row(teacher: Tensor, student: Tensor, t: float) -> float:
    """τ² KL(teacher || student) of one row of logits at temperature τ = t."""
    p, q = (teacher.double() / t).softmax(0), (student.double() / t).softmax(0)
    return t**2 * float((p * (p / q).log()).sum())
