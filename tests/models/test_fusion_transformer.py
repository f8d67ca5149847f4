"""The fusion transformer: views, padding, the head's pooling, features, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from msdkit.errors import DataError
from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.models.masking import MaskToken, Mean, Shuffle, Zero
from msdkit.types import Modality, Padded, View, default_views, known_views

MODALITIES = {"text": Modality("tokens", 11), "image": Modality("features", 3)}
VIEWS = default_views(MODALITIES)


def small(modalities=MODALITIES, masking=None, **params):
    params = {"hidden": 8, "heads": 2, "layers": 2, "max_length": 6, "dropout": 0.0} | params
    return FusionTransformer(modalities, 3, masking, **params)


def batch(size=4, padded=True):
    text_mask = torch.arange(5) < torch.randint(1, 6, (size, 1))
    image_mask = torch.arange(4) < torch.randint(1, 5, (size, 1))
    if not padded:
        text_mask, image_mask = torch.ones_like(text_mask), torch.ones_like(image_mask)
    text = Padded(torch.randint(11, (size, 5)), text_mask)
    return {"text": text, "image": Padded(torch.randn(size, 4, 3), image_mask)}


def test_a_dropped_modality_is_not_read_and_gets_no_gradient():
    model, inputs = small(), batch()
    alone = model({"text": inputs["text"]}, VIEWS[1:2])["text"].logits
    inputs["image"].values.fill_(float("nan"))
    out = model(inputs, VIEWS)
    assert out["multimodal"].logits.isnan().all()
    assert torch.equal(out["text"].logits, alone)
    out["text"].logits.sum().backward()
    touched = {name for name, value in model.named_parameters() if value.grad is not None}
    assert not any("image" in name for name in touched)
    assert "inputs.text.weight" in touched


def test_views_equal_a_call_for_each():
    model, inputs = small(), batch()
    together = model(inputs, VIEWS)
    assert list(together) == ["multimodal", "text", "image"]
    for view in VIEWS:
        assert torch.equal(together[view].logits, model(inputs, [view])[view].logits)


def test_each_modality_is_embedded_once_for_all_views():
    model = small()
    calls = []
    for name, layer in model.inputs.items():
        layer.register_forward_hook(lambda *_, name=name: calls.append(name))
    model(batch(), VIEWS)
    assert sorted(calls) == ["image", "text"]


def test_padding_changes_nothing():
    model, inputs = small(), batch(size=3)
    for row in range(3):
        trimmed = {
            name: Padded(s.values[row : row + 1, : s.mask[row].sum()], s.mask[row : row + 1])
            for name, s in inputs.items()
        }
        trimmed = {
            name: Padded(s.values, s.mask[:, : s.values.shape[1]]) for name, s in trimmed.items()
        }
        for view, output in model(trimmed, VIEWS).items():
            expected = model(inputs, VIEWS)[view].logits[row]
            torch.testing.assert_close(output.logits[0], expected)


def test_the_head_reads_cls_the_means_and_the_product_of_the_shown():
    modalities = {name: Modality("features", 3) for name in ("a", "b", "c")}
    model = small(modalities)
    inputs = {name: batch()["image"] for name in modalities}
    for visible in (["a"], ["b", "c"], ["a", "b", "c"]):
        view = View("some", visible)
        output = model(inputs, [view], ["hidden.2", "pooled"])["some"]
        states, start, means = model.norm(output.features["hidden.2"]), 1, {}
        for name in visible:
            mask = inputs[name].mask[..., None]
            rows = states[:, start : start + 4] * mask
            means[name], start = rows.sum(1) / mask.sum(1), start + 4
        product = torch.stack(list(means.values())).prod(0) if len(means) > 1 else None
        nothing = torch.zeros(4, 8)
        pieces = [states[:, 0], *(means.get(n, nothing) for n in modalities)]
        pieces.append(nothing if product is None else product)
        pooled = F.gelu(F.linear(torch.cat(pieces, 1), model.pool.weight, model.pool.bias))
        torch.testing.assert_close(output.features["pooled"], pooled)
        torch.testing.assert_close(output.logits, model.head(pooled))


def test_any_number_of_modalities_and_views_without_one():
    modalities = {**MODALITIES, "audio": Modality("features", 5)}
    model = small(modalities)
    inputs = {**batch(2), "audio": Padded(torch.randn(2, 3, 5), torch.ones(2, 3).bool())}
    out = model(inputs, known_views(modalities))
    assert set(out) == {"multimodal", *modalities, *(f"without_{m}" for m in modalities)}
    only = FusionTransformer({"text": Modality("tokens", 11)}, 3, hidden=8, heads=2)
    assert only({"text": inputs["text"]}, [View("text", ["text"])])["text"].logits.shape == (2, 3)


@pytest.mark.parametrize("empty", ["mask", "length"])
@pytest.mark.parametrize("masking", [None, Zero, Mean, MaskToken, Shuffle])
def test_an_example_without_any_position_stays_finite(masking, empty):
    model, inputs = small(masking=masking and masking()), batch()
    text = inputs["text"]
    if empty == "mask":
        text.mask[1] = False
    else:
        inputs["text"] = Padded(text.values[:, :0], text.mask[:, :0])
    if masking is Mean:
        model.fit_masking([batch()])
    out = model(inputs, VIEWS)
    assert all(o.logits.isfinite().all() for o in out.values())
    sum(o.logits.square().sum() for o in out.values()).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("padded", [False, True])
def test_features_come_only_when_asked_and_in_their_shapes(padded):
    model, inputs = small(), batch(padded=padded)
    assert model(inputs, VIEWS)["multimodal"].features == {}
    names = model.feature_names
    assert names == ["pooled", "hidden.0", "hidden.1", "hidden.2"] + [
        f"{kind}.{i}" for kind in ("attention", "value") for i in (1, 2)
    ]
    plain = model(inputs, VIEWS)
    for view, length in zip(VIEWS, (10, 6, 5), strict=True):
        output = model(inputs, [view], names)[view]
        shapes = {name: tuple(value.shape) for name, value in output.features.items()}
        assert shapes == {
            "pooled": (4, 8),
            **{f"hidden.{i}": (4, length, 8) for i in (0, 1, 2)},
            **{f"attention.{i}": (4, 2, length, length) for i in (1, 2)},
            **{f"value.{i}": (4, 2, length, 4) for i in (1, 2)},
        }
        assert torch.equal(output.logits, plain[view].logits)
        shown = [inputs[name].mask for name in MODALITIES if name in view.visible]
        assert torch.equal(output.mask, torch.cat([torch.ones(4, 1).bool(), *shown], 1))
    assert list(model(inputs, VIEWS[:1], ["value.2"])["multimodal"].features) == ["value.2"]


def test_every_parameter_learns_from_the_three_views():
    model = small(embedding=4, dropout=0.1)
    out = model(batch(), VIEWS)
    sum(F.cross_entropy(o.logits, torch.tensor([0, 1, 2, 0])) for o in out.values()).backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


def test_factorised_embeddings_are_smaller():
    assert isinstance(small().inputs["text"], nn.Embedding)
    table, project = small(embedding=4).inputs["text"]
    assert table.weight.shape == (11, 4)
    assert project.weight.shape == (8, 4)


def test_the_learned_mask_token_replaces_content_and_keeps_positions():
    model, inputs = small(masking=MaskToken()), batch(padded=False)
    output = model(inputs, VIEWS[2:], ["hidden.0"])["image"]
    text = output.features["hidden.0"][:, 1:6]
    expected = model.mask_tokens["text"] + model.positions["text"][:5] + model.kinds["text"]
    torch.testing.assert_close(text, expected.expand(4, 5, 8))
    assert small().mask_token("text") is None


def test_zero_keeps_the_length_of_what_it_hides():
    output = small(masking=Zero())(batch(), VIEWS[1:2], ["hidden.0"])["text"]
    assert output.features["hidden.0"].shape == (4, 10, 8)


def test_a_sequence_that_is_too_long_is_named():
    with pytest.raises(
        DataError, match="'image' has 4 positions; accepted: at most max_length = 3"
    ):
        small(max_length=3)(batch(), VIEWS[2:])


def test_equal_scale_and_shift_of_features_change_nothing():
    # What a learned scale and shift in the norm would add, the projection can do
    model, inputs = small(), batch()
    moved = Padded(3 * inputs["image"].values + 2, inputs["image"].mask)
    out = model(inputs, VIEWS[2:])["image"].logits
    other = model({"image": moved}, VIEWS[2:])["image"].logits
    torch.testing.assert_close(other, out, atol=1e-4, rtol=1e-3)
