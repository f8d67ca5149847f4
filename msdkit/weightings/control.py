"""Controls: tell what per-example weights do from what more loss alone does."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from msdkit import traits
from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.types import WeightingInput
from msdkit.weightings.base import Wrapper

CHUNK = 8192  # examples weighed at once
# In place of losses, students and steps: weights that differ between these read the step
UNKNOWN = (math.nan, 0.0, 1e4)


@WEIGHTINGS.register("control")
class Control(Wrapper):
    """As much weight as another weighting gives, with no choice per example.

    Formula: mean: w_iv = (1/N) Σ_j u_jv
    shuffle: w_iv = u_π(i)v, one permutation π for all views

    u are the weights of `of`, any weighting; `kind` chooses mean or shuffle. Where u is a function
    of the teacher's answers and the labels, N examples are the training set and π is drawn once
    from `seed`. A weighting that changes with the step (learned, schedule, or a plugin that reads
    the step's losses or the student) is averaged or shuffled within the batch of N, π drawn from
    `seed` and the step.

    A weighting that learns goes on to learn as if it stood alone: inside of its updates the control
    is not there.

    When: Beside every weighting per example. Only what it gains over `mean` comes from choosing
    between examples; `shuffle` also keeps the spread of its weights.

    Source: msdkit's own, a permutation control.
    """

    control = True

    def __init__(
        self,
        *,
        of: Annotated[nn.Module, WEIGHTINGS],
        kind: Literal["mean", "shuffle"] = "mean",
        seed: int = 0,
    ) -> None:
        super().__init__(of)
        self.kind, self.seed = kind, seed
        self._train: tuple[dict[str, Tensor], Tensor, list[str]] | None = None
        self._rows: dict[str, int] = {}
        self._table: Tensor | None = None
        self._in_batch = traits.learns(of) or bool(traits.per_step(of))

    @property
    def batch_coupled(self) -> bool:
        """Whether it averages or shuffles within a batch."""
        return self._in_batch

    def fit(self, teacher_logits: dict[str, Tensor], labels: Tensor, ids: list[str]) -> None:
        """Remember the training set; the weights over it are computed at the first step."""
        if fit := traits.fit(self.of):
            fit(teacher_logits, labels, ids)
        self._train, self._table = (teacher_logits, labels, ids), None
        self._rows = {key: row for row, key in enumerate(ids)}

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        if traits.learning(self.of):
            return self.of(inputs)
        if self._table is None and not self._in_batch:
            self._table = self._weigh_training_set(inputs)
            self._in_batch = self._table is None
        if self._table is None:
            return self._within(self.inner(inputs), inputs.step)
        table = self._table.to(inputs.losses)
        if self.kind == "mean":
            return table.mean(0).expand(len(inputs.ids), -1)
        unknown = [key for key in inputs.ids if key not in self._rows]
        if unknown:
            raise ConfigError(f"control: example '{unknown[0]}' is not in the training set")
        return table[[self._rows[key] for key in inputs.ids]]

    def _within(self, weights: Tensor, step: int) -> Tensor:
        """[B, V] -> [B, V]: averaged or shuffled over the batch"""
        if self.kind == "mean":
            return weights.mean(0).expand_as(weights)
        return weights[_permutation(len(weights), self.seed, step)]

    def _weigh_training_set(self, inputs: WeightingInput) -> Tensor | None:
        """[N, V], or None where the weights are no function of the teacher and the labels alone"""
        if self._train is None:
            raise ConfigError("control: call fit(teacher_logits, labels, ids) over train first")
        tables = [self._weighed(inputs, unknown) for unknown in UNKNOWN]
        table = tables[0]
        if not table.isfinite().all() or not all(torch.equal(table, t) for t in tables):
            return None
        return table[_permutation(len(table), self.seed)] if self.kind == "shuffle" else table

    def _weighed(self, inputs: WeightingInput, unknown: float) -> Tensor:
        """[N, V]: the weights of the training set where all that a step would tell is made up"""
        assert self._train is not None
        before = deepcopy(self.of.state_dict())
        parts = [
            self.inner(self._training_part(inputs, start, unknown)).detach().float().cpu()
            for start in range(0, len(self._train[2]), CHUNK)
        ]
        self.of.load_state_dict(before, strict=False)  # running means must not keep it
        return torch.cat(parts)

    def _training_part(self, inputs: WeightingInput, start: int, unknown: float) -> WeightingInput:
        """What is known of some training examples before any step, and the rest made up."""
        assert self._train is not None
        logits, labels, ids = self._train
        part, device = slice(start, start + CHUNK), inputs.losses.device
        teachers = {v: x[part].to(device) for v, x in logits.items()}
        shape = (len(ids[part]), len(inputs.views))
        made_up = torch.linspace(0, 1, math.prod(shape)).reshape(shape).to(inputs.losses)
        return replace(
            inputs,
            teacher_logits=teachers,
            student_logits=dict.fromkeys(inputs.views, unknown * teachers["multimodal"]),
            losses=unknown * made_up,
            step=inputs.step if math.isnan(unknown) else int(unknown),
            labels=labels[part].to(device),
            ids=ids[part],
        )


def _permutation(count: int, seed: int, step: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed((seed + step * 1_000_003) % 2**63)
    return torch.randperm(count, generator=generator)
