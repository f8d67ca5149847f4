"""Agreement weights: a view counts where the teacher is right about it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.types import Fraction, NonNegativeFloat, Task, WeightingInput
from msdkit.weightings.base import Weighting


@WEIGHTINGS.register("agreement")
class Agreement(Weighting):
    """A view counts where the teacher's prediction from that view alone is right.

    Formula: w_iv = scale · (floor + (1 − floor) · a_iv) for single views, w_i0 = multimodal

    a_iv compares the teacher's answer from view v with the label. Single label: 1 if the most
    probable class is the label, else 0. Soft targets: the label's score of the most probable class.
    Multi-label: F1 = 2|P ∩ Y| / (|P| + |Y|) of the classes P with logit > 0 and the label's classes
    Y, 1 if both are empty.

    `floor` is what a wrong answer still counts; `scale` multiplies the single views' weights;
    `multimodal` is the constant weight w_0 of the multimodal view.

    When: The teacher never saw single modalities and errs on many of them, so that its wrong
    answers should not be copied. It reads the labels, and drops what wrong answers still tell
    of the other classes. Not for regression, where no answer is simply right.

    Source: msdkit's own; copying a teacher only where it is right is known from Meng et al.,
    Conditional Teacher-Student Learning, ICASSP 2019 (arXiv 1904.12399).
    """

    task_kinds: ClassVar[frozenset[Task]] = frozenset(
        {"single_label", "multi_label", "soft_target"}
    )

    def __init__(
        self,
        *,
        floor: Fraction = 0.0,
        scale: NonNegativeFloat = 1.0,
        multimodal: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.floor, self.scale, self.multimodal = floor, scale, multimodal

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        columns = [inputs.losses.new_full((len(inputs.ids),), self.multimodal)]
        for view in inputs.views[1:]:
            right = rightness(inputs.task, inputs.teacher_logits[view], inputs.labels)
            weight = self.scale * (self.floor + (1 - self.floor) * right)
            columns.append(weight.to(inputs.losses.dtype))
        return torch.stack(columns, dim=1).detach()


def rightness(task: str, logits: Tensor, labels: Tensor) -> Tensor:
    """[B, C], labels -> [B] in [0, 1]: how right the answer is"""
    if task == "regression":
        raise ConfigError(
            "agreement: the task is regression; accepted: single_label, multi_label, soft_target"
        )
    best = logits.argmax(1)
    if task == "single_label":
        return (best == labels).float()
    if task == "soft_target":
        return labels.gather(1, best[:, None]).squeeze(1)
    chosen, wanted = logits > 0, labels > 0.5
    both, either = (chosen & wanted).sum(1), chosen.sum(1) + wanted.sum(1)
    return torch.where(either > 0, 2 * both / either.clamp(min=1), 1.0)
