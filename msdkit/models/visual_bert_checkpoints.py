"""VisualBERT's checkpoints and those of smaller BERTs: names, sizes, and what their heads read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from msdkit.errors import DataError
from msdkit.models.bert import CONFIG_KEYS
from msdkit.models.checkpoint_config import check_fixed, config_beside, mmf_config, read_config
from msdkit.models.checkpoint_names import UNFED, WORDS, load_foreign, sizes, translate
from msdkit.models.special_ids import bert_ids
from msdkit.models.weights import read_weights

Pool = Literal["cls", "last_token", "cls_relu", "cls_tanh_relu"]
# What a head was trained to read, where that is nothing that this model has: each token's state
TOKENS = "each token"
READS = {
    "VisualBertForQuestionAnswering": "last_token",
    "VisualBertForVisualReasoning": "cls",
    "VisualBertForMultipleChoice": "cls",
    "BertForSequenceClassification": "cls",
    "BertForMultipleChoice": "cls",
    "BertForTokenClassification": TOKENS,
    "DistilBertForTokenClassification": TOKENS,
}
# Rows of the heads of question answering (VQA v2, VizWiz) in uclanlp's files and MMF's oldest
ANSWERS = (3129, 7371)
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
# Names of DistilBERT, whose head holds its pooler; of transformers, uclanlp, MMF (and its old
# prefixes), BERT and TinyBERT
NAMES = (
    (r"^distilbert\.", ""),
    (r"^transformer\.layer\.(\d+)\.", r"bert.encoder.layer.\1."),
    (r"\.attention\.q_lin\.", ".attention.self.query."),
    (r"\.attention\.k_lin\.", ".attention.self.key."),
    (r"\.attention\.v_lin\.", ".attention.self.value."),
    (r"\.attention\.out_lin\.", ".attention.output.dense."),
    (r"\.sa_layer_norm\.", ".attention.output.LayerNorm."),
    (r"\.ffn\.lin1\.", ".intermediate.dense."),
    (r"\.ffn\.lin2\.", ".output.dense."),
    (r"\.output_layer_norm\.", ".output.LayerNorm."),
    (r"^(vocab_\w+|qa_outputs)\.", r"other_head.\1."),
    (r"^pre_classifier\.", "bert.pooler.dense."),
    (r"^(model\.bert|bert\.bert|visual_bert)\.", "bert."),
    (r"^(embeddings|encoder|pooler)\.", r"bert.\1."),
    (r"^(model|bert)\.(cls|classifier|head)\.", r"\2."),
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


def parameters(place: Path) -> dict[str, Any]:
    """The parameters of a checkpoint's model, from the configs beside it and its tensors.

    Without a config the number of heads is a guess, and what the head reads may be: a warning.
    """
    weights, origin = translate(read_weights(place), NAMES, place)
    told = mmf_config(place, "visual_bert")
    reads = head_reads(place, weights, origin, told)
    pool = {"pool": reads} if reads not in ("cls", TOKENS, None) else {}
    if config_beside(place):
        config = read_config(place, KEYS, FIXED, usual="bert")  # TinyBERT's folders name none
        keys = KEYS[config["model_type"]]
        found = {ours: config[theirs] for ours, theirs in keys.items() if theirs in config}
        return found | bert_ids(place) | pool
    check_fixed(told, FIXED, f"{place}: MMF's config")
    found = sizes(weights, place)
    if heads := _mmf_heads(told, found["hidden"]):
        found["heads"] = heads
    else:
        _say_guessed(place, found["heads"], reads is None and "head" in _tops(weights))
    dropout = {"dropout": told["hidden_dropout_prob"]} if "hidden_dropout_prob" in told else {}
    head = {"head": "transform"} if "head.0.dense.weight" in weights else {}
    return {**found, **dropout, **head, **pool}


def _mmf_heads(config: Mapping[str, Any], hidden: int) -> int | None:
    """The heads of MMF's config, by default BertConfig's 12; None where nothing tells them."""
    usual = 12 if config and not hidden % 12 else None
    return config.get("num_attention_heads", usual)


def _say_guessed(place: Path, heads: int, head_too: bool) -> None:
    pool = " and what its head reads (taken as pool: cls)" if head_too else ""
    warnings.warn(
        f"{place}: no config beside it tells the number of heads (taken as heads: {heads}){pool}; "
        "what the model's config gives comes first",
        stacklevel=3,
    )


def head_reads(
    place: Path, weights: Mapping[str, Tensor], origin: Mapping[str, str], mmf: Mapping[str, Any]
) -> str | None:
    """What a checkpoint's head was trained to read: a value of `pool`, TOKENS, or None, unknown.

    weights and origin: translated; mmf: what MMF's config says. By the parts that the head has, the
    class that transformers names, MMF's config, or the answers of the oldest checkpoints.
    """
    if "pre_classifier" in origin.get("bert.pooler.dense.weight", ""):
        return "cls_relu"
    if "head" in _tops(weights) and {"fit_dense", "fit_denses"} & _tops(weights):
        return "cls_tanh_relu"
    for name in config_beside(place).get("architectures") or ():
        return READS.get(name)
    if mmf:
        return "last_token" if _asks(mmf) else "cls"
    last = next((n for n in ("head.1.weight", "head.weight") if n in weights), "")
    oldest = "bert.classifier." in origin.get(last, "") and len(weights[last]) in ANSWERS
    return "last_token" if oldest else None


def _asks(config: Mapping[str, Any]) -> bool:
    """Whether MMF's VisualBERT answers from the last token; the head's type told it before."""
    kind = str(config.get("training_head_type"))
    older = "vqa" in kind or kind == "vizwiz"
    return config["pooler_strategy"] == "vqa" if "pooler_strategy" in config else older


def _tops(weights: Mapping[str, Tensor]) -> set[str]:
    return {name.removeprefix("other_head.").split(".")[0] for name in weights}


def load(
    model: nn.Module, place: Path, pool: str, image: tuple[str, int], labels: Sequence[str]
) -> None:
    """Load a checkpoint into a VisualBERT with this `pool` and (name, width) of its regions."""
    _check_width(place, *image)
    weights = read_weights(place)
    found, origin = translate(weights, NAMES, place)
    reads = head_reads(place, found, origin, mmf_config(place, "visual_bert"))
    rules: tuple[tuple[str, str], ...] = NAMES
    if reads not in (pool, None) and "head" in _tops(found):
        own_pooler = [(r"^bert\.pooler\.", "other_head.")] if reads == "cls_relu" else []
        rules = (*NAMES, *UNFED, *own_pooler)
        warnings.warn(f"{place}: its head reads {reads}, this model's {pool}", stacklevel=3)
    if any(".q_lin." in name for name in weights):  # DistilBERT has no token types
        words = origin[WORDS]
        types = words.replace("word_embeddings", "token_type_embeddings")
        weights[types] = torch.zeros(2, weights[words].shape[1])
    plain_bert = not any("visual" in name for name in found)
    replaceable = (*HEADS, VISUAL) if plain_bert else HEADS
    load_foreign(model, weights, rules, place, replaceable, COPIES, labels)


def _check_width(place: Path, image: str, width: int) -> None:
    given = config_beside(place).get("visual_embedding_dim")
    if given not in (None, width):
        raise DataError(
            f"{place}: visual_embedding_dim is {given}; accepted: {width}, the width of modality "
            f"'{image}'"
        )
