"""VisualBERT on transformers' implementation, with its checkpoints and those of smaller BERTs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from msdkit.errors import DataError
from msdkit.groups import Group, grouped
from msdkit.models.bert import CONFIG_KEYS, BertClassifier, Pool, bert_config, transform_head
from msdkit.models.checkpoint_names import (
    DISTILBERT,
    is_foreign,
    load_foreign,
    read_config,
    sizes,
    translate,
)
from msdkit.models.keys import BertKeys, BertSize
from msdkit.models.masking import Embedded, Masking
from msdkit.models.packing import Packing, packed
from msdkit.models.weights import read_weights
from msdkit.registry import MODELS
from msdkit.types import Modality

PRESETS = {
    "base": BertSize(intermediate=3072),
    "tinybert_4l": BertSize(layers=4, hidden=312, intermediate=1200),
    "tinybert_6l": BertSize(layers=6, intermediate=3072),
}
# A constructor's parameter and its key in config.json, by model_type
DISTILBERT_KEYS = {
    "layers": "n_layers",
    "hidden": "dim",
    "heads": "n_heads",
    "intermediate": "hidden_dim",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
    "dropout": "dropout",
}
KEYS = {"visual_bert": CONFIG_KEYS, "bert": CONFIG_KEYS, "distilbert": DISTILBERT_KEYS}
# What this model does not vary: another value in config.json is refused
FIXED = {
    "hidden_act": "gelu",
    "activation": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "position_embedding_type": "absolute",
    "bypass_transformer": False,
}
# Names of transformers, uclanlp, MMF (and its old prefixes), BERT, TinyBERT and DistilBERT
NAMES = (
    *DISTILBERT,
    (r"^(model\.bert|bert\.bert|visual_bert)\.", "bert."),
    (r"^(embeddings|encoder|pooler)\.", r"bert.\1."),
    (r"^(model|bert)\.(cls|classifier)\.", r"\2."),
    (r"^(cls\.predictions|cls\.seq_relationship|attention|fit_denses?)\.", r"other_head.\1."),
    (r"^(cls|classifier)\.", "head."),
    (r"\.token_type_embeddings_visual\.", ".visual_token_type_embeddings."),
    (r"\.position_embeddings_visual\.", ".visual_position_embeddings."),
    (r"\.embeddings\.projection\.", ".embeddings.visual_projection."),
)
HEADS = ("head.", "bert.pooler.", "other_head.")
# What a plain BERT lacks: new, but for these copies, which VisualBERT starts from
TYPES, VISUAL = "bert.embeddings.token_type_embeddings.weight", "bert.embeddings.visual_"
COPIES = {
    f"{VISUAL}token_type_embeddings.weight": TYPES,
    f"{VISUAL}position_embeddings.weight": "bert.embeddings.position_embeddings.weight",
}


@MODELS.register("visual_bert")
class VisualBert(BertClassifier):
    """A BERT over [CLS] text [SEP] and image regions (Li et al., 2019, arXiv 1908.03557).

    Also the student of its family: `preset: tinybert_4l` (4 layers of 312) and `tinybert_6l` (6 of
    768; Jiao et al., 2020, arXiv 1909.10351), or a folder of a BERT, MiniLM, TinyBERT or
    DistilBERT. Sizes that are given come before the preset's; a folder's come before both.

    It reads token ids without special tokens (the model adds them) and feature rows.
    pool: what the head reads: "cls", BERT's pooler, or "last_token", the last text token's state,
    as question-answering checkpoints do (MMF's pooler_strategy "vqa").
    head: "linear", or "transform", MMF's linear, GELU, norm, linear.
    visual_token_type: the regions' token type. The published models were trained with 0; code that
    fine-tuned with transformers' default used 1.

    [SEP] stands in the column after the longest text, at the position after its own text; so
    L = 2 + text + regions. With masking `mask_token`, regions get the [MASK] word's embedding too.

    Folders (or single files) that it loads: transformers' (VisualBERT, BERT, DistilBERT), uclanlp's
    .th and MMF's .pth and .ckpt. Where no config.json tells sizes the tensors do, and heads count
    as 64 wide; `pool` is then told by MMF's config.yaml, if it lies beside, or else by you.
    """

    @grouped
    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None = None,
        *,
        preset: Literal["base", "tinybert_4l", "tinybert_6l"] = "base",
        layers: int | None = None,
        hidden: int | None = None,
        heads: int | None = None,
        intermediate: int | None = None,
        pool: Pool = "cls",
        head: Literal["linear", "transform"] = "linear",
        visual_token_type: int = 0,
        keys: Group[BertKeys],
    ) -> None:
        from transformers import VisualBertConfig, VisualBertModel

        usual = PRESETS[preset]
        size = BertSize(
            layers=layers or usual.layers,
            hidden=hidden or usual.hidden,
            heads=heads or usual.heads,
            intermediate=intermediate or (None if hidden else usual.intermediate),
        )
        super().__init__(modalities, num_classes, masking, size, keys, head_dropout=keys.dropout)
        self.visual_token_type = visual_token_type
        width = self.modalities[keys.image].size
        config = VisualBertConfig(
            **bert_config(size, keys), visual_embedding_dim=width, pad_token_id=0
        )
        self.bert: Any = packed(VisualBertModel(config, add_pooling_layer=pool == "cls"))
        if head == "linear":
            self.head = nn.Linear(size.hidden, num_classes)
        else:
            self.head = transform_head(size.hidden, num_classes, 1e-12)

    def rows(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B, L, D], [B, L] -> [B, L, H]"""
        return self.bert.embeddings.visual_projection(values)

    def place_text(self, words: Tensor, places: Tensor) -> Tensor:
        """[B, L, H], positions [B, L] -> [B, L, H]"""
        table = self.bert.embeddings
        text = words + table.position_embeddings(places) + table.token_type_embeddings.weight[0]
        return table.dropout(table.LayerNorm(text))

    def place_rows(self, rows: Tensor, mask: Tensor) -> Embedded:
        """[B, L, H], [B, L] -> the same; all regions have position 0"""
        table = self.bert.embeddings
        kind = table.visual_token_type_embeddings.weight[self.visual_token_type]
        rows = rows + table.visual_position_embeddings.weight[0] + kind
        return table.dropout(table.LayerNorm(rows)), mask

    def read_rows(self, packing: Packing, last: Sequence[Tensor]) -> Tensor:
        """[CLS], or the last text tokens at places [B] of each view -> [S]"""
        return packing.rows(last) if self.bert.pooler is None else packing.first

    def pool(self, states: Tensor) -> Tensor:
        """[S, H] -> [S, H]"""
        return states if self.bert.pooler is None else super().pool(states)

    @classmethod
    def parameters_from(cls, folder: str | Path) -> dict[str, Any]:
        """From msdkit's `model.json`, transformers' `config.json`, or the shapes of the tensors."""
        folder = Path(folder)
        if not is_foreign(folder):
            return super().parameters_from(folder)
        if not (folder / "config.json").exists():
            weights, _ = translate(read_weights(folder), NAMES, folder)
            head = {"head": "transform"} if "head.0.dense.weight" in weights else {}
            pool = {"pool": "last_token"} if _pools_for_questions(folder) else {}
            return {**sizes(weights, folder), **head, **pool}
        config = read_config(folder, KEYS, FIXED, usual="bert")  # TinyBERT's folders name none
        keys = KEYS[config["model_type"]]
        params = {ours: config[theirs] for ours, theirs in keys.items() if theirs in config}
        if "VisualBertForQuestionAnswering" in (config.get("architectures") or ()):
            params["pool"] = "last_token"
        return params

    def load_folder(self, folder: str | Path) -> None:
        """Load msdkit's own folder, or any of the checkpoints above.

        A head or pooler that does not fit, and what a BERT lacks, stay new, with a warning.
        """
        folder = Path(folder)
        if not is_foreign(folder):
            return super().load_folder(folder)
        self._check_width(folder)
        weights = read_weights(folder)
        if any(".q_lin." in name for name in weights):  # DistilBERT has no token types
            types = self.bert.embeddings.token_type_embeddings.weight
            weights[TYPES] = torch.zeros_like(types)
        plain_bert = not any("visual" in name for name in weights)
        replaceable = (*HEADS, VISUAL) if plain_bert else HEADS
        return load_foreign(self, weights, NAMES, folder, replaceable, COPIES)

    def _check_width(self, folder: Path) -> None:
        if not (folder / "config.json").exists():
            return
        given = read_config(folder, KEYS, FIXED, usual="bert").get("visual_embedding_dim")
        width = self.modalities[self.image].size
        if given not in (None, width):
            raise DataError(
                f"{folder}: visual_embedding_dim is {given}; accepted: {width}, the width of "
                f"modality '{self.image}'"
            )


def _pools_for_questions(folder: Path) -> bool:
    """Whether the config that MMF keeps beside a checkpoint says so."""
    configs = [path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")]
    return any(re.search(r"^\s*pooler_strategy:\s*vqa\s*$", text, re.M) for text in configs)
