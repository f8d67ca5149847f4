"""Folders of small CLIPs and SigLIPs with their tokenizers, as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, processors

LAYER = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
LAYER |= {"num_attention_heads": 2}
VISION = {**LAYER, "image_size": 16, "patch_size": 4}
GEMMA = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4, "▁": 5, "a": 6, "b": 7}
WORDS = {"a</w>": 0, "b</w>": 1, "a": 2, "b": 3, "Ġ": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}


def saved(model: Any, folder: Path) -> Any:
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.4)
    model.eval().save_pretrained(folder)
    return model


def siglip(folder: Path, **text: Any) -> Any:
    text = {**LAYER, "vocab_size": 60000, "max_position_embeddings": 12, **text}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    return saved(transformers.SiglipModel(config), folder)


def clip(folder: Path, **text: Any) -> Any:
    text = {**LAYER, "vocab_size": 9, "max_position_embeddings": 12, "projection_dim": 6, **text}
    vision = {**VISION, "projection_dim": 6}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)
    return saved(transformers.CLIPModel(config), folder)


def gemma(folder: Path, **given: Any) -> None:
    given = {"add_bos_token": False, "add_eos_token": True, **given}
    transformers.GemmaTokenizer(vocab=GEMMA, merges=[], **given).save_pretrained(folder)


def sentence_pieces(folder: Path) -> None:
    """A folder of google/siglip-*: its class wants sentencepiece, beside it lies tokenizer.json."""
    vocab = {"<unk>": 0, "</s>": 1, "▁": 2, "a": 3, "b": 4}
    backend = Backend(models.BPE(vocab, [], unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    ends = {"single": "$A </s>", "special_tokens": [("</s>", 1)]}
    backend.post_processor = processors.TemplateProcessing(**ends)
    named = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(folder)


def no_template(folder: Path) -> None:
    backend = Backend(models.BPE(GEMMA, [], unk_token="<unk>"))
    named = {"eos_token": "<eos>", "pad_token": "<pad>", "bos_token": "<bos>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(folder)


def words(folder: Path, added: tuple[str, ...] = ()) -> None:
    tokenizer = transformers.CLIPTokenizer(vocab=WORDS, merges=[])
    tokenizer.add_tokens(list(added))
    tokenizer.save_pretrained(folder)
