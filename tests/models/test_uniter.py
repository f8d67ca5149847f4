"""UNITER against a second, plain implementation, and its checkpoints."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch.nn import functional as F

from msdkit.errors import ConfigError, DataError
from msdkit.models.masking import MaskToken, Mean, Zero
from msdkit.models.uniter import Uniter
from msdkit.testing.models import check_model
from msdkit.types import Modality, Padded, default_views

MODALITIES = {"text": Modality("tokens", 40), "image": Modality("features", 12)}
VIEWS = default_views(MODALITIES)
SPECIAL = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}
SIZE = {"layers": 2, "hidden": 8, "heads": 2, "vocab_size": 50, "max_positions": 16}


def model(masking=None, **params):
    built = Uniter(MODALITIES, 3, masking, **{**SIZE, **SPECIAL} | params).eval()
    with torch.no_grad():
        for value in built.parameters():
            value.normal_(0, 0.5)
    return built


def batch(dtype=torch.float32):
    text_mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    image_mask = torch.arange(4) < torch.tensor([[3], [4], [2]])
    return {
        "text": Padded(torch.randint(1, 40, (3, 5)), text_mask),
        "image": Padded(torch.randn(3, 4, 12, dtype=dtype), image_mask),
    }


def norm(x, weights, name):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-12).sqrt()
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def plain(weights, words, regions):
    """One example by the paper, from the authors' names: no padding, no batch, no dropout."""
    w, states = weights, []
    types = w["uniter.embeddings.token_type_embeddings.weight"]
    if words is not None:
        ids = torch.tensor([41, *words, 42])
        text = w["uniter.embeddings.word_embeddings.weight"][ids]
        text = text + w["uniter.embeddings.position_embeddings.weight"][: len(ids)] + types[0]
        states.append(norm(text, w, "uniter.embeddings.LayerNorm"))
    if regions is not None:
        at = "uniter.img_embeddings"
        feature = norm(linear(regions[:, :5], w, f"{at}.img_linear"), w, f"{at}.img_layer_norm")
        place = norm(linear(regions[:, 5:], w, f"{at}.pos_linear"), w, f"{at}.pos_layer_norm")
        states.append(norm(feature + place + types[1], w, f"{at}.LayerNorm"))
    x = torch.cat(states)
    for i in range(2):
        at = f"uniter.encoder.layer.{i}"
        q, k, v = (
            linear(x, w, f"{at}.attention.self.{part}") for part in ("query", "key", "value")
        )
        heads = []
        for h in (slice(0, 4), slice(4, 8)):
            heads.append((q[:, h] @ k[:, h].T / math.sqrt(4)).softmax(-1) @ v[:, h])
        attended = linear(torch.cat(heads, 1), w, f"{at}.attention.output.dense")
        x = norm(x + attended, w, f"{at}.attention.output.LayerNorm")
        inner = linear(x, w, f"{at}.intermediate.dense")
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, w, f"{at}.output.dense"), w, f"{at}.output.LayerNorm")
    pooled = torch.tanh(linear(x[0], w, "uniter.pooler.dense"))
    wide = linear(pooled, w, "vqa_output.0")
    wide = wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))
    return linear(norm(wide, w, "vqa_output.2"), w, "vqa_output.3")


def authors(state):
    """Our tensors under the authors' names."""
    found = {}
    for name, value in state.items():
        new = re.sub(r"^bert\.", "uniter.", name)
        new = re.sub(r"^regions\.", "uniter.img_embeddings.", new)
        new = new.replace("img_embeddings.norm.", "img_embeddings.LayerNorm.")
        found[re.sub(r"^head\.", "vqa_output.", new)] = value.clone()
    return found


def mmf(state):
    """Our tensors under MMF's names."""
    found = {}
    for name, value in authors(state).items():
        new = name.replace("uniter.embeddings.", "uniter.text_embeddings.")
        new = new.replace("img_embeddings.LayerNorm.", "img_embeddings.final_layer_norm.")
        new = re.sub(r"^uniter\.pooler\.", "heads.vqa2.pooler.", new)
        new = re.sub(r"^vqa_output\.0\.", "heads.vqa2.classifier.1.", new)
        found["uniter." + re.sub(r"^vqa_output\.1\.", "heads.vqa2.classifier.2.", new)] = value
    constant = {"uniter.uniter.text_embeddings.position_ids": torch.arange(16)[None]}
    return {n: v.clone() for n, v in found.items()} | constant


