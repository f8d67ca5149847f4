"""Saliency weights: each example counts a view by how much the teacher depends on what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.functional import divergence, margin, task_loss
from msdkit.registry import WEIGHTINGS
from msdkit.types import MULTIMODAL, NonNegativeFloat, PositiveFloat, WeightingInput, known_views
from msdkit.weightings.base import Weighting

Score = Literal["kl", "loss", "margin"]


@WEIGHTINGS.register("saliency")
class Saliency(Weighting):
    """Weights per example from the teacher's dependence on each modality.

    Formula: w_im = scale · g(s_im / τ) for single views m, w_i0 = multimodal
    by removal: s_m = max(0, r_m), r_m(x) = D(teacher(x) ‖ teacher(x without m))
    by fidelity: s_m = −f_m, f_m(x) = D(teacher(x) ‖ teacher(only m))

    `by`: a large r_m says that m is salient, a small f_m that m alone explains the answer. `score`
    is D: "kl" (nats; half the squared difference for regression), "loss" (task loss without minus
    with; may be negative) or "margin" (the label's logit margin with minus without).

    `map` is g: for removal tanh(s), 2σ(s) − 1 (sigmoid), 1 − exp(−s) (exp) or the softmax over the
    single views; for fidelity exp(min(s, 0)) (exp), so that a modality which alone does better than
    all together counts 1, or the softmax. None is tanh for removal, exp for fidelity. `temperature`
    is τ. `normalize` "per_example": the single views' weights of an example are divided by their
    sum (equal shares where all are 0) before `scale` multiplies them. `multimodal` is the constant
    weight w_0 of the multimodal view. A view of several modalities is scored like one modality made
    of them.

    When: Examples differ in which modality they depend on. It needs a teacher whose answers to
    incomplete examples mean something: look at its own accuracy per view, and compare with
    control, which gives as much weight with no choice per example.

    Source: Jin et al., Modality-specific Distillation, Findings of EMNLP 2021 (arXiv 2101.01881):
    that weights per example come from the teacher's saliency is from its abstract; the
    divergences, the maps and their defaults are msdkit's.
    """

    def __init__(
        self,
        *,
        by: Literal["removal", "fidelity"] = "removal",
        score: Score = "kl",
        map: Literal["tanh", "sigmoid", "exp", "softmax"] | None = None,
        temperature: PositiveFloat = 1.0,
        scale: NonNegativeFloat = 1.0,
        multimodal: NonNegativeFloat = 1.0,
        normalize: Literal["none", "per_example"] = "none",
    ) -> None:
        super().__init__()
        if by == "fidelity" and map in ("tanh", "sigmoid"):
            raise ConfigError(
                f"map: '{map}' belongs to by: removal; by: fidelity takes exp, softmax"
            )
        self.by, self.score = by, score
        self.map = map or ("tanh" if by == "removal" else "exp")
        self.temperature, self.scale, self.multimodal = temperature, scale, multimodal
        self.normalize = normalize

    def teacher_views(self, modalities: Sequence[str]) -> list[str]:
        """Each modality alone and, by removal of one of three or more, each left out."""
        if len(modalities) < 2:
            raise ConfigError("saliency weights need at least two modalities")
        rest = [f"without_{m}" for m in modalities]
        return [*modalities, *(rest if self.by == "removal" and len(modalities) > 2 else [])]

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        scores = self.scores(inputs)
        first = torch.full_like(scores[:, :1], self.multimodal)
        if scores.shape[1] == 1:
            return first
        return torch.cat([first, self.scale * self._mapped(scores[:, 1:])], dim=1)

    def scores(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]: s_m of each view; column 0 (multimodal) is zero."""
        full = inputs.teacher_logits[MULTIMODAL]
        columns = [full.new_zeros(full.shape[0])]
        modalities = inputs.views[0].visible
        for view in inputs.views[1:]:
            seen = view.visible if self.by == "fidelity" else modalities - view.visible
            part = _logits_of(seen, modalities, inputs.teacher_logits)
            columns.append(self._distance(inputs, full, part))
        distances = torch.stack(columns, dim=1).detach()
        return distances.clamp_min(0) if self.by == "removal" else -distances

    def _distance(self, inputs: WeightingInput, full: Tensor, part: Tensor) -> Tensor:
        if self.score == "kl":
            return divergence(inputs.task, full, part)
        if self.score == "loss":
            with_all = task_loss(inputs.task, full, inputs.labels)
            return task_loss(inputs.task, part, inputs.labels) - with_all
        return margin(inputs.task, full, inputs.labels) - margin(inputs.task, part, inputs.labels)

    def _mapped(self, scores: Tensor) -> Tensor:
        s = scores / self.temperature
        if self.map == "softmax":
            return s.softmax(dim=1)
        weights = self._each(s)
        return shares(weights) if self.normalize == "per_example" else weights

    def _each(self, s: Tensor) -> Tensor:
        if self.by == "fidelity":
            return s.clamp_max(0).exp()
        if self.map == "exp":
            return -torch.expm1(-s)
        return s.tanh() if self.map == "tanh" else 2 * s.sigmoid() - 1


def shares(weights: Tensor) -> Tensor:
    """[B, M], >= 0 -> [B, M] with rows that sum to 1; equal shares where all are 0"""
    total = weights.sum(dim=1, keepdim=True)
    equal = torch.full_like(weights, 1 / weights.shape[1])
    return torch.where(total > 0, weights / total.where(total > 0, 1), equal)


def _logits_of(
    seen: frozenset[str], modalities: frozenset[str], logits: Mapping[str, Tensor]
) -> Tensor:
    for name in _names(seen, modalities):
        if name in logits:
            return logits[name]
    raise ConfigError(
        f"saliency needs the teacher's view of {sorted(seen)}, given: {', '.join(logits)}"
    )


@lru_cache
def _names(seen: frozenset[str], modalities: frozenset[str]) -> list[str]:
    """The views that show just these modalities; the same at every step."""
    return [v.name for v in known_views(sorted(modalities)) if v.visible == seen]
