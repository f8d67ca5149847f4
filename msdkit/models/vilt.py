"""ViLT on transformers' implementation, with its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.errors import ConfigError, DataError
from msdkit.groups import Group, grouped
from msdkit.models.bert import CONFIG_KEYS, BertClassifier, bert_config, scores_and_values
from msdkit.models.checkpoint_config import is_foreign, read_config
from msdkit.models.checkpoint_names import load_foreign
from msdkit.models.keys import BertKeys, BertSize
from msdkit.models.masking import Embedded, Masking
from msdkit.models.packing import Packing, packed
from msdkit.models.special_ids import bert_ids
from msdkit.models.transformer import Inside
from msdkit.models.weights import read_weights
from msdkit.registry import MODELS
from msdkit.types import Modality

KEYS = {**CONFIG_KEYS, "image_size": "image_size", "patch": "patch_size"}
VILT = BertKeys(max_positions=40, dropout=0.0)
FIXED = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
    "num_channels": 3,
}
NAMES = (
    (r"^(embeddings|encoder|layernorm|pooler)\.", r"bert.\1."),
    (r"^vilt\.", "bert."),
    (r"^(mlm_score|rank_output)\.", r"other_head.\1."),
    (r"^classifier\.", "head."),
)
HEADS = ("head.", "bert.pooler.", "other_head.")
MOST_PATCHES = 1000  # on a side; no picture has as many


@MODELS.register("vilt")
class Vilt(BertClassifier):
    """ViLT (Kim et al., 2021, arXiv 2102.03334): one transformer over words and raw patches.

    [CLS] text [SEP], the image's own [CLS] and its patches; both [CLS] and [SEP] are in every view.
    It reads token ids without special tokens and the rows of processor `pixels`.
    head: "mlp" (linear to 2H, norm, GELU, linear), as its question-answering
    checkpoints have, or "linear". image_size: the side in pixels of the grid of positions, which is
    stretched to each picture's own shape; patch: a patch's side. All patches are read, so a
    config's max_image_length does not count.

    L = 3 + text + patches; `hidden.i` are the states before the final norm. It loads folders of
    transformers (dandelin/vilt-*).
    """

    @grouped
    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None = None,
        *,
        size: Group[BertSize],
        image_size: int = 384,
        patch: int = 32,
        head: Literal["mlp", "linear"] = "mlp",
        keys: Group[BertKeys] = VILT,
    ) -> None:
        from transformers import ViltConfig, ViltModel

        super().__init__(modalities, num_classes, masking, size, keys)
        width = self.modalities[keys.image].size
        if width != 3 * patch**2 + 2:
            raise ConfigError(
                f"Vilt: rows of '{keys.image}' are {width} wide; accepted: {3 * patch**2 + 2}, a "
                f"patch of {patch} pixels with its line and column (processor `pixels`)"
            )
        config = ViltConfig(**bert_config(size, keys), image_size=image_size, patch_size=patch)
        self.bert: Any = packed(ViltModel(config))
        self.grid = image_size // patch
        inner = 2 * size.hidden
        wide = nn.Linear(size.hidden, inner), nn.LayerNorm(inner), nn.GELU()
        out = nn.Linear(inner if head == "mlp" else size.hidden, num_classes)
        self.head = nn.Sequential(*wide, out) if head == "mlp" else out

    @property
    def words(self) -> nn.Embedding:
        return self.bert.embeddings.text_embeddings.word_embeddings

    def rows(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B, L, 3 * patch^2 + 2], [B, L] -> [B, L, H], the patch and its place"""
        projection = self.bert.embeddings.patch_embeddings.projection
        patches = F.linear(values[..., :-2], projection.weight.flatten(1), projection.bias)
        return patches + self._places_of(values[..., -2:], mask)

    def _places_of(self, places: Tensor, mask: Tensor) -> Tensor:
        """Line and column [B, L, 2] -> [B, L, H], the grid of positions stretched bilinearly"""
        places = places.round().clamp(0, MOST_PATCHES)
        last = F.pad(places * mask[..., None], (0, 0, 0, 1)).amax(1, keepdim=True)
        at = places * ((self.grid - 1) / last.clamp(min=1))  # corners fall on corners
        steps = torch.arange(self.grid, device=at.device, dtype=at.dtype)
        line, column = (1 - (at[..., None] - steps).abs()).clamp(min=0).unbind(2)
        shares = (line[..., :, None] * column[..., None, :]).flatten(2)
        return shares @ self.bert.embeddings.position_embeddings[0, 1:]

    def place_text(self, words: Tensor, places: Tensor) -> Tensor:
        """[B, L, H], positions [B, L] -> [B, L, H]"""
        table = self.bert.embeddings.text_embeddings
        text = words + table.position_embeddings(places) + table.token_type_embeddings.weight[0]
        text = table.dropout(table.LayerNorm(text))
        return text + self.bert.embeddings.token_type_embeddings.weight[0]

    def place_rows(self, rows: Tensor, mask: Tensor) -> Embedded:
        """[B, L, H], [B, L] -> the image's [CLS] and its patches, [B, 1 + L, H] and mask"""
        table = self.bert.embeddings
        first = (table.cls_token + table.position_embeddings[:, :1]).expand(len(rows), 1, -1)
        rows = table.dropout(torch.cat([first, rows], 1)) + table.token_type_embeddings.weight[1]
        return rows, F.pad(mask, (1, 0), value=True)

    def last_layer(self, layer: Any, states: Tensor, read: Tensor, packing: Packing) -> Tensor:
        """[T, H], rows [S] -> the layer's output at these rows alone, [S, H]"""
        attention, normed = layer.attention, layer.layernorm_before(states)
        seen = attention.attention.look(normed, read, packing)
        states = attention.output(seen, normed[read]) + states[read]
        return layer.output(layer.intermediate(layer.layernorm_after(states)), states)

    def pool(self, states: Tensor) -> Tensor:
        """[S, H] -> [S, H]"""
        return super().pool(self.bert.layernorm(states))

    def inside(self, layer: Any, states: Tensor) -> Inside:
        """[B, L, H] -> scores before softmax [B, heads, L, L], values [B, heads, L, H / heads]"""
        return scores_and_values(layer.attention.attention, layer.layernorm_before(states))

    @classmethod
    def parameters_from(cls, folder: str | Path) -> dict[str, Any]:
        """From msdkit's `model.json`, or transformers' `config.json` of a ViLT."""
        folder = Path(folder)
        if not is_foreign(folder):
            return super().parameters_from(folder)
        config = read_config(folder, ["vilt"], FIXED)
        if config.get("modality_type_vocab_size", 2) != 2:
            raise DataError(f"{folder}: it reads two pictures; accepted: a ViLT of one")
        params = {ours: config[theirs] for ours, theirs in KEYS.items() if theirs in config}
        answers = "ViltForQuestionAnswering" in (config.get("architectures") or ())
        return {**params, **bert_ids(folder), "head": "mlp" if answers else "linear"}

    def load_folder(self, folder: str | Path, labels: Sequence[str] = ()) -> None:
        """Load msdkit's own folder, or transformers' weights of a ViLT.

        A head or pooler that does not fit, or is not there, stays new, with a warning. labels: the
        names of the classes, by which a head's rows are taken where the config names its own.
        """
        folder = Path(folder)
        if not is_foreign(folder):
            return super().load_folder(folder)
        return load_foreign(self, read_weights(folder), NAMES, folder, HEADS, labels=labels)
