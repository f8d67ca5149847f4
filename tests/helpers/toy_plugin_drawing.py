"""A loss and a metric that draw from every global generator; for `training/test_random_plugins`."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msdkit.registry import LOSSES, METRICS
from msdkit.types import ModelOutput


def drawn() -> float:
    """Of Python's, numpy's and torch's global generators, each its part: from 1 to 2."""
    return 1 + (random.random() + np.random.rand() + torch.rand(()).item()) / 3


@LOSSES.register("drawing")
class Drawing(nn.Module):
    """The squared difference of logits, times a number that is drawn at each call."""

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        return drawn() * (student.logits - teacher.logits).square().mean(-1)


@METRICS.register("drawing")
class Drawn:
    """Draws, and is always 1."""

    def __init__(self, num_classes: int, task: str) -> None:
        self.num_classes, self.task = num_classes, task

    def update(self, probabilities: Tensor, labels: Any) -> None:
        """[B, C], [B]"""
        drawn()

    def compute(self) -> float:
        return 1.0
