"""What the tests of weightings weigh: a teacher's answers to a few examples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from msdkit.types import View, WeightingInput, default_views, known_views

TWO, THREE = ("text", "image"), ("text", "image", "audio")
N, C = 5, 4

LABELS: dict[str, Tensor] = {
    "single_label": torch.tensor([0, 3, 1, 1, 2]),
    "multi_label": torch.tensor([[1, 0, 0, 1], [0] * 4, [1] * 4, [0, 1, 0, 0], [0, 0, 1, 1]]),
    "soft_target": torch.tensor(
        [[0.1, 0.9, 0, 0], [1, 0, 0, 0.3], [0, 0, 0, 0.5], [0.6, 0.2, 0, 0], [0, 0.3, 1, 0]],
        dtype=torch.float64,
    ),
    "regression": torch.linspace(-2, 2, N * C, dtype=torch.float64).reshape(N, C),
}


def answers(modalities: Any, seed: int = 0) -> dict[str, Tensor]:
    """The teacher's logits for every view."""
    draws = torch.Generator().manual_seed(seed)
    return {
        v.name: 2 * torch.randn(N, C, generator=draws, dtype=torch.float64)
        for v in known_views(modalities)
    }


def given(
    modalities: Any, task: Any = "single_label", views: list[View] | None = None, **changes: Any
) -> WeightingInput:
    """All N examples; `changes` replace fields."""
    views = views or default_views(modalities)
    values: dict[str, Any] = {
        "teacher_logits": answers(modalities),
        "student_logits": {},
        "losses": torch.ones(N, len(views), dtype=torch.float64),
        "labels": LABELS[task],
        "views": views,
        "ids": [f"id{i}" for i in range(N)],
        "step": 0,
        "task": task,
    }
    return WeightingInput(**{**values, **changes})


def some(rows: list[int], modalities: Any = TWO, **changes: Any) -> WeightingInput:
    """The examples `rows` of `given`, with other losses."""
    whole = given(modalities)
    losses = torch.full((len(rows), len(whole.views)), 7.0, dtype=torch.float64)
    values: dict[str, Any] = {
        "teacher_logits": {v: x[rows] for v, x in whole.teacher_logits.items()},
        "labels": whole.labels[rows],
        "ids": [whole.ids[i] for i in rows],
        "losses": losses,
    }
    return given(modalities, **{**values, **changes})
