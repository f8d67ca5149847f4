"""How losses read features: pairs of layers, vectors per example, a projection between widths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError, listing
from msdkit.types import ModelOutput

Pair = tuple[Tensor, Tensor]


def layer_pairs(student: ModelOutput, teacher: ModelOutput, kind: str) -> list[Pair]:
    """(student's, teacher's) features of `kind` ("hidden", "attention", "value"), layer by layer.

    The distiller numbers the layers of both from 1 as the term's layer map pairs them, so equal
    numbers belong together; `hidden.0`, the embeddings, is no layer. The teacher's are detached.
    """
    pairs, i = [], 1
    while (name := f"{kind}.{i}") in student.features and name in teacher.features:
        pairs.append((student.features[name], teacher.features[name].detach()))
        i += 1
    if not pairs:
        raise ConfigError(
            f"the loss needs '{kind}' of paired layers; the student gave "
            f"{listing(student.features)}, the teacher {listing(teacher.features)}"
        )
    return pairs


def padding_mask(output: ModelOutput, states: Tensor) -> Tensor:
    """[B, ..., L, H] -> bool [B, L]: true where a position holds something"""
    if output.mask is not None:
        return output.mask
    return states.new_ones((states.shape[0], states.shape[-2]), dtype=torch.bool)


def shared_mask(student: ModelOutput, teacher: ModelOutput, pair: Pair) -> Tensor:
    """[B, ..., L, H] twice -> bool [B, L]: true where both hold something; ConfigError unless the
    positions of one are the positions of the other."""
    mine, theirs = pair
    if mine.shape[-2] != theirs.shape[-2]:
        raise ConfigError(
            f"the loss compares position by position: the student gave {list(mine.shape)}, "
            f"the teacher {list(theirs.shape)}; both must read the same sequence "
            "(same view, same processors and model family)"
        )
    return padding_mask(student, mine) & padding_mask(teacher, theirs)


def vector_pairs(student: ModelOutput, teacher: ModelOutput, feature: str) -> list[Pair]:
    """[B, H] vectors (student's, teacher's): `pooled`, or the mean of `hidden` over positions."""
    if feature == "hidden":
        return [
            (masked_mean(s, padding_mask(student, s)), masked_mean(t, padding_mask(teacher, t)))
            for s, t in layer_pairs(student, teacher, "hidden")
        ]
    return [(student.features[feature], teacher.features[feature].detach())]


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """[B, L, H], bool [B, L] -> [B, H]; zero where all is padding"""
    share = mask.to(states.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
    return (states * share.unsqueeze(-1)).sum(1)  # no matmul: autocast would round it


class Projection(nn.Linear):
    """A learned linear map; features of another precision than its own are cast."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., H] -> [..., H of the teacher]"""
        return super().forward(input.to(self.weight.dtype))


def projection(student_dim: int, teacher_dim: int) -> nn.Module:
    """A learned linear map of the student's features where the widths differ, else none."""
    if student_dim == teacher_dim:
        return nn.Identity()
    return Projection(student_dim, teacher_dim)
