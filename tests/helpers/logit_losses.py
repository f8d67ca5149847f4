"""Losses on logits by name, and the same sums over lists of numbers."""

from __future__ import annotations

import warnings
from math import exp, log

import torch
from torch import Tensor

from msdkit.registry import LOSSES
from msdkit.types import ModelOutput

Row = list[float]
SINGLE = ["kl", "kl_standardized", "jsd", "reverse_kl", "dkd", "dist", "mse_logits", "kd"]
EVERY = [*SINGLE, "sigmoid_kl"]
TEMPERED = [n for n in EVERY if n != "mse_logits"]


def distil(
    node: dict | str, student: Tensor, teacher: Tensor, labels: Tensor | None = None
) -> Tensor:
    """The loss of a node or name, `[B]`; without labels, all are class 0."""
    labels = torch.zeros(len(student), dtype=torch.long) if labels is None else labels
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Dist: a batch of one")
        return LOSSES.build(node)(ModelOutput(student), ModelOutput(teacher), labels)


def softmax(row: Row) -> Row:
    """Probabilities of logits."""
    top = max(row)
    parts = [exp(x - top) for x in row]
    return [p / sum(parts) for p in parts]


def kl(p: Row, q: Row) -> float:
    """KL(p || q) of probabilities."""
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))
