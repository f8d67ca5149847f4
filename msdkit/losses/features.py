"""Distillation losses on vectors and hidden states, one value per example."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.functional import upcast
from msdkit.losses.read import layer_pairs, masked_mean, padding_mask, projection, shared_mask
from msdkit.registry import LOSSES
from msdkit.types import TASKS, ModelOutput


@LOSSES.register("fitnet")
class FitNet(nn.Module):
    """The student's features hit the teacher's, through a learned linear map between widths.

    Formula: mean over elements of (r(f_s) − f_t)²; r linear where the widths differ, else the
    identity

    r is a part of the loss, trained with the student. `feature`: "pooled", one vector per example,
    or "hidden", the states of every paired layer (one r for all layers).

    Reduction: mean over the width, for "hidden" over the positions that are no padding and over
    the pairs too; the mean over the batch is the published value up to a factor (equation 3 has
    half the sum over elements).

    When: the teacher's vectors carry more than its answer, as with few classes. With "hidden" both
    must read the same sequence.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv 1412.6550,
    equation 3.
    """

    divergence = True
    task_kinds = frozenset(TASKS)

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        *,
        feature: Literal["pooled", "hidden"] = "pooled",
    ) -> None:
        super().__init__()
        self.needs = self.needs_for(feature=feature)
        self.project = projection(student_dim, teacher_dim)

    @classmethod
    def needs_for(cls, feature: str = "pooled", **_: Any) -> tuple[str, ...]:
        """The features that these parameters make it read."""
        return (feature,)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """pooled [B, H], or hidden.k [B, L, H] -> [B]"""
        if "pooled" in self.needs:
            gap = self._squared(student.features["pooled"], teacher.features["pooled"].detach())
            return gap.mean(-1)
        values = []
        for pair in layer_pairs(student, teacher, "hidden"):
            mask = shared_mask(student, teacher, pair)
            values.append(masked_mean(self._squared(*pair), mask).mean(-1))
        return torch.stack(values).mean(0)

    def _squared(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (upcast(self.project(student)) - upcast(teacher)).square()


@LOSSES.register("attention_transfer")
class AttentionTransfer(nn.Module):
    """The student is active at the positions where the teacher is active.

    Formula: mean over positions of (Q_s − Q_t)², with Q = q / ‖q‖₂ over the positions and
    q = mean over channels of f²; f are the hidden states of a pair of layers

    Reduction: mean over the positions that are no padding (which has no part in ‖q‖₂ either) and
    over the pairs. Equation 2 has β/2 times the sum over pairs of the norm; the square and the
    means are those of the authors' code.

    When: the layouts agree but the widths do not: it needs no projection. A weak signal on its
    own, as it tells where, not what.

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017, arXiv
    1612.03928, equation 2 (activation-based).
    """

    divergence = True
    task_kinds = frozenset(TASKS)
    needs = ("hidden",)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """hidden.k [B, L, H] -> [B]"""
        values = []
        for pair in layer_pairs(student, teacher, "hidden"):
            mask = shared_mask(student, teacher, pair)
            mine, theirs = (_activity(f, mask) for f in pair)
            values.append(masked_mean((mine - theirs).square().unsqueeze(-1), mask).squeeze(-1))
        return torch.stack(values).mean(0)


def _activity(states: Tensor, mask: Tensor) -> Tensor:
    """[B, L, H], bool [B, L] -> [B, L]: mean square per position, of L2 norm 1, padding at 0"""
    energy = upcast(states).square().mean(-1)
    return F.normalize(energy.masked_fill(~mask, 0.0), dim=-1)


@LOSSES.register("pkd")
class PatientKD(nn.Module):
    """The student's [CLS] state points where the teacher's points, layer by layer.

    Formula: mean over the width of (s/‖s‖₂ − t/‖t‖₂)²

    s and t are the states at the first position of a pair of layers. s goes through a learned
    linear map where the widths differ (the paper has equal widths), the same one for all layers.

    Reduction: mean over the width and over the pairs, as the authors' code has it; equation 7 sums
    over both. An example whose first position is padding gives 0.

    When: a transformer of fewer layers learns from one that reads [CLS]. Only the first position
    is compared, so the sequences may differ in length. The paper leaves the last layer out, as
    the logits teach it already: use it beside a loss on logits.

    Source: Sun et al., "Patient Knowledge Distillation for BERT Model Compression", EMNLP 2019,
    arXiv 1908.09355, equation 7.
    """

    divergence = True
    task_kinds = frozenset(TASKS)
    needs = ("hidden",)

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.project = projection(student_dim, teacher_dim)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """hidden.k [B, L, H] -> [B]"""
        values = []
        for s, t in layer_pairs(student, teacher, "hidden"):
            mine, theirs = upcast(self.project(s[:, 0])), upcast(t[:, 0])
            gap = F.normalize(mine, dim=-1) - F.normalize(theirs, dim=-1)
            real = padding_mask(student, s)[:, 0] & padding_mask(teacher, t)[:, 0]
            values.append(torch.where(real, gap.square().mean(-1), 0.0))
        return torch.stack(values).mean(0)
