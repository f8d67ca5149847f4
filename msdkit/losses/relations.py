"""Distillation of relations between the examples of a batch, as one row mean per example."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.functional import upcast
from msdkit.losses.read import vector_pairs
from msdkit.registry import LOSSES
from msdkit.types import TASKS, ModelOutput, NonNegativeFloat

Feature = Literal["pooled", "hidden"]


class _Relational(nn.Module):
    """What losses on relations share: which vectors they read, and a batch of one."""

    divergence = True
    batch_coupled = True
    task_kinds = frozenset(TASKS)

    def __init__(self, *, feature: Feature = "pooled") -> None:
        super().__init__()
        self.feature, self.needs, self._warned = feature, self.needs_for(feature), False

    @classmethod
    def needs_for(cls, feature: Feature = "pooled", **_: Any) -> tuple[str, ...]:
        """The features that a loss with these parameters reads."""
        return (feature,)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, H], [B, H'] -> [B]; the widths may differ"""
        pairs = [(upcast(s), upcast(t)) for s, t in vector_pairs(student, teacher, self.feature)]
        first = pairs[0][0]
        if len(first) == 1:
            return self._alone(first)
        with torch.autocast(first.device.type, enabled=False):  # products overflow in fp16
            return self.over_layers(torch.stack([self.relate(s, t) for s, t in pairs]))

    def _alone(self, vector: Tensor) -> Tensor:
        """[1, H] -> [1]: zero, still a part of the graph."""
        if not self._warned:
            self._warned = True
            name = type(self).__name__
            warnings.warn(f"{name}: a batch of one holds no relations; the loss is 0", stacklevel=3)
        return vector.sum(1) * 0

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        """[B, H], [B, H'] -> [B]: the loss of one pair of layers."""
        raise NotImplementedError

    def over_layers(self, losses: Tensor) -> Tensor:
        """[layers, B] -> [B]"""
        raise NotImplementedError


@LOSSES.register("rkd")
class RelationalKD(_Relational):
    """Distances between examples, and angles in triplets of them, are as the teacher's.

    Formula: loss = λ_D mean_ij h(d^s_ij, d^t_ij) + λ_A mean_ijk h(a^s_ijk, a^t_ijk)
    d_ij = ‖f_i − f_j‖ / μ
    a_ijk = ⟨e_ij, e_ik⟩, e_ij = (f_j − f_i) / ‖f_j − f_i‖ (0 for equal vectors)
    h(x, y) = ½ (x − y)² up to |x − y| = 1, |x − y| − ½ beyond (SmoothL1)

    μ is the mean of the batch's positive distances, a_ijk the cosine of the angle at i. λ_D is
    `distance_weight`, λ_A `angle_weight`. `feature`: `pooled`, or `hidden` averaged over the
    positions, layer by layer, then the mean over the paired layers (ours). No unit; the widths of
    student and teacher may differ.

    Reduction: example i gives the means over j and over j, k; the mean over the batch is the mean
    over all N² pairs and N³ triplets, i = j included, as in the authors' code. A batch of one
    gives 0.

    When: the student is too narrow to copy the teacher's vectors, but can copy how they lie; wants
    batches of 32 or more. Memory grows with N²H + N³.

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068,
    equations 3 to 8; weights 25 and 50 are its authors' choice.
    """

    def __init__(
        self,
        *,
        distance_weight: NonNegativeFloat = 25.0,
        angle_weight: NonNegativeFloat = 50.0,
        feature: Feature = "pooled",
    ) -> None:
        super().__init__(feature=feature)
        self.distance_weight, self.angle_weight = distance_weight, angle_weight

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        (mine, my_angles), (theirs, angles) = _geometry(student), _geometry(teacher)
        distance = F.smooth_l1_loss(mine, theirs, reduction="none").mean(1)
        angle = F.smooth_l1_loss(my_angles, angles, reduction="none").mean((1, 2))
        return self.distance_weight * distance + self.angle_weight * angle

    def over_layers(self, losses: Tensor) -> Tensor:
        return losses.mean(0)


@LOSSES.register("sp")
class SimilarityPreserving(_Relational):
    """Examples that are similar for the teacher are similar for the student.

    Formula: loss = ‖G_s − G_t‖²_F / N², G = F Fᵀ with every row divided by its L2 norm

    F [N, H] are the vectors of a batch of N. `feature`: `pooled`, or `hidden` averaged over the
    positions, summed over the paired layers. No unit; the widths of student and teacher may differ.

    Reduction: example i gives Σ_j (G_s − G_t)²_ij / N; the mean over the batch is the formula. A
    batch of one gives 0.

    When: as `rkd`, and cheaper (N² numbers); values are small, so weigh it by hundreds or more (the
    paper takes 3000).

    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, arXiv
    1907.09682, equations 2 to 4.
    """

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        gap = _unit(student @ student.T) - _unit(teacher @ teacher.T)
        return gap.square().mean(1)

    def over_layers(self, losses: Tensor) -> Tensor:
        return losses.sum(0)


def _geometry(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """[N, H] -> distances [N, N] over their mean, cosines [N, N, N] of the angles at the first."""
    apart = vectors.unsqueeze(0) - vectors.unsqueeze(1)
    distances, edges = _length(apart), _unit(apart)
    mean = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / mean.masked_fill(mean == 0, 1), edges @ edges.transpose(1, 2)


def _length(vectors: Tensor) -> Tensor:
    """[..., H] -> [...]: the L2 norm, whose derivatives of any order are 0 at 0, not infinite."""
    square = vectors.square().sum(-1)
    none = square == 0
    return square.masked_fill(none, 1).sqrt().masked_fill(none, 0)


def _unit(vectors: Tensor) -> Tensor:
    """[..., H] -> [..., H] of length 1; what is 0 stays 0."""
    length = _length(vectors).unsqueeze(-1)
    return vectors / length.masked_fill(length == 0, 1)
