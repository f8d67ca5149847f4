"""UNITER over BERT's layers, with its authors' checkpoints and MMF's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError
from msdkit.groups import Group, grouped
from msdkit.models import uniter_checkpoints
from msdkit.models.bert import BertClassifier, bert_config
from msdkit.models.checkpoint_config import is_foreign
from msdkit.models.keys import BertKeys, BertSize
from msdkit.models.masking import Embedded, Masking
from msdkit.models.packing import packed
from msdkit.models.uniter_heads import EPS, UniterHead
from msdkit.registry import MODELS
from msdkit.types import Modality

GEOMETRY = 7  # x1, y1, x2, y2, width, height, area: what processor `regions` puts last in a row
CASED = BertKeys(vocab_size=28996)  # the published checkpoints read bert-base-cased


class RegionEmbedding(nn.Module):
    """norm(linear(feature)) + norm(linear(geometry)), and the norm for the sum with the type.

    mask_embedding holds, in its row 1, the feature of a region that is masked.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.img_linear = nn.Linear(width, hidden)
        self.img_layer_norm = nn.LayerNorm(hidden, eps=EPS)
        self.pos_linear = nn.Linear(GEOMETRY, hidden)
        self.pos_layer_norm = nn.LayerNorm(hidden, eps=EPS)
        self.mask_embedding = nn.Embedding(2, width, padding_idx=0)
        self.norm = nn.LayerNorm(hidden, eps=EPS)

    def forward(self, rows: Tensor) -> Tensor:
        """[..., D + 7] -> [..., H], without type"""
        features, geometry = rows[..., :-GEOMETRY], rows[..., -GEOMETRY:]
        content = self.img_layer_norm(self.img_linear(features))
        return content + self.pos_layer_norm(self.pos_linear(geometry))


@MODELS.register("uniter")
class Uniter(BertClassifier):
    """UNITER (Chen et al., 2020, arXiv 1909.11740), a BERT over [CLS] text [SEP] and regions.

    A word is norm(word + position + type 0), a region
    norm(norm(W_f · feature) + norm(W_g · geometry) + type 1); both as wide as the layers. Geometry:
    x1, y1, x2, y2, width and height as shares of the picture's sides, and width · height; it is
    the last seven numbers of each image row, where the processor `regions` puts it.

    It reads token ids without special tokens and rows of feature and geometry. The published
    checkpoints read `bert-base-cased`, whose vocabulary has 28,996 words. The head reads BERT's
    pooler.

    L = 2 + text + regions. Masking `mask_token` puts the [MASK] word for words, and for regions
    the model's masked feature without geometry.

    Folders (or single files) that it loads: uniter-base.pt, uniter-large.pt and fine-tuned ones of
    the authors, MMF's .pth and .ckpt. The tensors tell the sizes and the head's form; MMF's config
    or the authors' log/model.json tells the heads of attention, which else count as 64 wide. Of
    MMF's the trained head comes with the pooler that it reads, and the masked feature, which MMF
    adds to every region, goes into the bias. The authors' heads for referring expressions (RE), VCR
    and pairs of pictures (NLVR2) are left out, with a warning.
    """

    @grouped
    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None = None,
        *,
        size: Group[BertSize],
        form: Group[UniterHead],
        keys: Group[BertKeys] = CASED,
    ) -> None:
        from transformers import BertConfig, BertModel

        dropout = keys.dropout if form.head == "transform" else 0.0
        super().__init__(modalities, num_classes, masking, size, keys, head_dropout=dropout)
        width = self.modalities[keys.image].size - GEOMETRY
        if width < 1:
            raise ConfigError(
                f"Uniter: rows of '{keys.image}' are {width + GEOMETRY} wide; accepted: a feature "
                f"and {GEOMETRY} numbers of geometry (processor `regions`)"
            )
        config = BertConfig(**bert_config(size, keys), pad_token_id=0)
        self.bert: Any = packed(BertModel(config))
        self.regions = RegionEmbedding(width, size.hidden)
        self.task_head = form.task_head
        self.head = form.build(size.hidden, num_classes, dropout)

    def rows(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B, L, D + 7], [B, L] -> [B, L, H]"""
        return self.regions(values)

    def place_text(self, words: Tensor, places: Tensor) -> Tensor:
        """[B, L, H], positions [B, L] -> [B, L, H]"""
        table = self.bert.embeddings
        text = words + table.position_embeddings(places) + table.token_type_embeddings.weight[0]
        return table.dropout(table.LayerNorm(text))

    def place_rows(self, rows: Tensor, mask: Tensor) -> Embedded:
        """[B, L, H], [B, L] -> the same"""
        table = self.bert.embeddings
        return table.dropout(self.regions.norm(rows + table.token_type_embeddings.weight[1])), mask

    def mask_token(self, modality: str) -> Tensor | None:
        """[H], the [MASK] word's embedding; for regions the masked feature, with no geometry"""
        if modality == self.text:
            return super().mask_token(modality)
        feature = self.regions.mask_embedding.weight[1]
        return self.regions(torch.cat([feature, feature.new_zeros(GEOMETRY)]))

    @classmethod
    def parameters_from(cls, folder: str | Path) -> dict[str, Any]:
        """From msdkit's `model.json`, or the shapes and names of a checkpoint's tensors."""
        folder = Path(folder)
        if not is_foreign(folder):
            return super().parameters_from(folder)
        return uniter_checkpoints.parameters(folder)

    def load_folder(self, folder: str | Path, labels: Sequence[str] = ()) -> None:
        """Load msdkit's own folder, or one of the checkpoints above.

        A head or pooler that does not fit, or is not there, stays new, with a warning; DataError
        where `task_head` is none of the checkpoint's. labels: the names of the classes, by which a
        head's rows are taken where MMF's config names its own.
        """
        folder = Path(folder)
        if not is_foreign(folder):
            return super().load_folder(folder)
        return uniter_checkpoints.load(self, folder, self.task_head, labels)
