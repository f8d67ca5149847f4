"""UNITER's fine-tuned checkpoints: the encoder of each, and the heads that this model computes."""

from __future__ import annotations

import pytest
import torch
from uniter_files import (
    AUTHORS,
    HIDDEN,
    VIEWS,
    WORDS,
    batch,
    examples,
    first_state,
    gelu,
    layer,
    linear,
    loaded,
    loaded_saying,
    norm,
    trunk,
    write_step,
)

H = HIDDEN
PAIR = layer("nlvr2_output", 2 * H, 2)
ATTENTION = {
    f"{at}.{name}": torch.ones(shape)
    for at in ("attn1", "attn2")
    for name, shape in (("in_proj_weight", (3 * H, H)), ("in_proj_bias", (3 * H,)))
}
WIDE = {
    name: value
    for at, *size in (
        ("vqa_output.0", H, 2 * H),
        ("vqa_output.2", 2 * H),
        ("vqa_output.3", 2 * H, 3),
    )
    for name, value in layer(at, *size).items()
}
# What each fine-tuning adds to the encoder: its tensors, token types and words
LEFT_OUT = {
    "re": (layer("re_output", H, 1), 2, 0, "re_output is left out: it scores each region"),
    "re, two layers": (
        layer("re_output.0", H, H) | layer("re_output.2", H) | layer("re_output.3", H, 1),
        2,
        0,
        "re_output is left out: it scores each region",
    ),
    "nlvr2, paired": (PAIR, 3, 0, "nlvr2_output is left out: it reads two pictures"),
    "nlvr2, paired-attn": (
        PAIR
        | ATTENTION
        | layer("attn1.out_proj", H, H)
        | layer("attn2.out_proj", H, H)
        | layer("fc.0", 2 * H, H)
        | layer("attn_pool.fc.0", H, 1),
        3,
        0,
        "nlvr2_output is left out: it reads two pictures",
    ),
    "vcr": (
        layer("vcr_output.0", H, 2 * H)
        | layer("vcr_output.2", 2 * H)
        | layer("vcr_output.3", 2 * H, 2),
        4,
        81,
        "vcr_output is left out: it reads answers and rationales as types of their own",
    ),
}


def pooled(state, words, regions):
    """[H], what the authors' heads of one picture read"""
    return torch.tanh(
        linear(first_state(state, AUTHORS, words, regions), state, "uniter.pooler.dense")
    )


@pytest.mark.parametrize("kind", list(LEFT_OUT))
def test_the_encoder_is_loaded_and_the_head_is_said_to_be_left_out(tmp_path, kind):
    head, types, more, said = LEFT_OUT[kind]
    state = trunk(AUTHORS, WORDS + more, types)
    place = write_step(state | head, tmp_path)
    model, lines = loaded_saying(place, 2)
    rows = ["types are left out; here words have 0, regions 1"] if types > 2 else []
    expected = [*rows, said, "newly made: head.0.bias, head.0.weight, head.2"]
    assert len(lines) == len(expected)
    assert all(a in b for a, b in zip(expected, lines, strict=True))
    inputs = batch(torch.float64)
    found = model(inputs, VIEWS, ["pooled"])["multimodal"].features["pooled"]
    there = torch.stack([pooled(state, *seen) for seen in examples(inputs)])
    torch.testing.assert_close(found, there, atol=1e-12, rtol=0)


def answers(head, state, words, regions):
    """[C] of the authors' linear and two-layer heads"""
    x = pooled(state, words, regions)
    if head != "vqa_output":
        return linear(x, state, head)
    wide = norm(gelu(linear(x, state, "vqa_output.0")), state, "vqa_output.2")
    return linear(wide, state, "vqa_output.3")


@pytest.mark.parametrize(
    ("head", "added", "types", "classes", "said"),
    [
        ("vqa_output", WIDE, 2, 3, []),
        ("nlvr2_output", layer("nlvr2_output", H, 2), 3, 2, ["rows 2 of the token types are left"]),
        (
            "rank_output",
            layer("rank_output", H, 1) | layer("itm_output", H, 2),
            2,
            1,
            ["not used: itm_output.bias, itm_output.weight"],
        ),
    ],
)
def test_heads_of_one_pooled_state_answer_as_the_authors(
    tmp_path, head, added, types, classes, said
):
    state = trunk(AUTHORS, types=types) | added
    place = write_step(state, tmp_path)
    model, lines = loaded_saying(place, classes)
    assert len(lines) == len(said)
    assert all(a in b for a, b in zip(said, lines, strict=True))
    inputs = batch(torch.float64)
    there = torch.stack([answers(head, state, *seen) for seen in examples(inputs)])
    found = model(inputs, VIEWS)["multimodal"].logits
    torch.testing.assert_close(found, there, atol=1e-12, rtol=0)


def test_regions_of_the_authors_have_no_mask(tmp_path):
    state = trunk(AUTHORS) | WIDE
    rows, at = loaded(write_step(state, tmp_path), 3).regions, "uniter.img_embeddings"
    assert torch.equal(rows.img_linear.bias, state[f"{at}.img_linear.bias"])
    assert torch.equal(rows.mask_embedding.weight, state[f"{at}.mask_embedding.weight"])


def test_what_vcrs_own_pre_training_kept_is_found_in_its_entry(tmp_path):
    state = trunk(AUTHORS, WORDS + 81) | WIDE
    model = loaded(write_step({"model_state": state, "step": 3}, tmp_path), 3)
    assert torch.equal(model.words.weight, state["uniter.embeddings.word_embeddings.weight"])
