"""VisualBERT on transformers' implementation, with its checkpoints and those of smaller BERTs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from msdkit.groups import Group, grouped
from msdkit.models.bert import BertClassifier, bert_config, transform_head
from msdkit.models.checkpoint_config import is_foreign
from msdkit.models.keys import BertKeys, BertSize
from msdkit.models.masking import Embedded, Masking
from msdkit.models.packing import Packing, packed
from msdkit.models.visual_bert_checkpoints import Pool, load, parameters
from msdkit.registry import MODELS
from msdkit.types import Modality

PRESETS = {
    "base": BertSize(intermediate=3072),
    "tinybert_4l": BertSize(layers=4, hidden=312, intermediate=1200),
    "tinybert_6l": BertSize(layers=6, intermediate=3072),
}
# What the head reads of the first state, beside BERT's own: an activation for the pooler's tanh
ACTIVATIONS = {"cls_relu": (nn.ReLU,), "cls_tanh_relu": (nn.Tanh, nn.ReLU)}


@MODELS.register("visual_bert")
class VisualBert(BertClassifier):
    """A BERT over [CLS] text [SEP] and image regions (Li et al., 2019, arXiv 1908.03557).

    Also the student of its family: `preset: tinybert_4l` (4 layers of 312) and `tinybert_6l` (6 of
    768; Jiao et al., 2020, arXiv 1909.10351), or a folder of a BERT, MiniLM, TinyBERT or
    DistilBERT. Sizes that are given come before a folder's, and a folder's before the preset's.

    It reads token ids without special tokens (the model adds them) and feature rows.
    pool: what the head reads: "cls", BERT's pooler; "last_token", the last text token's state, as
    question-answering checkpoints do (MMF's pooler_strategy "vqa"); "cls_relu", the pooler with
    relu for its tanh, which is DistilBERT's pre-classifier; "cls_tanh_relu", relu of the pooler, as
    fine-tuned TinyBERTs do.
    head: "linear", or "transform", MMF's linear, GELU, norm, linear.
    visual_token_type: the regions' token type. The published models were trained with 0; code that
    fine-tuned with transformers' default used 1.

    [SEP] stands in the column after the longest text, at the position after its own text; so
    L = 2 + text + regions. With masking `mask_token`, regions get the [MASK] word's embedding too.

    Folders (or single files) that it loads: transformers' (VisualBERT, BERT, DistilBERT), uclanlp's
    .th and MMF's .pth and .ckpt, and what Lightning and others made of these. The config.json or
    MMF's config.yaml in the file's folder tells the number of heads and `pool`; without one the
    tensors tell what they can, and a warning says what was guessed.
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
        self.visual_token_type, self.reads = visual_token_type, pool
        width = self.modalities[keys.image].size
        config = VisualBertConfig(
            **bert_config(size, keys), visual_embedding_dim=width, pad_token_id=0
        )
        self.bert: Any = packed(VisualBertModel(config, add_pooling_layer=pool != "last_token"))
        if pool in ACTIVATIONS:
            pooler: Any = self.bert.pooler
            pooler.activation = nn.Sequential(*(make() for make in ACTIVATIONS[pool]))
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
        """From msdkit's `model.json`, or what a checkpoint, and what lies beside it, tells."""
        folder = Path(folder)
        return parameters(folder) if is_foreign(folder) else super().parameters_from(folder)

    def load_folder(self, folder: str | Path, labels: Sequence[str] = ()) -> None:
        """Load msdkit's own folder, or any of the checkpoints above.

        A head or pooler that does not fit, and what a BERT lacks, stay new, with a warning; so does
        a head that was trained to read something else than `pool`. labels: the names of the
        classes; where the checkpoint names its own, the head's rows are taken by name.
        """
        folder = Path(folder)
        if not is_foreign(folder):
            return super().load_folder(folder)
        width = self.modalities[self.image].size
        return load(self, folder, self.reads, (self.image, width), labels)
