"""A small transformer over any number of modalities, made to train on a few CPU cores."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.errors import DataError
from msdkit.models.base import EmbeddingModel
from msdkit.models.masking import Embedded, Masking
from msdkit.models.named import NamedModules, NamedParameters
from msdkit.models.transformer import Dropout, TransformerLayer, key_mask, run_layers, under
from msdkit.registry import MODELS
from msdkit.types import Fraction, Modality, ModelOutput, Padded, PositiveFloat, PositiveInt


@MODELS.register("fusion_transformer")
class FusionTransformer(EmbeddingModel):
    """One transformer over [cls] and the positions of all shown modalities.

    Tokens are embedded, feature rows normalised and projected; learned positions and a vector for
    the modality are added. The head reads [cls], the mean of each modality (zeros where hidden) and
    the product of the shown means (zeros where fewer than two are shown).

    hidden: width H; mlp_ratio: the layers' inner width over H; max_length: most positions of one
    modality; embedding: width of the token embeddings when smaller than H. `pooled` is the head's
    inner layer, `hidden.i` the states before the final norm.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None = None,
        *,
        hidden: PositiveInt = 256,
        layers: PositiveInt = 2,
        heads: PositiveInt = 4,
        mlp_ratio: PositiveFloat = 4.0,
        dropout: Fraction = 0.1,
        max_length: PositiveInt = 512,
        embedding: PositiveInt | None = None,
    ) -> None:
        super().__init__(modalities, num_classes, masking, width=hidden)
        self.max_length = max_length
        self.inputs = NamedModules(
            {name: _input_layer(m, hidden, embedding) for name, m in self.modalities.items()}
        )
        self.cls = _small_random(hidden)
        self.positions = NamedParameters(
            {name: _small_random(max_length, hidden) for name in self.modalities}
        )
        self.kinds = NamedParameters({name: _small_random(hidden) for name in self.modalities})
        asked = self.modalities if "mask_token" in self.masking.needs else ()
        self.mask_tokens = NamedParameters({name: _small_random(hidden) for name in asked})
        self.layers = nn.ModuleList(
            TransformerLayer(hidden, heads, mlp_ratio, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.pool = nn.Linear((len(self.modalities) + 2) * hidden, hidden)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(hidden, num_classes)

    @classmethod
    def provides(cls, **params: Any) -> set[str]:
        return {"pooled", "hidden", "attention", "value", "mask_token"}

    @property
    def encoder_layers(self) -> nn.ModuleList:
        return self.layers

    def mask_token(self, modality: str) -> Tensor | None:
        """[H], learned, if the masking asks for one"""
        return self.mask_tokens.get(modality)

    def embed(self, inputs: Mapping[str, Padded]) -> dict[str, Embedded]:
        """{modality: [B, L(, D)]} -> {modality: ([B, L, H], [B, L])}"""
        for name, sequence in inputs.items():
            if sequence.mask.shape[1] > self.max_length:
                raise DataError(
                    f"FusionTransformer: modality '{name}' has {sequence.mask.shape[1]} positions; "
                    f"accepted: at most max_length = {self.max_length}"
                )
        return {name: (self.inputs[name](s.values), s.mask) for name, s in inputs.items()}

    def encode(self, parts: Mapping[str, Embedded], features: Sequence[str] = ()) -> ModelOutput:
        """{shown modality: ([B, L, H], [B, L])} -> logits [B, C] and the features"""
        states, mask = self._join(parts)
        states, found = run_layers(
            self.layers,
            states,
            features,
            under(key_mask(mask)),
            TransformerLayer.inside,
        )
        pooled = self._pool(self.norm(states), parts)
        if "pooled" in features:
            found["pooled"] = pooled
        return ModelOutput(self.head(self.dropout(pooled)), found, mask)

    def _join(self, parts: Mapping[str, Embedded]) -> tuple[Tensor, Tensor]:
        """[cls] and all shown positions in one sequence [B, L, H], and its mask [B, L]"""
        first, first_mask = next(iter(parts.values()))
        states = [self.cls.to(first.dtype).expand(len(first), 1, -1)]
        masks = [first_mask.new_ones(len(first), 1)]
        for name, (embeddings, mask) in parts.items():
            place = self.positions[name][: mask.shape[1]] + self.kinds[name]
            states.append(embeddings + place)
            masks.append(mask)
        return torch.cat(states, 1), torch.cat(masks, 1)

    def _pool(self, states: Tensor, parts: Mapping[str, Embedded]) -> Tensor:
        """[B, L, H] -> [B, H]; one product with an averaging matrix gives [cls] and every mean"""
        names = list(self.modalities)
        averaging = states.new_zeros(len(states), 1 + len(names), states.shape[1])
        averaging[:, 0, 0] = 1
        start = 1
        for name, (_, mask) in parts.items():
            share = mask / mask.sum(1, keepdim=True).clamp(min=1)
            averaging[:, 1 + names.index(name), start : start + mask.shape[1]] = share
            start += mask.shape[1]
        pieces = list((averaging @ states).unbind(1))
        shown = [pieces[1 + names.index(name)] for name in parts]
        several = len(shown) > 1
        pieces.append(functools.reduce(operator.mul, shown) if several else pieces[0] * 0)
        return F.gelu(self.pool(torch.cat(pieces, 1)))


def _small_random(*shape: int) -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(*shape))


def _input_layer(modality: Modality, hidden: int, embedding: int | None) -> nn.Module:
    if modality.kind == "features":
        # The projection can scale and shift; so no gradient has to reach the norm
        norm = nn.LayerNorm(modality.size, elementwise_affine=False)
        return nn.Sequential(norm, nn.Linear(modality.size, hidden))
    table = nn.Embedding(modality.size, embedding or hidden)
    nn.init.normal_(table.weight, std=0.02)
    if embedding is None or embedding == hidden:
        return table
    return nn.Sequential(table, nn.Linear(embedding, hidden, bias=False))
