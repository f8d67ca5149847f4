"""Distillation of what the modalities say together and none of them says alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from msdkit.errors import ConfigError, listing
from msdkit.functional import upcast
from msdkit.registry import LOSSES
from msdkit.types import MULTIMODAL, ModelOutput

Outputs = Mapping[str, ModelOutput]


@LOSSES.register("interaction")
class Interaction(nn.Module):
    """The part of the logits that no single modality explains is as the teacher's.

    Formula: loss = 1/C Σ_c (I_s(x) − I_t(x))²_c, with I(z) = z(x) − Σ_m z(x_m), then minus its mean
    over the C classes; m runs over the views of one modality.

    In squared logits. A constant added to all logits of a view changes nothing, nor does any part
    of the student's logits that is a sum of what it says to each modality alone. Needs the
    multimodal view, two single views or more, and two classes or more.

    Reduction: the mean over classes for each example; the mean over the batch is the loss.

    When: the answer depends on how the modalities go together (matching, entailment, sarcasm), as a
    term beside `kl` on all views: alone it leaves the single-modality answers free.

    Source: msdkit's own; the statistical interaction of a two-way layout (analysis of variance),
    with modalities hidden in the place of factors averaged out.
    """

    scope = "views"
    divergence = True
    task_kinds = frozenset({"single_label", "multi_label", "soft_target"})

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """{view: [B, C]}, {view: [B, C]} -> [B]"""
        singles = _single_views(student, teacher)
        gap = _interaction(student, singles) - _interaction(teacher, singles).detach()
        if gap.shape[1] < 2:
            raise ConfigError(
                "loss 'interaction': logits are centred over the classes, which leaves nothing of "
                f"{gap.shape[1]}; it needs two classes or more"
            )
        return (gap - gap.mean(1, keepdim=True)).square().mean(1)


def _single_views(student: Outputs, teacher: Outputs) -> list[str]:
    """The views of one modality that both gave; ConfigError where the loss cannot be computed."""
    both = [v for v in student if v in teacher]
    singles = [v for v in both if v != MULTIMODAL and not v.startswith("without_")]
    if MULTIMODAL not in both or len(singles) < 2:
        raise ConfigError(
            f"loss 'interaction' needs the views {MULTIMODAL} and at least two of one modality "
            f"each; the student gave {listing(student)}, the teacher {listing(teacher)}"
        )
    return singles


def _interaction(outputs: Outputs, singles: list[str]) -> Tensor:
    """[B, C]: the multimodal logits minus the sum of the single views'"""
    return upcast(outputs[MULTIMODAL].logits) - sum(upcast(outputs[v].logits) for v in singles)
