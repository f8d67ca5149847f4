"""Task losses: the student against the labels, one value per example."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.functional import upcast
from msdkit.registry import LOSSES
from msdkit.types import Fraction


@LOSSES.register("cross_entropy")
class CrossEntropy(nn.Module):
    """Cross-entropy of softmax probabilities, in nats: −Σ_c y_c log softmax(z)_c.

    `label_smoothing` ε mixes the label with the uniform distribution (Szegedy et al., CVPR 2016,
    section 7). Labels are class indices `[B]`.
    """

    task_kinds = frozenset({"single_label"})

    def __init__(self, *, label_smoothing: Fraction = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B] -> [B]"""
        return F.cross_entropy(
            upcast(logits), labels, reduction="none", label_smoothing=self.label_smoothing
        )


@LOSSES.register("bce")
class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy from logits, in nats, summed over the classes.

    Σ_c −y_c log σ(z_c) − (1 − y_c) log(1 − σ(z_c)); labels are multi-hot `[B, C]`.
    """

    task_kinds = frozenset({"multi_label"})

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        logits = upcast(logits)
        return F.binary_cross_entropy_with_logits(
            logits, labels.to(logits.dtype), reduction="none"
        ).sum(-1)


@LOSSES.register("soft_target_bce")
class SoftTargetBCE(BinaryCrossEntropy):
    """Binary cross-entropy against soft targets in [0, 1], summed over the classes, in nats.

    The loss of VQA v2 models (Teney et al., CVPR 2018, equation 5).
    """

    task_kinds = frozenset({"soft_target"})
