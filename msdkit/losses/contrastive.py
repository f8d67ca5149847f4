"""Contrastive distillation against a memory of the training set."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit import parallel
from msdkit.errors import ConfigError
from msdkit.functional import upcast
from msdkit.losses.read import vector_pairs
from msdkit.registry import LOSSES
from msdkit.types import TASKS, Fraction, ModelOutput, PositiveFloat, PositiveInt


@LOSSES.register("crd")
class ContrastiveRepresentation(nn.Module):
    """Student and teacher agree on which of many examples is the one before them.

    Formula: loss_i = D(g_s(s_i), memory of the teacher) + D(g_t(t_i), memory of the student)
    D(v, memory) = −log h(v, u_i) − Σ_k log(1 − h(v, u_k)) over K other examples k
    h(v, u) = p / (p + K/M), p = exp(⟨v, u⟩/τ) / Z

    u_j is the row of example j in the memory of M training examples; g_s and g_t are learned linear
    maps to `dim` numbers of L2 norm 1; Z is estimated from the first batch, once for each
    direction, as M times the mean of exp(⟨v, u⟩/τ).

    In nats. `negatives` is K, drawn uniformly with replacement from the other examples, at most
    M − 1 (the paper's 16384 suits large sets); `temperature` is τ. In training the rows of a batch
    become `momentum` · old + (1 − momentum) · new, of norm 1 again, after the loss is computed.
    Both memories, Z, the maps and the examples' rows are saved with a run; each view has its own.
    Processes that train together hold the same memories and Z, as of one batch; each draws its own
    negatives.

    Reduction: the sum of both directions and of all negatives for each example; the mean over the
    batch is the published value. It is not 0 at the teacher.

    When: the teacher's representation is worth more than its answers and there are many epochs, as
    an example's row is renewed once in each; weigh it by about 0.8, the paper's choice. Beside each
    view it holds 2 · M · dim numbers.

    Source: Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020, arXiv
    1910.10699, equations 17 to 19; memory and Z as in the authors' code, which may draw the example
    itself among its negatives and starts from rows of norm near 1.
    """

    needs = ("pooled",)
    per_view = True
    task_kinds = frozenset(TASKS)

    def __init__(
        self,
        train_size: int,
        student_dim: int,
        teacher_dim: int,
        *,
        dim: PositiveInt = 128,
        negatives: PositiveInt = 16384,
        temperature: PositiveFloat = 0.07,
        momentum: Fraction = 0.5,
    ) -> None:
        super().__init__()
        if train_size < 2:
            raise ConfigError(
                f"loss 'crd' needs two training examples or more to tell apart, got {train_size}"
            )
        self.negatives = min(negatives, train_size - 1)
        self.temperature, self.momentum = temperature, momentum
        self.student_embedding = nn.Linear(student_dim, dim)
        self.teacher_embedding = nn.Linear(teacher_dim, dim)
        self.student_memory: Tensor
        self.teacher_memory: Tensor
        self.log_z: Tensor
        for name in ("student_memory", "teacher_memory"):
            self.register_buffer(name, F.normalize(torch.randn(train_size, dim), dim=1))
        self.register_buffer("log_z", torch.full((2,), -math.inf))  # Z = 0: not estimated yet
        self._rows: dict[str, int] = {}

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, H], [B, H'] -> [B]"""
        ((s, t),) = vector_pairs(student, teacher, "pooled")
        rows = self._rows_of(student.ids).to(self.log_z.device)
        candidates = self._candidates(rows)
        with torch.autocast(s.device.type, enabled=False):  # cosines / τ want full precision
            s, t = _embed(self.student_embedding, s), _embed(self.teacher_embedding, t)
            loss = self._contrast(s, self.teacher_memory, candidates, self.log_z[0])
            loss = loss + self._contrast(t, self.student_memory, candidates, self.log_z[1])
        if self.training:
            self._remember(rows, s.detach(), t.detach())
        return loss

    def _rows_of(self, ids: list[str] | None) -> Tensor:
        """int [B]: the examples' rows in the memories, given out in the order of first sight"""
        if ids is None:
            raise ConfigError("loss 'crd' finds examples by ids, and this batch has none")
        for i in parallel.listed(ids):  # equal rows in all processes
            self._rows.setdefault(i, len(self._rows))
        size = len(self.student_memory)
        if len(self._rows) > size:
            raise ConfigError(
                f"loss 'crd' remembers train_size = {size} examples and met one more, "
                f"'{list(self._rows)[size]}'; it takes training examples only"
            )
        return torch.tensor([self._rows[i] for i in ids])

    def _candidates(self, rows: Tensor) -> Tensor:
        """[B] -> rows [B, 1 + K]: the example's own, then those of K others"""
        size, own = len(self.student_memory), rows.unsqueeze(1)
        others = torch.randint(size - 1, (len(rows), self.negatives), device=rows.device)
        return torch.cat([own, others + (others >= own)], dim=1)  # skips the own row

    def _contrast(self, anchors: Tensor, memory: Tensor, rows: Tensor, log_z: Tensor) -> Tensor:
        """[B, dim], [M, dim], [B, 1 + K] -> [B]; estimates `log_z` in place where there is none"""
        similar = _products(anchors, upcast(memory), rows) / self.temperature
        size = len(memory)
        count = similar.new_tensor(similar.numel())
        here = torch.stack([similar.detach().logsumexp((0, 1)), count.log()])
        log_sum, log_count = parallel.together(here[None]).logsumexp(0)
        z = torch.where(log_z.isinf(), log_sum - log_count + math.log(size), log_z)
        if self.training:
            log_z.copy_(z)
        logits = similar - z - math.log(self.negatives / size)
        return F.softplus(-logits[:, 0]) + F.softplus(logits[:, 1:]).sum(1)

    def _remember(self, rows: Tensor, student: Tensor, teacher: Tensor) -> None:
        """In place, so that a functional call on copies leaves the real memories alone."""
        rows = parallel.together(rows)
        for memory, new in ((self.student_memory, student), (self.teacher_memory, teacher)):
            mixed = self.momentum * memory[rows] + (1 - self.momentum) * parallel.together(new)
            memory.index_copy_(0, rows, F.normalize(mixed, dim=1).to(memory.dtype))

    def get_extra_state(self) -> list[str]:
        """The ids in the order of their rows."""
        return list(self._rows)

    def set_extra_state(self, state: list[str]) -> None:
        self._rows = {name: row for row, name in enumerate(state)}


def _embed(linear: nn.Linear, vectors: Tensor) -> Tensor:
    """[B, H] -> [B, dim] of L2 norm 1"""
    return F.normalize(upcast(linear(vectors.to(linear.weight.dtype))), dim=1)


def _products(anchors: Tensor, memory: Tensor, rows: Tensor) -> Tensor:
    """[B, dim], [M, dim], [B, R] -> [B, R]: anchor i with its rows, read from a copy of the memory.

    A copy, as the update comes between forward and backward; of the rows, or of all if it is less.
    """
    if rows.numel() < len(memory):
        return (memory[rows] @ anchors.unsqueeze(2)).squeeze(2)
    return (anchors @ memory.clone().T).gather(1, rows)
