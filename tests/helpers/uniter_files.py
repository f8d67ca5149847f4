"""A tiny UNITER's inputs, weights under the names of MMF and of its authors, and their formula."""

from __future__ import annotations

import json
import math
import warnings

import torch

from msdkit.models.uniter import Uniter
from msdkit.types import Modality, Padded, default_views

WIDTH, HIDDEN, WORDS = 5, 8, 50
MODALITIES = {"text": Modality("tokens", 40), "image": Modality("features", WIDTH + 7)}
VIEWS = default_views(MODALITIES)
SPECIAL = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}
SIZE = {"layers": 2, "hidden": HIDDEN, "heads": 2, "vocab_size": WORDS, "max_positions": 16}
# How MMF and the authors call what they name differently, and in what it lies
MMF = ("uniter.uniter", "text_embeddings", "final_layer_norm")
AUTHORS = ("uniter", "embeddings", "LayerNorm")


def batch(dtype=torch.float32):
    """Three examples; one of them has no text."""
    text_mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    image_mask = torch.arange(4) < torch.tensor([[3], [4], [2]])
    return {
        "text": Padded(torch.randint(1, 40, (3, 5)), text_mask),
        "image": Padded(torch.randn(3, 4, WIDTH + 7, dtype=dtype), image_mask),
    }


def examples(inputs):
    """Word ids and regions of each example, without padding."""
    text, image = inputs["text"], inputs["image"]
    for row in range(len(text.mask)):
        words = text.values[row, : int(text.mask[row].sum())].tolist()
        yield words, image.values[row, : int(image.mask[row].sum())]


def drawn(*shape):
    """A tensor as a checkpoint has it, drawn at random."""
    return 0.5 * torch.randn(shape, dtype=torch.float64)


def layer(prefix, width, out=None):
    """A linear layer's two tensors; without `out` a norm's."""
    shape = (width,) if out is None else (out, width)
    return {f"{prefix}.weight": drawn(*shape), f"{prefix}.bias": drawn(shape[0])}


def trunk(names, words=WORDS, types=2):
    """All tensors of a UNITER without its heads, drawn at random."""
    at, text, norm_name = names
    h, image = HIDDEN, f"{at}.img_embeddings"
    found = {
        f"{at}.{text}.word_embeddings.weight": drawn(words, h),
        f"{at}.{text}.position_embeddings.weight": drawn(16, h),
        f"{at}.{text}.token_type_embeddings.weight": drawn(types, h),
        f"{image}.mask_embedding.weight": drawn(2, WIDTH) * torch.tensor([[0], [1]]),
    }
    norms = (f"{at}.{text}.LayerNorm", f"{image}.{norm_name}")
    for norm_at in (*norms, f"{image}.img_layer_norm", f"{image}.pos_layer_norm"):
        found |= layer(norm_at, h)
    found |= layer(f"{image}.img_linear", WIDTH, h) | layer(f"{image}.pos_linear", 7, h)
    for number in range(2):
        block = f"{at}.encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            found |= layer(f"{block}.attention.{part}", h, h)
        found |= layer(f"{block}.attention.output.LayerNorm", h)
        found |= layer(f"{block}.intermediate.dense", h, 4 * h)
        found |= layer(f"{block}.output.dense", 4 * h, h) | layer(f"{block}.output.LayerNorm", h)
    return found | layer(f"{at}.pooler.dense", h, h)


def norm(x, weights, name, eps=1e-12):
    """Layer norm by its formula."""
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    """x · W + b"""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def gelu(x):
    """x · Φ(x)"""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def first_state(w, names, words, regions, masked=False):
    """[H], the last layer's state of [CLS] by the paper: one example, no padding, no dropout.

    masked: row 1 of the mask is added to each region, as MMF does.
    """
    at, text, norm_name = names
    states = []
    types = w[f"{at}.{text}.token_type_embeddings.weight"]
    if words is not None:
        ids = torch.tensor([41, *words, 42])
        found = w[f"{at}.{text}.word_embeddings.weight"][ids] + types[0]
        found = found + w[f"{at}.{text}.position_embeddings.weight"][: len(ids)]
        states.append(norm(found, w, f"{at}.{text}.LayerNorm"))
    if regions is not None:
        image = f"{at}.img_embeddings"
        features, boxes = regions[:, :WIDTH], regions[:, WIDTH:]
        if masked:
            features = features + w[f"{image}.mask_embedding.weight"][1]
        feature = norm(linear(features, w, f"{image}.img_linear"), w, f"{image}.img_layer_norm")
        place = norm(linear(boxes, w, f"{image}.pos_linear"), w, f"{image}.pos_layer_norm")
        states.append(norm(feature + place + types[1], w, f"{image}.{norm_name}"))
    x = torch.cat(states)
    for i in range(2):
        x = block(x, w, f"{at}.encoder.layer.{i}")
    return x[0]


def block(x, w, at):
    """[L, H] -> [L, H], one layer of BERT with two heads of attention"""
    q, k, v = (linear(x, w, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
    found = [(q[:, h] @ k[:, h].T / 2).softmax(-1) @ v[:, h] for h in (slice(0, 4), slice(4, 8))]
    attended = linear(torch.cat(found, 1), w, f"{at}.attention.output.dense")
    x = norm(x + attended, w, f"{at}.attention.output.LayerNorm")
    inner = gelu(linear(x, w, f"{at}.intermediate.dense"))
    return norm(x + linear(inner, w, f"{at}.output.dense"), w, f"{at}.output.LayerNorm")


def write_step(state, folder):
    """As the authors' `ModelSaver` writes it, beside the log of `save_training_meta`."""
    for name in ("log", "ckpt"):
        (folder / name).mkdir()
    config = {"hidden_size": HIDDEN, "num_attention_heads": 2, "type_vocab_size": 2}
    (folder / "log" / "model.json").write_text(json.dumps(config))
    torch.save(state, folder / "ckpt" / "model_step_8000.pt")
    return folder / "ckpt" / "model_step_8000.pt"


def loaded(place, num_classes, **params):
    """A double-precision `Uniter` from a checkpoint, as `init: {folder: …}` makes one."""
    given = {**Uniter.parameters_from(place), **SPECIAL, **params}
    built = Uniter(MODALITIES, num_classes, **given).double().eval()
    built.load_folder(place)
    return built


def loaded_saying(place, num_classes, **params):
    """The same, and what is warned of meanwhile."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model = loaded(place, num_classes, **params)
    return model, [str(warning.message) for warning in found]
