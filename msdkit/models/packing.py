"""Sequences without padding: the real rows of several batches, and attention inside each sequence.

V batches (one per view) of B sequences, L positions, T real rows in all, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.models.transformer import Dropout

FULL = 0.75  # the shortest sequence of a group, as a share of its longest


class Taken(NamedTuple):
    """Which row each new row is. empty: the new rows that are none, and hold zeros."""

    rows: Tensor
    empty: Tensor

    @classmethod
    def of(cls, at: Tensor) -> Taken:
        """Rows [M], -1 for none."""
        return cls(at.clamp(min=0), (at < 0).nonzero().squeeze(1))

    def __call__(self, rows: Tensor) -> Tensor:
        """[N, H] -> [M, H]"""
        if not len(rows):
            return rows.new_zeros(len(self.rows), *rows.shape[1:])
        found = rows.index_select(0, self.rows)
        return found.index_fill_(0, self.empty, 0) if len(self.empty) else found


class Moved(NamedTuple):
    """Which row each new row is, and, for its gradient, which new row each old row became."""

    there: Taken
    back: Taken

    @classmethod
    def of(cls, there: Tensor, back: Tensor) -> Moved:
        """Rows [M] and [N], -1 where a row is new, or lost."""
        return cls(Taken.of(there), Taken.of(back))

    def reversed(self) -> Moved:
        return Moved(self.back, self.there)


class _Move(torch.autograd.Function):
    """Rows in another order. Its gradient is the way back, where PyTorch's would add up rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, move: Moved) -> Tensor:
        ctx.move = move
        return move.there(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Move.apply(gradients[0], ctx.move.reversed()), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return ctx.move.there(tangents[0])


def move(rows: Tensor, way: Moved) -> Tensor:
    """[N, H] -> [M, H]"""
    return _Move.apply(rows, way)


class Group(NamedTuple):
    """Sequences of like length, attended to together: rows = n · heads, of at most L positions.

    hidden: float [n · heads, 1, L], -inf at what is padded; None where nothing is.
    """

    rows: int
    length: int
    hidden: Tensor | None


class Packing:
    """The real rows of padded batches, one after the other.

    masks: bool `[B, L]` of each view; every sequence holds a row or more. first: where each
    sequence begins, `[V · B]`.
    """

    def __init__(self, masks: Sequence[Tensor]) -> None:
        self.shapes = [mask.shape for mask in masks]
        real = torch.cat([mask.flatten() for mask in masks])
        there = real.nonzero().squeeze(1)
        self.place = real.cumsum(0) - 1  # of each padded row that is real
        self.way = Moved.of(there, torch.where(real, self.place, -1))
        self.lengths = torch.cat([mask.sum(1) for mask in masks])
        self.first = self.lengths.cumsum(0) - self.lengths
        self.order = self.lengths.argsort(descending=True)
        self.heads = 0  # those that `spread` and `groups` are for
        self.spread: Moved
        self.groups: list[Group] = []

    def pack(self, batches: Sequence[Tensor]) -> Tensor:
        """[B, L, H] of each view -> [T, H]"""
        return move(torch.cat([batch.flatten(0, 1) for batch in batches]), self.way)

    def unpack(self, rows: Tensor) -> list[Tensor]:
        """[T, H] -> [B, L, H] of each view, zeros at what is padded"""
        sizes = [b * length for b, length in self.shapes]
        parts = move(rows, self.way.reversed()).split(sizes)
        return [part.unflatten(0, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def rows(self, columns: Sequence[Tensor]) -> Tensor:
        """Columns [B] of each view -> where these positions stand, [V · B]"""
        starts = accumulate((b * length for b, length in self.shapes), initial=0)
        at = [
            start + torch.arange(b, device=column.device) * length + column
            for start, (b, length), column in zip(starts, self.shapes, columns, strict=False)
        ]
        return self.place[torch.cat(at)]

    def attend(self, joined: Tensor, heads: int, dropout: Dropout) -> Tensor:
        """Query, key and value of each head side by side, [T, 3H] -> [T, H]: each sequence sees
        itself"""
        self._prepare(heads)
        seen = []
        for group, rows in zip(self.groups, self._spread(joined, heads), strict=True):
            query, key, value = rows.unflatten(2, (3, -1)).unbind(2)
            seen.append(attention(query, key, value, group.hidden, dropout).flatten(0, 1))
        return move(torch.cat(seen), self.spread.reversed()).view(len(joined), -1)

    def look(self, query: Tensor, joined: Tensor, heads: int, dropout: Dropout) -> Tensor:
        """One query of each sequence [S, H], key and value of each head side by side [T, 2H]
        -> [S, H]"""
        self._prepare(heads)
        none = self.order[:0]  # every sequence has its place
        order = Moved(Taken(self.order, none), Taken(self.order.argsort(), none))
        rows = move(query, order).reshape(len(query) * heads, 1, -1)
        queries = rows.split([group.rows for group in self.groups])
        seen = []
        for group, q, part in zip(self.groups, queries, self._spread(joined, heads), strict=True):
            key, value = part.unflatten(2, (2, -1)).unbind(2)
            seen.append(attention(q, key, value, group.hidden, dropout))
        return move(torch.cat(seen).view(len(query), -1), order.reversed())

    def _spread(self, joined: Tensor, heads: int) -> list[Tensor]:
        """[T, H] -> [n · heads, L, H / heads] of each group"""
        rows = move(joined.reshape(heads * len(joined), -1), self.spread)
        pieces = rows.split([group.rows * group.length for group in self.groups])
        shapes = [(group.rows, group.length) for group in self.groups]
        return [piece.unflatten(0, shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def _prepare(self, heads: int) -> None:
        if self.heads != heads:
            self.heads, (self.spread, self.groups) = heads, self._groups(heads)

    def _groups(self, heads: int) -> tuple[Moved, list[Group]]:
        """The way from [T · heads, d] to [n · heads, L, d] of each group, one after the other."""
        lengths, device = self.lengths[self.order].tolist(), self.order.device
        groups, into, head = [], [], torch.arange(heads, device=device)[:, None]
        sizes, start = _like(lengths), 0
        for chosen in self.order.split(sizes):
            length = lengths[start]
            start += len(chosen)
            position = torch.arange(length, device=device)
            real = (position < self.lengths[chosen, None])[:, None]
            row = (self.first[chosen, None] + position)[:, None]
            into.append(torch.where(real, row * heads + head, -1).flatten())
            hidden = None
            if lengths[start - 1] < length:
                hidden = torch.zeros(real.shape, device=device).masked_fill(~real, -torch.inf)
                hidden = hidden.expand(-1, heads, -1).reshape(-1, 1, length)
            groups.append(Group(len(chosen) * heads, length, hidden))
        return _way(torch.cat(into)), groups


def _way(there: Tensor) -> Moved:
    """Where each new row comes from, -1 if from nowhere; each old row is wanted once."""
    filled = (there >= 0).nonzero().squeeze(1)
    back = torch.empty(len(filled), dtype=torch.long, device=there.device)
    back[there[filled]] = filled
    return Moved.of(there, back)


def _like(lengths: Sequence[int]) -> list[int]:
    """Descending lengths -> the sizes of groups of like length"""
    sizes, longest = [0], lengths[0]
    for length in lengths:
        if length < FULL * longest:
            sizes.append(0)
            longest = length
        sizes[-1] += 1
    return sizes


def attention(
    query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None, dropout: Dropout
) -> Tensor:
    """[N, Q, d], [N, L, d], [N, L, d], and float [N, 1, L] or None -> [N, Q, d]

    Plain products on a CPU, where sequences are short and the fused kernel knows no dropout.
    """
    mask = None if hidden is None else hidden.to(query.dtype)
    if query.device.type != "cpu":
        p = dropout.p if dropout.training else 0.0
        mask = None if mask is None else mask[:, None]
        q, k, v = (x[:, None] for x in (query, key, value))  # fused kernels want heads apart
        return F.scaled_dot_product_attention(q, k, v, mask, p).squeeze(1)
    keys, scale = key.transpose(1, 2), query.shape[-1] ** -0.5
    scores = query * scale @ keys if mask is None else torch.baddbmm(mask, query, keys, alpha=scale)
    return dropout(scores.softmax(-1)) @ value


class PackedAttention(nn.Module):
    """Self-attention over packed rows, in the place and with the parameters of transformers'."""

    def __init__(self, plain: Any) -> None:
        super().__init__()
        self.num_attention_heads = plain.num_attention_heads
        self.query, self.key, self.value = plain.query, plain.key, plain.value
        self.dropout = Dropout(plain.dropout.p)

    def forward(
        self, states: Tensor, attention_mask: Packing, *_: Any, **__: Any
    ) -> tuple[Tensor, None]:
        """[T, H] -> [T, H]; the layer around it hands its mask on under this name"""
        joined = self._joined(states, self.query, self.key, self.value)
        return attention_mask.attend(joined, self.num_attention_heads, self.dropout), None

    def look(self, states: Tensor, at: Tensor, packing: Packing) -> Tensor:
        """[T, H], a row of each sequence [S] -> what these rows see, [S, H]"""
        query = self.query(states.index_select(0, at))
        joined = self._joined(states, self.key, self.value)
        return packing.look(query, joined, self.num_attention_heads, self.dropout)

    def _joined(self, states: Tensor, *linears: nn.Linear) -> Tensor:
        """[T, H] -> [T, n · H], n linear maps in one product, side by side for each head"""
        both = ([linear.weight for linear in linears], [linear.bias for linear in linears])
        heads = self.num_attention_heads
        weight, bias = (
            torch.stack([x.unflatten(0, (heads, -1)) for x in xs], 1).flatten(0, 2) for xs in both
        )
        return F.linear(states, weight, bias)


def packed(model: nn.Module) -> nn.Module:
    """Fit a model of transformers to read packed rows: its self-attention, and its dropout, which
    is slow on a CPU; names and parameters stay."""
    for part in list(model.modules()):
        for name, child in part.named_children():
            if all(hasattr(child, wanted) for wanted in ("query", "key", "value", "dropout")):
                setattr(part, name, PackedAttention(child))
            elif type(child) is nn.Dropout:
                setattr(part, name, Dropout(child.p))
    return model