def test_the_forward_pass_is_the_papers_in_float64():
    mine, inputs = model().double(), batch(torch.float64)
    weights, outputs = authors(mine.state_dict()), mine(inputs, VIEWS)
    for row in range(3):
        words = inputs["text"].values[row, : int(inputs["text"].mask[row].sum())].tolist()
        regions = inputs["image"].values[row, : int(inputs["image"].mask[row].sum())]
        for view, seen in (
            ("multimodal", (words, regions)),
            ("text", (words, None)),
            ("image", ([], regions)),
        ):
            expected = plain(weights, *seen)
            torch.testing.assert_close(outputs[view].logits[row], expected, atol=1e-10, rtol=0)


def again(place, **params):
    built = Uniter(MODALITIES, 3, **{**Uniter.parameters_from(place), **SPECIAL, **params}).eval()
    built.load_folder(place)
    return built


def same(mine, other):
    mine, other = mine.state_dict(), other.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[n], other[n]) for n in mine)


@pytest.mark.parametrize("kind", ["authors", "authors of old", "MMF"])
def test_every_format_comes_back_to_the_bit(tmp_path, kind):
    mine = model(heads=1, head="transform" if kind == "MMF" else "mlp")
    if kind == "MMF":
        torch.save({"model": mmf(mine.state_dict())}, tmp_path / "model.pth")
    else:
        zipped = {"_use_new_zipfile_serialization": kind == "authors"}
        torch.save(authors(mine.state_dict()), tmp_path / "uniter-base.pt", **zipped)
    found = Uniter.parameters_from(tmp_path)
    assert found.pop("head", "mlp") == ("transform" if kind == "MMF" else "mlp")
    assert found == {**SIZE, "heads": 1, "intermediate": 32}
    assert same(again(tmp_path), mine)


def test_pretrained_files_have_other_heads_which_are_named(tmp_path):
    mine = model(heads=1)
    state = {n: v for n, v in authors(mine.state_dict()).items() if "vqa_output" not in n}
    for name in ("cls.predictions.bias", "itm_output.weight", "feat_regress.weight"):
        state[name] = torch.ones(2)
    state["region_classifier.net.0.weight"] = torch.ones(2)
    torch.save(state, tmp_path / "uniter-base.pt")
    unread = r"not used: cls\.predictions\.bias, feat_regress.*, itm_.*, region_classifier\.net"
    with pytest.warns(UserWarning, match=unread), pytest.warns(UserWarning, match=r"head\.3\.w"):
        loaded = again(tmp_path)
    assert torch.equal(loaded.bert.pooler.dense.weight, mine.bert.pooler.dense.weight)
    state["uniter.extra.weight"] = torch.ones(2)
    torch.save(state, tmp_path / "uniter-base.pt")
    with pytest.raises(DataError, match=r"uniter\.extra\.weight is not of this model"):
        again(tmp_path)


def test_features_of_another_width_are_named(tmp_path):
    torch.save(authors(model().state_dict()), tmp_path / "uniter-base.pt")
    other = {**MODALITIES, "image": Modality("features", 13)}
    with pytest.raises(DataError, match=r"regions\.img_linear\.weight is \[8, 5\], .* \[8, 6\]"):
        Uniter(other, 3, **SIZE, **SPECIAL).load_folder(tmp_path)


@pytest.mark.parametrize("head", ["mlp", "transform", "linear"])
@pytest.mark.parametrize("masking", [None, Zero, Mean, MaskToken])
def test_it_keeps_the_contract(masking, head):
    check_model(model(masking and masking(), head=head))


def test_a_masked_region_has_the_masked_feature_and_no_geometry():
    mine, inputs = model(MaskToken()), batch()
    states = mine(inputs, VIEWS[1:2], ["hidden.0"])["text"].features["hidden.0"]
    feature = torch.cat([mine.regions.mask_embedding.weight[1], torch.zeros(7)])
    kind = mine.bert.embeddings.token_type_embeddings.weight[1]
    expected = mine.regions.norm(mine.regions(feature) + kind)
    torch.testing.assert_close(states[0, 7], expected)


def test_mmfs_head_has_its_own_eps():
    head = model(head="transform").head
    x = 1e-3 * torch.randn(4, 8)
    inner = F.gelu(F.linear(x, head[0].dense.weight, head[0].dense.bias))
    weight, bias = head[0].LayerNorm.weight, head[0].LayerNorm.bias
    expected = head[1](F.layer_norm(inner, (8,), weight, bias, 1e-6))
    torch.testing.assert_close(head(x), expected)


def test_rows_without_geometry_are_refused():
    narrow = {**MODALITIES, "image": Modality("features", 7)}
    with pytest.raises(ConfigError, match=r"'image' are 7 wide; accepted: a feature and 7 numbers"):
        Uniter(narrow, 3, **SIZE, **SPECIAL)
