"""Several teachers in place of one: their answers averaged, or left to a specialist per view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.errors import ConfigError
from msdkit.functional import upcast
from msdkit.registry import MODELS
from msdkit.types import NonNegativeFloat, Task, View

NO_CONFIDENCE = "confidence needs classes; a regression has none"


@MODELS.register("multi_teacher")
class MultiTeacher(nn.Module):
    """Several teachers: the weighted mean of their logits, t(x) = Σ_k w_k(x) t_k(x).

    A mean of logits is the geometric mean of the softmaxes at every temperature, which is how
    Hinton, Vinyals and Dean, 2015 (arXiv 1503.02531), section 1, let an ensemble teach. Each
    teacher answers every view from its own cache.

    teachers: nodes as under `teacher` (a config, `{run: FOLDER}`, …); weights: "equal", one number
    for each (they are made to sum to 1), or "confidence": per example and view, the softmax over
    the teachers of minus the entropy of each one's answer (nats; summed over the classes of
    multi-label tasks), so that the surer teacher counts more. specialists: {view: node}; that
    teacher alone answers the view, from all of its modalities if it knows none but the view's.
    """

    def __init__(
        self,
        *,
        teachers: list[Any],
        weights: Literal["equal", "confidence"] | list[NonNegativeFloat] = "equal",
        specialists: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not teachers:
            raise ConfigError("teachers: expected at least one, got none")
        if isinstance(weights, list) and (len(weights) != len(teachers) or not sum(weights)):
            raise ConfigError(
                f"weights: expected {len(teachers)} numbers, one for each teacher, not all 0; "
                f"got {weights}"
            )
        self.teachers, self.weights = teachers, weights
        self.specialists = specialists or {}

    @staticmethod
    def combined(node: dict[str, Any]) -> dict[str, Any]:
        """{where: node} of the teachers, and of the specialists."""
        listed = {f"teachers.{i}": one for i, one in enumerate(node.get("teachers") or [])}
        alone = {f"specialists.{v}": one for v, one in (node.get("specialists") or {}).items()}
        return {**listed, **alone}

    @staticmethod
    def misfits(
        node: dict[str, Any], modalities: Sequence[str], task: Task
    ) -> Iterator[tuple[str, str]]:
        """(path, message): views that there are not, and confidence where there is none."""
        for view in node.get("specialists") or {}:
            try:
                View.parse(view, modalities)
            except ConfigError as error:
                yield f"specialists.{view}", str(error)
        if node.get("weights") == "confidence" and task == "regression":
            yield "weights", NO_CONFIDENCE

    def forward(self, answers: Sequence[Tensor], task: Task) -> Tensor:
        """K x [N, C] -> [N, C]"""
        stacked = torch.stack([upcast(a) for a in answers], dim=1)  # [N, K, C]
        return (self._shares(stacked, task).unsqueeze(-1) * stacked).sum(1)

    def _shares(self, logits: Tensor, task: Task) -> Tensor:
        """[N, K, C] -> [N, K], each row sums to 1"""
        if self.weights == "confidence":
            return (-entropy(logits, task)).softmax(dim=1)
        count = logits.shape[1]
        given = self.weights if isinstance(self.weights, list) else [1.0] * count
        weights = logits.new_tensor(given)
        return (weights / weights.sum()).expand(logits.shape[:2])


def entropy(logits: Tensor, task: Task) -> Tensor:
    """[..., C] -> [...], nats; ConfigError for regression, whose answers have none"""
    if task == "regression":
        raise ConfigError(f"weights: {NO_CONFIDENCE}")
    if task == "single_label":
        return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
    p = logits.sigmoid()
    return F.binary_cross_entropy_with_logits(logits, p, reduction="none").sum(-1)
