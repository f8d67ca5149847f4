"""Distillation losses on logits, one value per example."""

from __future__ import annotations

from torch import Tensor, nn

from msdkit.functional import sigmoid_kl, softmax_kl
from msdkit.registry import LOSSES
from msdkit.types import ModelOutput, PositiveFloat


@LOSSES.register("kl")
class KLDivergence(nn.Module):
    """Knowledge distillation: τ² KL(softmax(t/τ) ‖ softmax(s/τ)), in nats.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015 (arXiv
    1503.02531), section 2; the factor τ² keeps the size of the gradient. Sum over classes; the mean
    over the batch is the published value.
    """

    divergence = True
    task_kinds = frozenset({"single_label"})

    def __init__(self, *, temperature: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        t = self.temperature
        return t**2 * softmax_kl(teacher.logits.detach(), student.logits, t)


@LOSSES.register("sigmoid_kl")
class SigmoidKLDivergence(nn.Module):
    """Distillation of independent classes: τ² Σ_c KL(Bern σ(t_c/τ) ‖ Bern σ(s_c/τ)), in nats.

    For multi-label tasks and soft targets, where the teacher ends in sigmoids. Finite at any finite
    logits: it is a cross-entropy from logits minus the teacher's entropy.
    """

    divergence = True
    task_kinds = frozenset({"multi_label", "soft_target"})

    def __init__(self, *, temperature: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        t = self.temperature
        return t**2 * sigmoid_kl(teacher.logits.detach(), student.logits, t)
