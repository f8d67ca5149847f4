"""Answers made of others when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from msdkit.types import AnswerRows, Task

Combine: TypeAlias = Callable[[Sequence[Tensor], Task], Tensor]  # K x [N, C] -> [N, C]


@dataclass(frozen=True)
class Combined:
    """The answers of several teachers made one, `[N, C]`, for the rows that are asked for."""

    rows: Sequence[AnswerRows]
    combine: Combine
    task: Task

    def __len__(self) -> int:
        return len(self.rows[0])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows[0].shape

    def __getitem__(self, index: Any) -> Tensor:
        """slice or tensor [B] -> [B, C]"""
        return self.combine([one[index] for one in self.rows], self.task)


@dataclass(frozen=True)
class Changed:
    """Answers `[N, C]` put into another form of the same shape, for rows asked for."""

    rows: AnswerRows
    change: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __getitem__(self, index: Any) -> Tensor:
        """index -> [C] or [B, C]"""
        return self.change(self.rows[index])
