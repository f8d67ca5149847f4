"""What BERTs over text and image rows share: the sequence, its layers and the classifier.

B batch, L positions, H hidden width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError, DataError
from msdkit.models.base import EmbeddingModel
from msdkit.models.keys import BertKeys, BertSize
from msdkit.models.masking import Embedded, Masking
from msdkit.models.packing import Packing
from msdkit.models.transformer import Dropout, Inside, attention_scores, run_layers
from msdkit.types import Modality, ModelOutput, Padded

# A constructor's parameter and its key in transformers' config.json
CONFIG_KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
}


class BertClassifier(EmbeddingModel):
    """[CLS] text [SEP] and the rows of an image through the layers of a BERT.

    A subclass sets `bert` (transformers' module with `encoder.layer` and `pooler`) and `head`, and
    defines `rows`, which gives the image's content, and `place_text` and `place_rows`, which add
    what tells positions and modalities apart.

    [SEP] stands in the column after the longest text, at the position after its own text; so
    L = 2 + text + rows.
    """

    bert: Any
    head: nn.Module

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None,
        size: BertSize,
        keys: BertKeys,
        head_dropout: float = 0.0,
    ) -> None:
        super().__init__(modalities, num_classes, masking, width=size.hidden)
        self._check_parts(keys)
        if size.hidden % size.heads:
            raise ConfigError(
                f"hidden is {size.hidden}, which {size.heads} heads do not divide evenly"
            )
        self.text, self.image, self.max_positions = keys.text, keys.image, keys.max_positions
        self.special_ids = keys.cls_token_id, keys.sep_token_id
        self.mask_token_id = keys.mask_token_id
        self.dropout = Dropout(head_dropout)

    @classmethod
    def provides(cls, **params: Any) -> set[str]:
        return {"pooled", "hidden", "attention", "value", "mask_token"}

    @property
    def encoder_layers(self) -> nn.ModuleList:
        return self.bert.encoder.layer

    @property
    def words(self) -> nn.Embedding:
        """The table of word embeddings."""
        return self.bert.embeddings.word_embeddings

    def rows(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B, L, D], [B, L] -> [B, L, H], the content of the image"""
        raise NotImplementedError

    def place_text(self, words: Tensor, places: Tensor) -> Tensor:
        """[B, L, H], positions [B, L] -> [B, L, H], ready for the first layer"""
        raise NotImplementedError

    def place_rows(self, rows: Tensor, mask: Tensor) -> Embedded:
        """[B, L, H], [B, L] -> states and mask, ready for the first layer; L = 0 where hidden"""
        raise NotImplementedError

    def read_rows(self, packing: Packing, last: Sequence[Tensor]) -> Tensor:
        """The row of each sequence that the head reads, [S]: that of [CLS].

        last: where the last text token of each stands, [B] of each view.
        """
        return packing.first

    def last_layer(self, layer: Any, states: Tensor, read: Tensor, packing: Packing) -> Tensor:
        """[T, H], rows [S] -> the layer's output at these rows alone, [S, H]"""
        seen = layer.attention.self.look(states, read, packing)
        return layer.feed_forward_chunk(layer.attention.output(seen, states[read]))

    def pool(self, states: Tensor) -> Tensor:
        """What the head reads of the last layer, [S, H] -> [S, H]"""
        return self.bert.pooler(states[:, None])

    def inside(self, layer: Any, states: Tensor) -> Inside:
        """[B, L, H] -> scores before softmax [B, heads, L, L], values [B, heads, L, H / heads]"""
        return scores_and_values(layer.attention.self, states)

    def _inside(self, layer: Any, views: Sequence[Tensor]) -> tuple[Any, Any]:
        """[B, L, H] of each view -> the scores of all views, the values of all views"""
        scores, values = zip(*(self.inside(layer, states) for states in views), strict=True)
        return scores, values

    def mask_token(self, modality: str) -> Tensor | None:
        """[H], the [MASK] word's embedding, for rows as for words"""
        return self.words.weight[self.mask_token_id]

    def embed(self, inputs: Mapping[str, Padded]) -> dict[str, Embedded]:
        """{modality: [B, L(, D)]} -> {modality or "special": ([B, L, H], [B, L])}"""
        first = next(iter(inputs.values())).mask
        # One look-up for all ids: every look-up costs a gradient as large as the whole table
        ids = torch.tensor(self.special_ids, device=first.device).expand(len(first), 2)
        if self.text in inputs:
            ids = torch.cat([ids, inputs[self.text].values.to(ids.dtype)], 1)
        words = self.words(ids)
        parts = {"special": (words[:, :2], first.new_ones(len(first), 2))}
        if self.text in inputs:
            parts[self.text] = (words[:, 2:], inputs[self.text].mask)
        if self.image in inputs:
            values, mask = inputs[self.image]
            parts[self.image] = (self.rows(values, mask), mask)
        return parts

    def encode(self, parts: Mapping[str, Embedded], features: Sequence[str] = ()) -> ModelOutput:
        """{modality or "special": ([B, L, H], [B, L])} -> logits [B, C] and the features"""
        return self._encode_together([parts], features)[0]

    def encode_views(
        self, views: Sequence[Mapping[str, Embedded]], features: Sequence[str] = ()
    ) -> list[ModelOutput]:
        """The parts that each view shows -> its output; all go through the layers together, unless
        a subclass has an `encode` of its own"""
        if type(self).encode is not BertClassifier.encode:
            return super().encode_views(views, features)
        return self._encode_together(views, features)

    def _encode_together(
        self, views: Sequence[Mapping[str, Embedded]], features: Sequence[str]
    ) -> list[ModelOutput]:
        if torch.compiler.is_compiling():  # shapes are new at each step; compiled it was no faster
            from msdkit.models.eager import eagerly

            return eagerly(self._encode_packed, views, features)
        return self._encode_packed(views, features)

    def _encode_packed(
        self, views: Sequence[Mapping[str, Embedded]], features: Sequence[str]
    ) -> list[ModelOutput]:
        states, masks, last = zip(*map(self._join, views), strict=True)
        packing = Packing(masks)
        read, layers = self.read_rows(packing, last), self.encoder_layers
        whole = f"hidden.{len(layers)}" in features  # else only what the head reads is computed
        found: dict[str, Any]
        rows, found = run_layers(
            layers,
            packing.pack(states),
            features,
            lambda layer, x, i: (
                _first(layer(x, packing))
                if whole or i < len(layers)
                else self.last_layer(layer, x, read, packing)
            ),
            lambda layer, x: self._inside(layer, packing.unpack(x)),
        )
        pooled = self.pool(rows[read] if whole else rows)
        logits = self.head(self.dropout(pooled)).chunk(len(views))
        hidden: dict[str, Any] = {
            n: packing.unpack(x) for n, x in found.items() if n.startswith("hidden")
        }
        found |= hidden | ({"pooled": pooled.chunk(len(views))} if "pooled" in features else {})
        return [
            ModelOutput(logits[v], {name: x[v] for name, x in found.items()}, masks[v])
            for v in range(len(views))
        ]

    def _join(self, parts: Mapping[str, Embedded]) -> tuple[Tensor, Tensor, Tensor]:
        """States [B, L, H], mask [B, L], and the last text token's place [B], 0 if none"""
        special, shown = parts["special"]
        nothing = (special[:, :0], shown[:, :0])
        words, text_mask = parts.get(self.text, nothing)
        places, last = self._places(text_mask)
        text = self.place_text(torch.cat([special[:, :1], words, special[:, 1:]], 1), places)
        rows, row_mask = self.place_rows(*parts.get(self.image, nothing))
        mask = torch.cat([shown[:, :1], text_mask, shown[:, 1:], row_mask], 1)
        return torch.cat([text, rows], 1), mask, last

    def _places(self, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L] -> positions of [CLS] text [SEP], [B, L + 2], and of the last text token, [B]"""
        length, most = text_mask.shape[1] + 2, self.max_positions
        if length > most:
            raise DataError(
                f"{type(self).__name__}: modality '{self.text}' has {length - 2} tokens; accepted: "
                f"at most {most - 2} (max_positions without [CLS] and [SEP]); cut it in its "
                "processor"
            )
        places = torch.arange(length - 1, device=text_mask.device)
        last = (nn.functional.pad(text_mask, (1, 0)) * places).amax(1)
        return torch.cat([places.expand(len(last), -1), last[:, None] + 1], 1), last

    def _check_parts(self, keys: BertKeys) -> None:
        text, image = keys.text, keys.image
        special = [keys.cls_token_id, keys.sep_token_id, keys.mask_token_id]
        where, kinds = type(self).__name__, {name: m.kind for name, m in self.modalities.items()}
        if kinds != {text: "tokens", image: "features"}:
            raise ConfigError(
                f"{where} got modalities {kinds}; accepted: exactly "
                f"{ {text: 'tokens', image: 'features'} } (other names by text=…, image=…)"
            )
        most = max(self.modalities[text].size, max(special) + 1)
        if most > keys.vocab_size:
            raise ConfigError(
                f"{where}: vocab_size is {keys.vocab_size}, but '{text}' and the special tokens "
                f"{special} need {most}"
            )


def bert_config(size: BertSize, keys: BertKeys) -> dict[str, Any]:
    """What a configuration of transformers says of size and keys."""
    given = {**vars(size), **vars(keys), "intermediate": size.intermediate or 4 * size.hidden}
    shared = {theirs: given[ours] for ours, theirs in CONFIG_KEYS.items()}
    return {**shared, "attention_probs_dropout_prob": keys.dropout}


def transform_head(
    hidden: int,
    num_classes: int,
    eps: float,
    width: int | None = None,
    layers: int = 1,
    dropout: float = 0.0,
) -> nn.Sequential:
    """[B, H] -> [B, C] as MMF's classifiers do: linear to `width`, GELU, norm, then linear.

    layers: how often the first three stand there, with dropout in between.
    """
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

    wide = width or hidden
    config = BertConfig(hidden_size=wide, num_attention_heads=1, layer_norm_eps=eps)
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [Dropout(dropout), BertPredictionHeadTransform(config)]
    if wide != hidden:
        parts[1].dense = nn.Linear(hidden, wide)
    return nn.Sequential(*parts[1:], nn.Linear(wide, num_classes))


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]  # as the layer's class has it


def scores_and_values(attention: Any, states: Tensor) -> Inside:
    """What transformers' self-attention computes of [B, L, H] before its softmax"""
    query, key, value = (
        project(states).unflatten(2, (attention.num_attention_heads, -1)).transpose(1, 2)
        for project in (attention.query, attention.key, attention.value)
    )
    return attention_scores(query, key), value
