"""A split as training and evaluation read it, and the rows that are held out of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from msdkit.data.inputs import ModelInputs
from msdkit.data.labels import Labels, labels_at
from msdkit.data.raw import rows_of
from msdkit.errors import ConfigError
from msdkit.types import Batch, Padded

Inputs = dict[str, Padded]


CARVE_SEED = 0


def carve(count: int, share: float) -> tuple[Tensor, Tensor]:
    """(kept rows, rows held out) of `count` examples, each in order: the same for every run."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(CARVE_SEED))
    held = math.ceil(share * count)
    if held >= count:
        raise ConfigError(
            f"train.held_out: a share of {share} of {count} training examples leaves none"
        )
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[order[:held]] = True
    return (~chosen).nonzero()[:, 0], chosen.nonzero()[:, 0]


class Split:
    """One split as the trainer and the evaluation read it: a map-style data set of batches.

    teacher: the teacher's cached answers, {"logits": {view: `[N, C]`}, "pooled": {view: `[N, H]`}},
    tensors or what reads a batch's rows from disk when it is indexed by them;
    teacher_inputs: for a live teacher; rows: the examples that it has, None for all.
    """

    def __init__(
        self,
        inputs: ModelInputs,
        *,
        teacher_inputs: ModelInputs | None = None,
        teacher: Mapping[str, Mapping[str, Any]] | None = None,
        augment: bool = False,
        rows: Tensor | None = None,
    ) -> None:
        self.inputs, self.teacher_inputs = inputs, teacher_inputs
        self.teacher, self.augment = teacher, augment
        raw = inputs.raw
        self._whole = rows is None
        self.rows = rows_of(len(raw)) if rows is None else rows
        self.ids = raw.ids if rows is None else raw.ids.at(rows.numpy())

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def labels(self) -> Labels | None:
        """The labels of its examples, where they have any."""
        held = self.inputs.raw.labels
        return held if held is None or self._whole else labels_at(held, self.rows)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows, labels = self.rows[torch.as_tensor(indices)], self.inputs.raw.labels
        inputs = self.inputs.batch(rows.tolist(), self.augment)
        logits, features = self._teacher_answers(rows)
        return Batch(
            ids=list(self.inputs.raw.ids.at(rows.numpy())),
            inputs=inputs,
            labels=None if labels is None else labels[rows],
            teacher_logits=logits,
            teacher_features=features,
            teacher_inputs=self._teacher_inputs(rows, inputs),
            content=self._content(rows),
        )

    def _content(self, rows: Tensor) -> dict[str, Tensor]:
        """{modality: int [B]} of what is not drawn at random"""
        random, at = self.inputs.random if self.augment else (), rows.numpy()
        held = self.inputs.rows.items()
        return {m: torch.from_numpy(found[at]) for m, found in held if m not in random}

    def _teacher_answers(self, rows: Tensor) -> tuple[Any, Any]:
        """({view: logits [B, C]}, {view: {feature: [B, H]}}) from the cache."""
        if self.teacher is None:
            return None, None
        logits = {view: held[rows] for view, held in self.teacher["logits"].items()}
        features: dict[str, dict[str, Tensor]] = {view: {} for view in logits}
        for name in self.teacher.keys() - {"logits"}:
            for view, held in self.teacher[name].items():
                features[view][name] = held[rows]
        return logits, features

    def _teacher_inputs(self, rows: Tensor, inputs: Inputs) -> Inputs | None:
        """What a live teacher reads: the student's, random draws included, where it is the same."""
        if self.teacher_inputs is None:
            return None
        if self.teacher_inputs.fingerprint == self.inputs.fingerprint:
            return inputs
        return self.teacher_inputs.batch(rows.tolist(), self.augment)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])
