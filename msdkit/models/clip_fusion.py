"""A dual encoder (CLIP, SigLIP) with a head that fuses its two vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.errors import ConfigError, DataError
from msdkit.groups import Group, grouped
from msdkit.models.base import EmbeddingModel
from msdkit.models.checkpoint_config import is_foreign, read_config
from msdkit.models.checkpoint_names import load_foreign
from msdkit.models.keys import Names
from msdkit.models.masking import Embedded, Masking
from msdkit.models.named import NamedParameters
from msdkit.models.special_ids import SpecialIds, ends_of, ids_around
from msdkit.models.weights import read_weights
from msdkit.registry import MODELS
from msdkit.types import Fraction, Modality, ModelOutput, Padded, PositiveInt

KINDS = ("clip", "siglip")
KEPT = (
    *("model_type", "projection_dim", "text_config", "vision_config"),
    *("text_config_dict", "vision_config_dict"),  # of older folders, where they overrule
)
UNREAD = ("fusion.", "head.", "logit_")  # what compares pictures with texts has no use here


@MODELS.register("clip_fusion")
class ClipFusion(EmbeddingModel):
    """CLIP (Radford et al., 2021, arXiv 2103.00020) or SigLIP (Zhai et al., 2023, arXiv 2303.15343)
    as two encoders, and a head over their vectors.

    With the unit vectors of text and image, t and v, times the root of their width P, the head
    reads [t, v, t * v]: linear to `hidden`, GELU, dropout, linear. A hidden modality's vector and
    the product are zeros, and its encoder does not run; a masking acts on the vector, as on a
    sequence of one. `pooled` is the head's inner layer.

    It reads token ids without special tokens (the model adds them) and the rows of processor
    `pixels`; a patch that is not there is grey. The special ids, and the side of padding, are those
    of the tokenizer in the folder of `init`, or its config names them; they are not guessed.
    SigLIP 2 was trained on texts in small letters.

    config: transformers' config.json of a CLIP or SigLIP, which `init: {folder: …}` fills in; by
    default the base CLIP's.
    """

    @grouped
    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None = None,
        *,
        config: dict[str, Any] | None = None,
        hidden: PositiveInt = 512,
        dropout: Fraction = 0.1,
        names: Group[Names],
        special: Group[SpecialIds],
    ) -> None:
        from transformers import AutoConfig, AutoModel

        kind = (config or {}).get("model_type", "clip")
        if kind not in KINDS:
            raise ConfigError(f"ClipFusion: config is of a '{kind}'; accepted: clip, siglip")
        given = {k: v for k, v in (config or {}).items() if k in KEPT and k != "model_type"}
        encoders = AutoModel.from_config(AutoConfig.for_model(kind, **given))
        found = encoders.config
        width = getattr(found, "projection_dim", found.vision_config.hidden_size)
        super().__init__(modalities, num_classes, masking, width=width)
        self.vector, self.width = width, hidden  # of the encoders, and of `pooled`
        self.text, self.image, self.kind = names.text, names.image, kind
        self.text_model, self.vision_model = encoders.text_model, encoders.vision_model
        self.text_projection = getattr(encoders, "text_projection", nn.Identity())
        self.visual_projection = getattr(encoders, "visual_projection", nn.Identity())
        self.patch = found.vision_config.patch_size
        self.side = found.vision_config.image_size // self.patch
        self.ends = ends_of(kind, special, found.text_config)
        self.max_positions = found.text_config.max_position_embeddings
        self._check_parts(found.text_config.vocab_size)
        asked = self.modalities if "mask_token" in self.masking.needs else ()
        self.mask_tokens = NamedParameters({m: nn.Parameter(torch.randn(width)) for m in asked})
        self.fusion = nn.Linear(3 * width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, num_classes)

    @classmethod
    def provides(cls, **params: Any) -> set[str]:
        return {"pooled", "mask_token"}

    def mask_token(self, modality: str) -> Tensor | None:
        """[P], learned, if the masking asks for one"""
        return self.mask_tokens.get(modality)

    def embed(self, inputs: Mapping[str, Padded]) -> dict[str, Embedded]:
        """{modality: [B, L(, D)]} -> {modality: ([B, 1, P], [B, 1])}"""
        encoders = {self.text: self._encode_text, self.image: self._encode_image}
        parts = {}
        for name, sequence in inputs.items():
            vectors = F.normalize(encoders[name](sequence), dim=-1) * self.vector**0.5
            parts[name] = (vectors[:, None], sequence.mask.new_ones(len(vectors), 1))
        return parts

    def encode(self, parts: Mapping[str, Embedded], features: Sequence[str] = ()) -> ModelOutput:
        """{shown modality: ([B, 1, P], [B, 1])} -> logits [B, C] and the features"""
        nothing = torch.zeros_like(next(iter(parts.values()))[0][:, 0])
        text, image = (
            parts[name][0][:, 0] if name in parts else nothing for name in (self.text, self.image)
        )
        pooled = F.gelu(self.fusion(torch.cat([text, image, text * image], 1)))
        found = {"pooled": pooled} if "pooled" in features else {}
        return ModelOutput(self.head(self.dropout(pooled)), found)

    def _encode_text(self, sequence: Padded) -> Tensor:
        """[B, L] -> [B, P]"""
        ids, mask = self._with_special(sequence)
        # SigLIP was trained to read its padding, too
        seen = {"attention_mask": mask} if self.kind == "clip" else {}
        return self.text_projection(self.text_model(input_ids=ids, **seen).pooler_output)

    def _with_special(self, sequence: Padded) -> tuple[Tensor, Tensor]:
        """[B, L] -> [bos] text eos padding, [B, L + 2] (SigLIP: [B, all positions]), and mask"""
        (values, mask), (first, last, padding, left) = sequence, self.ends
        start = 0 if first is None else 1
        length = values.shape[1] + start + 1
        if length > self.max_positions:
            raise DataError(
                f"ClipFusion: modality '{self.text}' has {values.shape[1]} tokens; accepted: at "
                f"most {self.max_positions - start - 1}; cut it in its processor"
            )
        wide = self.max_positions if self.kind == "siglip" else length
        ids = torch.where(mask, values, padding)
        ids = F.pad(ids, (start, wide - start - values.shape[1]), value=padding)
        if first is not None:
            ids[:, 0] = first
        ends, places = start + mask.sum(1, keepdim=True), torch.arange(wide, device=ids.device)
        ids = torch.where(places == ends, last, ids)
        if left:
            ids = ids.gather(1, (places + ends + 1) % wide)  # eos comes last
        return ids, (places <= ends).long()

    def _encode_image(self, sequence: Padded) -> Tensor:
        """[B, L, 3 * patch^2 + 2] -> [B, P]"""
        values, mask = sequence
        rows = torch.where(mask[..., None], values, 0)
        line, column = rows[..., -2:].round().long().clamp(0, self.side - 1).unbind(-1)
        place = (line * self.side + column)[..., None].expand(-1, -1, rows.shape[2] - 2)
        canvas = rows.new_zeros(len(rows), self.side**2, rows.shape[2] - 2)
        canvas = canvas.scatter_add(1, place, rows[..., :-2])
        grid = canvas.unflatten(2, (3, self.patch, self.patch))
        grid = grid.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 4, 2, 5)
        pixels = grid.flatten(4).flatten(2, 3)
        return self.visual_projection(self.vision_model(pixel_values=pixels).pooler_output)

    def _check_parts(self, vocab_size: int) -> None:
        kinds = {name: m.kind for name, m in self.modalities.items()}
        wanted = {self.text: "tokens", self.image: "features"}
        if kinds != wanted:
            raise ConfigError(f"ClipFusion got modalities {kinds}; accepted: exactly {wanted}")
        words, width = self.modalities[self.text].size, self.modalities[self.image].size
        if words > vocab_size:
            raise ConfigError(f"ClipFusion: '{self.text}' has {words} words, CLIP's {vocab_size}")
        if width != 3 * self.patch**2 + 2:
            raise ConfigError(
                f"ClipFusion: rows of '{self.image}' are {width} wide; accepted: "
                f"{3 * self.patch**2 + 2}, a patch of {self.patch} pixels with its line and column "
                "(processor `pixels`)"
            )

    @classmethod
    def parameters_from(cls, folder: str | Path) -> dict[str, Any]:
        """From msdkit's `model.json`, or transformers' `config.json` of a CLIP or SigLIP."""
        folder = Path(folder)
        if not is_foreign(folder):
            return super().parameters_from(folder)
        config = read_config(folder, KINDS, {})
        kept = {key: config[key] for key in KEPT if key in config}
        return {"config": kept, **ids_around(folder, config["model_type"])}

    def load_folder(self, folder: str | Path) -> None:
        """Load msdkit's own folder, or transformers' weights; the head then stays new."""
        folder = Path(folder)
        if not is_foreign(folder):
            return super().load_folder(folder)
        return load_foreign(self, read_weights(folder), (), folder, (*UNREAD, "mask_tokens."))
