"""VisualBERT on transformers' implementation, with its checkpoints and BERT's."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from collections.abc import Sequence as Listing
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError, DataError, listing
from msdkit.models.base import EmbeddingModel, load_strictly, read_weights
from msdkit.models.masking import Embedded, Masking
from msdkit.models.transformer import Inside, attention_scores, key_mask, run_layers
from msdkit.registry import MODELS
from msdkit.types import Modality, ModelOutput, Sequence

# A constructor's parameter and its key in config.json
PARAMETERS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
}
# What this model does not vary: another value in config.json is refused
FIXED = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "position_embedding_type": "absolute",
    "bypass_transformer": False,
}
# Prefixes of a checkpoint's names, and ours; heads that this model has no use for
PREFIXES = {"visual_bert.": "bert.", "bert.": "bert.", "cls.": "head.", "classifier.": "head."}
OTHER_HEADS = ("head.predictions.", "head.seq_relationship.", "attention.")
# What a plain BERT lacks: new, but for these copies, which VisualBERT starts from
VISUAL = "bert.embeddings.visual_"
COPIES = {
    f"{VISUAL}token_type_embeddings.weight": "bert.embeddings.token_type_embeddings.weight",
    f"{VISUAL}position_embeddings.weight": "bert.embeddings.position_embeddings.weight",
}


@MODELS.register("visual_bert")
class VisualBert(EmbeddingModel):
    """A BERT over [CLS] text [SEP] and image regions (Li et al., 2019, arXiv 1908.03557).

    text, image: the names of its two modalities, token ids without special tokens (the model adds
    them) and feature rows. pool: what the head reads: "cls", BERT's pooler, or "last_token", the
    last text token's state, as VisualBERT's own question-answering checkpoints do.
    visual_token_type: the regions' token type. The published models were trained with 0; code that
    fine-tuned with transformers' default used 1.

    [SEP] stands in the column after the longest text, at the position after its own text; so
    L = 2 + text + regions. With masking `mask_token`, regions get the [MASK] word's embedding too.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None = None,
        *,
        text: str = "text",
        image: str = "image",
        layers: int = 12,
        hidden: int = 768,
        heads: int = 12,
        intermediate: int | None = None,
        vocab_size: int = 30522,
        max_positions: int = 512,
        dropout: float = 0.1,
        pool: Literal["cls", "last_token"] = "cls",
        visual_token_type: int = 0,
        cls_token_id: int = 101,
        sep_token_id: int = 102,
        mask_token_id: int = 103,
    ) -> None:
        from transformers import VisualBertConfig, VisualBertModel

        super().__init__(modalities, num_classes, masking, width=hidden)
        special = (cls_token_id, sep_token_id, mask_token_id)
        _check(self.modalities, text, image, vocab_size, special)
        if hidden % heads:
            raise ConfigError(f"hidden is {hidden}, which {heads} heads do not divide evenly")
        self.text, self.image = text, image
        self.visual_token_type = visual_token_type
        self.special_ids, self.mask_token_id = special[:2], mask_token_id
        config = VisualBertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden,
            visual_embedding_dim=self.modalities[image].size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate or 4 * hidden,
            max_position_embeddings=max_positions,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=0,
        )
        self.bert = VisualBertModel(config, add_pooling_layer=pool == "cls")
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, num_classes)

    @classmethod
    def provides(cls, **params: Any) -> set[str]:
        return {"pooled", "hidden", "attention", "value", "mask_token"}

    @property
    def encoder_layers(self) -> nn.ModuleList:
        return self.bert.encoder.layer

    def mask_token(self, modality: str) -> Tensor | None:
        """[H], the [MASK] word's embedding, for regions as for words"""
        return self.bert.embeddings.word_embeddings.weight[self.mask_token_id]

    def embed(self, inputs: Mapping[str, Sequence]) -> dict[str, Embedded]:
        """{modality: [B, L(, D)]} -> {modality or "special": ([B, L, H], [B, L])}"""
        first = next(iter(inputs.values())).mask
        # One look-up for all ids: every look-up costs a gradient as large as the whole table
        ids = torch.tensor(self.special_ids, device=first.device).expand(len(first), 2)
        if self.text in inputs:
            ids = torch.cat([ids, inputs[self.text].values.to(ids.dtype)], 1)
        words = self.bert.embeddings.word_embeddings(ids)
        parts = {"special": (words[:, :2], first.new_ones(len(first), 2))}
        if self.text in inputs:
            parts[self.text] = (words[:, 2:], inputs[self.text].mask)
        if self.image in inputs:
            regions, mask = inputs[self.image]
            parts[self.image] = (self.bert.embeddings.visual_projection(regions), mask)
        return parts

    def encode(self, parts: Mapping[str, Embedded], features: Listing[str] = ()) -> ModelOutput:
        """{modality or "special": ([B, L, H], [B, L])} -> logits [B, C] and the features"""
        states, mask, last = self._join(parts)
        keys = key_mask(mask)
        if keys is not None:
            keys = torch.zeros_like(keys, dtype=states.dtype).masked_fill(
                ~keys, torch.finfo(states.dtype).min
            )
        states, found = run_layers(
            self.encoder_layers, states, features, lambda layer, x: layer(x, keys)[0], _inside
        )
        if self.bert.pooler is not None:
            pooled = self.bert.pooler(states)
        else:
            pooled = states[torch.arange(len(states), device=states.device), last]
        if "pooled" in features:
            found["pooled"] = pooled
        return ModelOutput(self.head(self.dropout(pooled)), found, mask)

    def _join(self, parts: Mapping[str, Embedded]) -> tuple[Tensor, Tensor, Tensor]:
        """States [B, L, H], mask [B, L], and the last text token's place [B], 0 if none"""
        table = self.bert.embeddings
        special, shown = parts["special"]
        nothing = (special[:, :0], shown[:, :0])
        words, text_mask = parts.get(self.text, nothing)
        regions, region_mask = parts.get(self.image, nothing)
        places, last = self._places(text_mask)
        text = torch.cat([special[:, :1], words, special[:, 1:]], 1)
        text = text + table.position_embeddings(places) + table.token_type_embeddings.weight[0]
        kind = table.visual_token_type_embeddings.weight[self.visual_token_type]
        regions = regions + table.visual_position_embeddings.weight[0] + kind
        states = table.dropout(table.LayerNorm(torch.cat([text, regions], 1)))
        return states, torch.cat([shown[:, :1], text_mask, shown[:, 1:], region_mask], 1), last

    def _places(self, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L] -> positions of [CLS] text [SEP], [B, L + 2], and of the last text token, [B]"""
        length, most = text_mask.shape[1] + 2, self.bert.config.max_position_embeddings
        if length > most:
            raise DataError(
                f"VisualBert: modality '{self.text}' has {length - 2} tokens; accepted: at most "
                f"{most - 2} (max_positions without [CLS] and [SEP]); cut it in its processor"
            )
        places = torch.arange(length - 1, device=text_mask.device)
        last = (nn.functional.pad(text_mask, (1, 0)) * places).amax(1)
        return torch.cat([places.expand(len(last), -1), last[:, None] + 1], 1), last

    @classmethod
    def parameters_from(cls, folder: str | Path) -> dict[str, Any]:
        """From msdkit's `model.json`, or transformers' `config.json` of a VisualBERT or BERT."""
        folder = Path(folder)
        if not _from_transformers(folder):
            return super().parameters_from(folder)
        config = _read_config(folder)
        params = {ours: config[theirs] for ours, theirs in PARAMETERS.items() if theirs in config}
        if "VisualBertForQuestionAnswering" in (config.get("architectures") or ()):
            params["pool"] = "last_token"
        return params

    def load_folder(self, folder: str | Path) -> None:
        """Load msdkit's own folder, or transformers' safetensors of a VisualBERT or BERT.

        A head or pooler that does not fit, and what a BERT lacks, stay new, with a warning.
        """
        folder = Path(folder)
        if not _from_transformers(folder):
            return super().load_folder(folder)
        self._check_width(folder)
        weights = {_own_name(n): v for n, v in read_weights(folder).items() if _is_weight(n)}
        own = self.state_dict()
        plain_bert = not any(name.startswith(VISUAL) for name in weights)
        unread = {n for n in weights if n not in own and _replaceable(n)}
        fits = {n for n in own.keys() & weights.keys() if weights[n].shape == own[n].shape}
        new = {n for n in own.keys() - fits if _replaceable(n, plain_bert)}
        loaded = {n: v for n, v in weights.items() if n not in unread | new}
        copied = {n: loaded[s] for n, s in COPIES.items() if n in new and s in loaded}
        kept = {n: own[n] for n in new - copied.keys()}
        load_strictly(self, loaded | copied | kept, str(folder), optional=("masking.",))
        return _warn(folder, set(kept), unread)

    def _check_width(self, folder: Path) -> None:
        given, width = _read_config(folder).get("visual_embedding_dim"), self.modalities[self.image]
        if given not in (None, width.size):
            raise DataError(
                f"{folder}: visual_embedding_dim is {given}; accepted: {width.size}, the width of "
                f"modality '{self.image}'"
            )


def _check(
    modalities: Mapping[str, Modality], text: str, image: str, vocab_size: int, special: tuple
) -> None:
    kinds = {name: m.kind for name, m in modalities.items()}
    if kinds != {text: "tokens", image: "features"}:
        raise ConfigError(
            f"VisualBert got modalities {kinds}; accepted: exactly "
            f"{ {text: 'tokens', image: 'features'} } (other names by text=…, image=…)"
        )
    most = max(modalities[text].size, max(special) + 1)
    if most > vocab_size:
        raise ConfigError(
            f"VisualBert: vocab_size is {vocab_size}, but '{text}' and the special tokens "
            f"{list(special)} need {most}"
        )


def _inside(layer: Any, states: Tensor) -> Inside:
    attention = layer.attention.self
    query, key, value = (
        project(states).unflatten(2, (attention.num_attention_heads, -1)).transpose(1, 2)
        for project in (attention.query, attention.key, attention.value)
    )
    return attention_scores(query, key), value


def _from_transformers(folder: Path) -> bool:
    return (folder / "config.json").exists() and not (folder / "model.json").exists()


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error})") from error
    if config.get("model_type") not in ("visual_bert", "bert"):
        kind = config.get("model_type")
        raise DataError(
            f"{path}: model_type is '{kind}'; accepted: {listing(['visual_bert', 'bert'])}"
        )
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise DataError(f"{path}: {key} is {config[key]!r}; accepted: {value!r}")
    return config


def _is_weight(name: str) -> bool:
    return not name.endswith("embeddings.position_ids")  # a constant that older versions saved


def _own_name(name: str) -> str:
    prefix = next((p for p in PREFIXES if name.startswith(p)), None)
    if prefix is not None:
        return PREFIXES[prefix] + name.removeprefix(prefix)
    return name if name.startswith("attention.") else f"bert.{name}"


def _replaceable(name: str, plain_bert: bool = False) -> bool:
    """Whether a tensor may be left unread, or stay new, with a warning."""
    parts = ("head.", "bert.pooler.", *OTHER_HEADS)
    return name.startswith(parts) or (plain_bert and name.startswith(VISUAL))


def _warn(folder: Path, new: set[str], unread: set[str]) -> None:
    if new:
        warnings.warn(
            f"{folder}: not in this checkpoint, so newly made: {listing(new)}", stacklevel=3
        )
    if unread:
        warnings.warn(f"{folder}: in this checkpoint but not used: {listing(unread)}", stacklevel=3)
