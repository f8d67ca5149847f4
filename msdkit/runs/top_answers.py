"""The likeliest of thousands of classes, and what they tell of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from msdkit.types import Task

FLOOR = log(np.finfo(np.float64).tiny)  # of a logit that is read again: no probability is 0


@dataclass(frozen=True)
class Ragged:
    """Numbers of some columns of each of N rows: those of row i stand from `ends[i]` to
    `ends[i + 1]`. ends: int64 `[N + 1]`, beginning with 0; columns: int64 `[K]`; values: `[K]`."""

    ends: Tensor
    columns: Tensor
    values: Tensor

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def counts(self) -> Tensor:
        """int64 [N]: how many columns each row has"""
        return self.ends.diff()

    def close(self, other: Ragged, off: float) -> bool:
        """Whether it has the same columns, with values that are no further apart."""
        same = torch.equal(self.ends, other.ends) and torch.equal(self.columns, other.columns)
        return same and torch.allclose(self.values, other.values, rtol=0, atol=off)

    def at(self, rows: Tensor) -> Ragged:
        """Those of some rows, int [M]."""
        counts = self.counts[rows]
        ends = F.pad(counts.cumsum(0), (1, 0))
        places = (self.ends[rows] - ends[:-1]).repeat_interleave(counts) + torch.arange(
            int(ends[-1])
        )
        return Ragged(ends, self.columns[places], self.values[places])

    def dense(self, width: int, rest: Tensor | None = None) -> Tensor:
        """-> [N, width]; `rest` [N] stands in columns that a row has not, or else 0"""
        made = self.values.new_zeros(len(self), width)
        if rest is not None:
            made += rest[:, None]
        rows = torch.arange(len(self)).repeat_interleave(self.counts)
        made[rows, self.columns] = self.values
        return made


def ragged(chosen: Tensor, values: Tensor, descending: bool = False) -> Ragged:
    """bool [N, C], those of [N, C] that it chooses, in the order of the columns or, `descending`,
    of the values, equal ones in that of the columns."""
    rows, columns = chosen.nonzero(as_tuple=True)
    held = values[rows, columns]
    if descending:
        order = torch.from_numpy(np.lexsort((-held.numpy(), rows.numpy())))
        columns, held = columns[order], held[order]
    return Ragged(F.pad(rows.bincount(minlength=len(chosen)).cumsum(0), (1, 0)), columns, held)


def top_answers(
    task: Task, logits: Tensor, labels: Tensor | None, top_k: int
) -> tuple[Ragged, Tensor]:
    """[N, C], labels -> the log-probabilities of each row's `top_k` largest, of its label and of
    what it answers, the largest first (regression: all numbers, in their order); and what `rest`
    of it is, float64 [N].

    rest: the probability of all other classes; of several labels and soft targets, whose classes
    are apart from one another, minus the log-probability that none of the others is right.
    """
    if task == "regression":
        every = torch.ones_like(logits, dtype=torch.bool)
        return ragged(every, logits.double()), torch.zeros(len(logits), dtype=torch.float64)
    chosen = torch.zeros_like(logits, dtype=torch.bool)
    chosen.scatter_(1, logits.topk(min(top_k, logits.shape[1])).indices, True)
    chosen.scatter_(1, logits.argmax(-1, keepdim=True), True)  # of equal ones the first
    if labels is not None:
        chosen |= _own(labels, logits.shape[1])
    if task == "multi_label":
        chosen |= logits > 0
    if task == "single_label":
        log_p = logits.double().log_softmax(-1)
        return ragged(chosen, log_p, True), log_p.exp().masked_fill(chosen, 0).sum(-1)
    held = ragged(chosen, logits, True)
    log_p = F.logsigmoid(held.values.double())
    others = F.softplus(logits.float().masked_fill(chosen, -torch.inf))
    return Ragged(held.ends, held.columns, log_p), others.sum(-1, dtype=torch.float64)


def whole_answers(task: Task, top: Ragged, rest: Tensor, classes: int, top_k: int) -> Tensor:
    """What `top_answers` gave -> float64 [N, C]: logits that give it again, where all classes that
    were left out share the rest, none likelier than the last of the `top_k`."""
    if task == "regression" or not len(top):
        return top.dense(classes)
    log_p, last = top.values, top.values[top.ends[:-1] + min(top_k, classes) - 1]
    share = (rest / (classes - top.counts).clamp(min=1)).clamp(min=np.finfo(np.float64).tiny)
    if task == "single_label":
        values, other = log_p, torch.minimum(share.log(), last)
    else:
        values, last = _logit(log_p), _logit(last)
        other = torch.minimum(share.expm1().log(), last)
    if task == "multi_label":
        other = other.clamp(max=0)  # or else it would have been answered
    below = torch.nextafter(other.clamp(min=FLOOR), torch.tensor(-torch.inf, dtype=other.dtype))
    return Ragged(top.ends, top.columns, values.clamp(min=FLOOR)).dense(classes, below)


def _logit(log_p: Tensor) -> Tensor:
    """log σ(z) -> z"""
    return log_p - (-log_p.expm1()).clamp(min=np.finfo(np.float64).tiny).log()


def _own(labels: Tensor, classes: int) -> Tensor:
    """bool [N, C]: the classes that a label has"""
    return labels > 0 if labels.dim() > 1 else labels[:, None] == torch.arange(classes)
