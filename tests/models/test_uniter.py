"""UNITER against a second, plain implementation, and its checkpoints."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch.nn import functional as F
from uniter_files import (
    AUTHORS,
    MODALITIES,
    SIZE,
    SPECIAL,
    VIEWS,
    batch,
    examples,
    first_state,
    gelu,
    linear,
    norm,
)

from msdkit.errors import ConfigError, DataError
from msdkit.models.masking import MaskToken, Mean, Zero
from msdkit.models.uniter import Uniter
from msdkit.testing.models import check_model
from msdkit.types import Modality

POOLER = "uniter.pooler.dense"


def model(masking=None, **params):
    built = Uniter(MODALITIES, 3, masking, **{**SIZE, **SPECIAL} | params).eval()
    with torch.no_grad():
        for value in built.parameters():
            value.normal_(0, 0.5)
    return built


def plain(weights, words, regions):
    """One example by the paper, from the authors' names."""
    pooled = torch.tanh(linear(first_state(weights, AUTHORS, words, regions), weights, POOLER))
    wide = gelu(linear(pooled, weights, "vqa_output.0"))
    return linear(norm(wide, weights, "vqa_output.2"), weights, "vqa_output.3")


def authors(state):
    """Our tensors under the authors' names."""
    found = {}
    for name, value in state.items():
        new = re.sub(r"^bert\.", "uniter.", name)
        new = re.sub(r"^regions\.", "uniter.img_embeddings.", new)
        new = new.replace("img_embeddings.norm.", "img_embeddings.LayerNorm.")
        found[re.sub(r"^head\.", "vqa_output.", new)] = value.clone()
    return found


def test_the_forward_pass_is_the_papers_in_float64():
    mine, inputs = model().double(), batch(torch.float64)
    weights, outputs = authors(mine.state_dict()), mine(inputs, VIEWS)
    for row, (words, regions) in enumerate(examples(inputs)):
        for view, seen in (
            ("multimodal", (words, regions)),
            ("text", (words, None)),
            ("image", ([], regions)),
        ):
            expected = plain(weights, *seen)
            torch.testing.assert_close(outputs[view].logits[row], expected, atol=1e-10, rtol=0)


def again(place):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no config beside it tells the number of heads")
        found = Uniter.parameters_from(place)
    built = Uniter(MODALITIES, 3, **{**found, **SPECIAL}).eval()
    built.load_folder(place)
    return built


def same(mine, other):
    mine, other = mine.state_dict(), other.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[n], other[n]) for n in mine)


@pytest.mark.parametrize("zipped", [True, False])
def test_the_authors_files_come_back_to_the_bit(tmp_path, zipped):
    mine, place = model(heads=1), tmp_path / "uniter-base.pt"
    torch.save(authors(mine.state_dict()), place, _use_new_zipfile_serialization=zipped)
    with pytest.warns(UserWarning, match=r"the number of heads \(taken as heads: 1\); what"):
        found = Uniter.parameters_from(tmp_path)
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


@pytest.mark.parametrize(("hidden", "heads"), [(768, 12), (1024, 16)])
def test_the_published_sizes_are_no_guess(tmp_path, hidden, heads):
    at = "uniter.embeddings"
    state = {
        f"{at}.word_embeddings.weight": torch.zeros(4, hidden),
        f"{at}.position_embeddings.weight": torch.zeros(2, hidden),
        "uniter.encoder.layer.0.intermediate.dense.weight": torch.zeros(3, hidden),
    }
    torch.save(state, tmp_path / "uniter-large.pt")
    assert Uniter.parameters_from(tmp_path)["heads"] == heads
