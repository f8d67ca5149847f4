"""A pre-LN transformer layer on PyTorch's fused attention, and a stack of numbered layers.

B batch, L positions, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.errors import ConfigError

Inside = tuple[Tensor, Tensor]  # scores [B, heads, L, L] and values [B, heads, L, H / heads]


class Dropout(nn.Dropout):
    """Dropout that draws four 16-bit numbers at once where PyTorch draws one by one: on a CPU.

    Each element is dropped with probability p, rounded to 1/65536.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[...] -> [...]"""
        if not self.training or self.p in (0, 1) or input.device.type != "cpu":
            return super().forward(input)
        words = torch.empty((input.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        drawn = words.view(torch.int16)[: input.numel()].view(input.shape)
        # A mask of numbers: products are vectorised, choices by a mask of booleans are not
        scale = torch.empty(input.shape, dtype=torch.float32)
        torch.ge(drawn, round(self.p * 2**16) - 2**15, out=scale).mul_(1 / (1 - self.p))
        return (input * scale).to(input.dtype)


class TransformerLayer(nn.Module):
    """x ← x + attention(norm(x)), then x ← x + mlp(norm(x)).

    Normalised before each part (Xiong et al., 2020, arXiv 2002.04745), so it trains without warmup.
    No dropout on the attention weights: that would rule out the fused kernel.
    """

    def __init__(self, hidden: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        if hidden % heads:
            raise ConfigError(f"hidden is {hidden}, which {heads} heads do not divide evenly")
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, round(mlp_ratio * hidden))
        self.down = nn.Linear(round(mlp_ratio * hidden), hidden)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, L, H], key mask bool [B, 1, 1, L] or None -> [B, L, H]"""
        query, key, value = self._heads(states)
        attended = F.scaled_dot_product_attention(query, key, value, mask)
        attended = attended.transpose(1, 2).flatten(2)
        states = states + self.dropout(self.out(attended))
        return states + self.dropout(self.down(F.gelu(self.up(self.norm2(states)))))

    def inside(self, states: Tensor) -> Inside:
        """[B, L, H] -> scores before softmax [B, heads, L, L], values [B, heads, L, H / heads]"""
        query, key, value = self._heads(states)
        return attention_scores(query, key), value

    def _heads(self, states: Tensor) -> tuple[Tensor, ...]:
        qkv = self.qkv(self.norm1(states)).unflatten(2, (3, self.heads, -1))
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """[B, heads, L, d], [B, heads, L, d] -> [B, heads, L, L], q·k / √d without any mask"""
    return query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5


def key_mask(mask: Tensor) -> Tensor | None:
    """bool [B, L] -> bool [B, 1, 1, L], or None where it is cheap to know that nothing is padded"""
    # On an accelerator the question would wait for the device; a traced graph must not depend on it
    if mask.device.type == "cpu" and not torch.compiler.is_compiling() and bool(mask.all()):
        return None
    return mask[:, None, None]


def under(mask: Tensor | None) -> Callable[[Any, Tensor, int], Tensor]:
    """The step of `run_layers` that calls a layer with a key mask."""
    return lambda layer, states, _: layer(states, mask)


def run_layers(
    layers: Iterable[Any],
    states: Tensor,
    features: Sequence[str],
    step: Callable[[Any, Tensor, int], Tensor],
    inside: Callable[[Any, Tensor], Inside],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Layers in order on [B, L, H]; the last states, and the `hidden.i`, `attention.i`, `value.i`
    among `features`, numbered from 1 (`hidden.0` is the first layer's input).

    step: (layer, states, its number) -> states; inside: what is computed before its softmax.
    """
    found = {"hidden.0": states} if "hidden.0" in features else {}
    for i, layer in enumerate(layers, 1):
        if not features:
            states = step(layer, states, i)
            continue
        if f"attention.{i}" in features or f"value.{i}" in features:
            scores, values = inside(layer, states)
            both = {f"attention.{i}": scores, f"value.{i}": values}
            found |= {name: both[name] for name in both if name in features}
        states = step(layer, states, i)
        if f"hidden.{i}" in features:
            found[f"hidden.{i}"] = states
    return states, found
