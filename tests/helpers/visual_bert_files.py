"""A tiny VisualBERT, its inputs, and its weights under the names of other programs."""

from __future__ import annotations

import re
import warnings

import torch

from msdkit.models.visual_bert import VisualBert
from msdkit.types import Modality, Padded, default_views

MODALITIES = {"text": Modality("tokens", 40), "image": Modality("features", 6)}
VIEWS = default_views(MODALITIES)
SPECIAL = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}
SIZE = {"layers": 2, "hidden": 8, "heads": 1, "vocab_size": 50, "max_positions": 16}


def model(**params):
    """A VisualBERT with weights drawn at random."""
    built = VisualBert(MODALITIES, 3, **{**SIZE, **SPECIAL} | params).eval()
    with torch.no_grad():
        for value in built.parameters():
            value.normal_(0, 0.3)
    return built


def batch():
    """Three examples; one of them has no text."""
    text_mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    image_mask = torch.arange(4) < torch.tensor([[3], [4], [2]])
    return {
        "text": Padded(torch.randint(1, 40, (3, 5)), text_mask),
        "image": Padded(torch.randn(3, 4, 6), image_mask),
    }


GUESSED = ".*no config beside it tells"


def found(place):
    """The parameters that a file or folder of weights tells, without a word on what it guesses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", GUESSED)
        return VisualBert.parameters_from(place)


def loaded(place, classes=3, labels=(), **params):
    """The model that a file or folder of weights makes."""
    built = VisualBert(MODALITIES, classes, **{**found(place), **SPECIAL, **params})
    built.load_folder(place, labels)
    return built.eval()


def loaded_quietly(place, **params):
    """The model, and all that it warned of."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        built = loaded(place, **params)
    return built, "\n".join(str(w.message) for w in warned)


def same_weights(mine, other):
    """Whether two models' tensors agree to the bit."""
    mine, other = mine.state_dict(), other.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[n], other[n]) for n in mine)


OLD = (
    ("visual_token_type_embeddings", "token_type_embeddings_visual"),
    ("visual_position_embeddings", "position_embeddings_visual"),
    ("visual_projection", "projection"),
)


def renamed(state, bert, head, old=True, aged=False):
    """The state under another program's names, constants included."""
    found = {}
    for name, value in state.items():
        new = re.sub(r"^(bert|head)\.", lambda part: {"bert": bert, "head": head}[part[1]], name)
        for ours, theirs in OLD if old else ():
            new = new.replace(f".{ours}.", f".{theirs}.")
        if aged:
            new = new.replace("LayerNorm.weight", "LayerNorm.gamma")
            new = new.replace("LayerNorm.bias", "LayerNorm.beta")
        found[new] = value.clone()
    return {**found, f"{bert}embeddings.position_ids": torch.arange(16)[None]}
