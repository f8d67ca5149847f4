"""Attention over packed rows against the fused kernel on padded ones: all views of a step."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from rows import Row
from timing import Action, seconds_each
from torch import Tensor
from workload import Workload, collate, device

from msdkit.models.packing import Packing
from msdkit.models.transformer import Dropout
from msdkit.types import default_views

HEADS, REPEATS = 12, 20


def masks(workload: Workload) -> list[Tensor]:
    """bool [B, 2 + L] of each view: [CLS], [SEP] and what it shows"""
    inputs = collate(workload.examples()).inputs
    special = torch.ones(workload.batch, 2, dtype=torch.bool)
    views = default_views(inputs)
    shown = [[inputs[m].mask for m in inputs if m in view.visible] for view in views]
    return [torch.cat([special, *parts], 1).to(device()) for parts in shown]


def packed(views: list[Tensor], joined: Tensor, p: float) -> Action:
    """Forward and backward of msdkit's attention, [T, 3H]; how sequences lie is found each time."""

    def run() -> None:
        Packing(views).attend(joined, HEADS, Dropout(p)).sum().backward()

    return run


def padded(views: list[Tensor], batches: list[Tensor], p: float) -> Action:
    """The same on [B, L, 3H] of each view with key masks."""

    def run() -> None:
        for mask, joined in zip(views, batches, strict=True):
            three = joined.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            F.scaled_dot_product_attention(*three, mask[:, None, None], p).sum().backward()

    return run


def measure(workload: Workload, dtype: torch.dtype) -> list[Row]:
    """The student's heads, one layer."""
    hidden = workload.model(workload.student).width
    views = masks(workload)
    options: dict[str, Any] = {"device": device(), "dtype": dtype, "requires_grad": True}
    rows = torch.randn(sum(int(m.sum()) for m in views), 3 * hidden, **options)
    batches = [torch.randn(*m.shape, 3 * hidden, **options) for m in views]
    found = []
    for p in (0.0, 0.1):
        actions = {"packed": packed(views, rows, p), "padded": padded(views, batches, p)}
        s = {name: 1e3 * x for name, x in seconds_each(actions, REPEATS).items()}
        what = f"attention, dropout {p}: packed / padded, fused"
        found.append(Row(what, s["packed"], s["padded"], "ms", "speedup"))
    return found
