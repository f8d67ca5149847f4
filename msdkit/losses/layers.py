"""Distillation losses on the inside of transformer layers, one value per example."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError
from msdkit.functional import divergence, softmax_kl, upcast
from msdkit.losses.read import Pair, layer_pairs, masked_mean, projection, shared_mask
from msdkit.registry import LOSSES
from msdkit.types import TASKS, ModelOutput, NonNegativeFloat, PositiveFloat, Task

Heads = Literal["match", "mean"]


@LOSSES.register("tinybert")
class TinyBERT(nn.Module):
    """The student's embeddings, states, attention scores and answer follow the teacher's.

    Formula: embedding · MSE(E_s W, E_t) + hidden · Σ_k MSE(H_s,k W, H_t,k)
    + attention · Σ_k mean over heads of MSE(A_s,k, A_t,k) + prediction · τ² KL(p_t^τ ‖ p_s^τ)

    E are the embeddings, H_k the states of a pair k of layers, A_k its attention scores before the
    softmax. `embedding`, `hidden`, `attention`, `prediction`: the weights of the terms; 0 leaves a
    term and its features out. `temperature` τ is that of the prediction, whose KL is that of the
    task kind. `heads`: "match" compares head by head, so the counts must agree; "mean" compares the
    mean over the heads (ours, for unequal counts). W is one learned linear map, where the widths
    differ (the paper writes two, the authors' code has one).

    Reduction: sum over pairs as in equation 6; MSE is the mean over elements, here of each
    example's positions that are no padding (for A: both the query and the key).

    When: a narrow, shallow student of the teacher's family that reads the same sequence. The paper
    first trains without the prediction term, then with it alone.

    Source: Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", Findings
    of EMNLP 2020, arXiv 1909.10351, equations 6 to 10; KL in place of cross-entropy (equation 10)
    has the same gradient.
    """

    divergence = True
    task_kinds = frozenset(TASKS)

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        task: Task = "single_label",
        *,
        embedding: NonNegativeFloat = 1.0,
        hidden: NonNegativeFloat = 1.0,
        attention: NonNegativeFloat = 1.0,
        prediction: NonNegativeFloat = 1.0,
        temperature: PositiveFloat = 1.0,
        heads: Heads = "match",
    ) -> None:
        super().__init__()
        self.embedding, self.hidden, self.attention = embedding, hidden, attention
        self.prediction, self.temperature = prediction, temperature
        self.task, self.heads = task, heads
        self.needs = self.needs_for(embedding, hidden, attention)
        if not (self.needs or prediction):
            raise ConfigError(
                "tinybert: embedding, hidden, attention and prediction are all 0; "
                "expected one above 0"
            )
        self.project = projection(student_dim, teacher_dim) if embedding or hidden else None

    @classmethod
    def needs_for(
        cls, embedding: float = 1.0, hidden: float = 1.0, attention: float = 1.0, **_: Any
    ) -> tuple[str, ...]:
        """The features that these parameters make it read."""
        weights = {"hidden.0": embedding, "hidden": hidden, "attention": attention}
        return tuple(name for name, weight in weights.items() if weight)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """hidden.k [B, L, H], attention.k [B, heads, L, L], logits [B, C] -> [B]"""
        parts = []
        if self.embedding:
            pair = student.features["hidden.0"], teacher.features["hidden.0"].detach()
            parts.append(self.embedding * self._states(student, teacher, pair))
        if self.hidden:
            pairs = layer_pairs(student, teacher, "hidden")
            parts += [self.hidden * self._states(student, teacher, pair) for pair in pairs]
        if self.attention:
            pairs = layer_pairs(student, teacher, "attention")
            parts += [self.attention * self._scores(student, teacher, pair) for pair in pairs]
        if self.prediction:
            t, logits = self.temperature, (teacher.logits.detach(), student.logits)
            kl = divergence(self.task, *(upcast(x) / t for x in logits))
            parts.append(self.prediction * t**2 * kl)
        return torch.stack(parts).sum(0)

    def _states(self, student: ModelOutput, teacher: ModelOutput, pair: Pair) -> Tensor:
        mask = shared_mask(student, teacher, pair)
        assert self.project is not None
        gap = upcast(self.project(pair[0])) - upcast(pair[1])
        return masked_mean(gap.square(), mask).mean(-1)

    def _scores(self, student: ModelOutput, teacher: ModelOutput, pair: Pair) -> Tensor:
        mask = shared_mask(student, teacher, pair)
        mine, theirs = (upcast(x) for x in paired_heads(pair, self.heads))
        if self.heads == "mean":
            mine, theirs = mine.mean(1, keepdim=True), theirs.mean(1, keepdim=True)
        squares = (mine - theirs).square().mean(1)
        return masked_mean(masked_mean(squares, mask).unsqueeze(-1), mask).squeeze(-1)


@LOSSES.register("minilm")
class MiniLM(nn.Module):
    """The student's last layer attends as the teacher's, and relates its values in the same way.

    Formula: KL(A_t ‖ A_s) + KL(R_t ‖ R_s), A = softmax(Q Kᵀ/√d), R = softmax(V Vᵀ/√d)

    In nats, for each row of every head; d is the width of a head, of each model its own. `heads`:
    "match" compares head by head, so the counts must agree; "mean" compares the mean over the heads
    of the distributions (ours, for unequal counts).

    Reduction: sum over keys, mean over heads, over queries that are no padding and over the pairs
    (by default one: the last layers). Padded keys have no part in the softmax.

    When: student and teacher read the same sequence and differ in depth and width: it needs no
    projection and no map of layers. It leaves the head untaught; add a loss on logits.

    Source: Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression
    of Pre-Trained Transformers", NeurIPS 2020, arXiv 2002.10957, sections 3.1 and 3.2.
    """

    divergence = True
    task_kinds = frozenset(TASKS)
    needs = ("attention", "value")
    layers = "last"

    def __init__(self, *, heads: Heads = "match") -> None:
        super().__init__()
        self.heads = heads

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """attention.k [B, heads, L, L], value.k [B, heads, L, d] -> [B]"""
        attention = layer_pairs(student, teacher, "attention")
        values = layer_pairs(student, teacher, "value")
        masks = [shared_mask(student, teacher, pair) for pair in attention]
        relations = [(_relation(s), _relation(t)) for s, t in values]
        terms = [self._kl(*given) for given in zip(attention, masks, strict=True)]
        terms += [self._kl(*given) for given in zip(relations, masks, strict=True)]
        return torch.stack(terms).sum(0) / len(attention)

    def _kl(self, pair: Pair, mask: Tensor) -> Tensor:
        """[B, heads, L, L] twice, bool [B, L] -> [B]"""
        mine, theirs = (_log_rows(x, mask) for x in paired_heads(pair, self.heads))
        if self.heads == "mean":  # softmax_kl normalises, so the sum over heads will do
            mine, theirs = (x.logsumexp(1, keepdim=True) for x in (mine, theirs))
        kl = softmax_kl(theirs, mine).mean(1)
        return masked_mean(kl.unsqueeze(-1), mask).squeeze(-1)


def paired_heads(pair: Pair, heads: Heads) -> Pair:
    """The pair, [B, heads, ...] each; ConfigError where heads cannot be matched one by one."""
    mine, theirs = (x.shape[1] for x in pair)
    if heads == "match" and mine != theirs:
        raise ConfigError(
            f"heads: match compares head by head, and the student has {mine} heads, the teacher "
            f"{theirs}; expected equal counts, or heads: mean"
        )
    return pair


def _relation(values: Tensor) -> Tensor:
    """[B, heads, L, d] -> [B, heads, L, L], v·v / √d"""
    values = upcast(values)
    return values @ values.transpose(-1, -2) * values.shape[-1] ** -0.5


def _log_rows(scores: Tensor, mask: Tensor) -> Tensor:
    """[B, heads, L, L], bool [B, L] -> log of the softmax over the keys that are no padding"""
    # Far below all and not −∞: a row of padding alone stays finite, and so does its gradient
    least = torch.finfo(torch.float32).min / 2
    return upcast(scores).masked_fill(~mask[:, None, None], least).log_softmax(-1)
