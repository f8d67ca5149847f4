"""Controls: tell what per-example weights do from what more loss alone does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.types import WeightingInput
from msdkit.weightings.base import Weighting

CHUNK = 8192  # examples weighed at once


@WEIGHTINGS.register("control")
class Control(Weighting):
    """The mean, or a seeded shuffle over the training set, of another weighting's weights.

    kind "mean": every example gets the training mean of `of`'s weights per view: as much loss, no
    choice per example. "shuffle": every example gets another one's weights: the same distribution,
    no relation to the example. `of` must be a function of the teacher's answers and the labels.
    """

    def __init__(
        self,
        *,
        of: Annotated[nn.Module, WEIGHTINGS],
        kind: Literal["mean", "shuffle"] = "mean",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.of, self.kind, self.seed = of, kind, seed
        self._train: tuple[dict[str, Tensor], Tensor, list[str]] | None = None
        self._rows: dict[str, int] = {}
        self._table: Tensor | None = None

    def teacher_views(self, modalities: Sequence[str]) -> list[str]:
        hook = getattr(self.of, "teacher_views", None)
        return hook(modalities) if hook else []

    def validate(self, views: Sequence[str]) -> None:
        hook = getattr(self.of, "validate", None)
        if hook:
            hook(views)

    def fit(self, teacher_logits: dict[str, Tensor], labels: Tensor, ids: list[str]) -> None:
        """Remember the training set; the weights over it are computed at the first step."""
        inner = getattr(self.of, "fit", None)
        if inner:
            inner(teacher_logits, labels, ids)
        self._train, self._table = (teacher_logits, labels, ids), None
        self._rows = {key: row for row, key in enumerate(ids)}

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        if self._table is None:
            self._table = self._weigh_training_set(inputs)
        table = self._table.to(inputs.losses)
        if self.kind == "mean":
            return table.mean(0).expand(len(inputs.ids), -1)
        unknown = [key for key in inputs.ids if key not in self._rows]
        if unknown:
            raise ConfigError(f"control: example '{unknown[0]}' is not in the training set")
        return table[[self._rows[key] for key in inputs.ids]]

    def _weigh_training_set(self, inputs: WeightingInput) -> Tensor:
        if self._train is None:
            raise ConfigError("control: call fit(teacher_logits, labels, ids) over train first")
        logits, labels, ids = self._train
        device, parts = inputs.losses.device, []
        for start in range(0, len(ids), CHUNK):
            part = slice(start, start + CHUNK)
            n = len(ids[part])
            chunk = replace(
                inputs,
                teacher_logits={v: x[part].to(device) for v, x in logits.items()},
                student_logits={},
                losses=inputs.losses.new_full((n, len(inputs.views)), torch.nan),
                labels=labels[part].to(device),
                ids=ids[part],
            )
            parts.append(self.of(chunk).detach().float().cpu())
        table = torch.cat(parts)
        if not table.isfinite().all():
            raise ConfigError(
                "control: the wrapped weighting must depend only on the teacher's answers and the "
                "labels; it also used the losses of the step"
            )
        if self.kind == "shuffle":
            order = torch.randperm(len(table), generator=torch.Generator().manual_seed(self.seed))
            table = table[order]
        return table
