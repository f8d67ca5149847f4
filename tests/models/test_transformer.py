"""The transformer layer against torch's own, and the dropout against its probability."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from msdkit.errors import ConfigError
from msdkit.models.transformer import Dropout, TransformerLayer, key_mask


def twin(layer, hidden, heads):
    """torch's pre-LN layer with the same weights."""
    other = nn.TransformerEncoderLayer(
        hidden, heads, 2 * hidden, 0.0, F.gelu, batch_first=True, norm_first=True
    )
    names = {
        "self_attn.in_proj_": "qkv.",
        "self_attn.out_proj.": "out.",
        "linear1.": "up.",
        "linear2.": "down.",
    }
    own = layer.state_dict()
    for name, value in other.state_dict().items():
        source = name
        for theirs, ours in names.items():
            source = source.replace(theirs, ours)
        value.copy_(own[source])
    return other


@pytest.mark.parametrize("padded", [False, True])
def test_it_equals_torchs_layer(padded):
    torch.manual_seed(0)
    layer = TransformerLayer(8, 2, 2.0, 0.0)
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1, 3:] = not padded
    states = torch.randn(3, 5, 8)
    expected = twin(layer, 8, 2)(states, src_key_padding_mask=~mask)
    torch.testing.assert_close(layer(states, key_mask(mask))[mask], expected[mask])


def test_scores_and_values_are_those_of_the_attention():
    torch.manual_seed(0)
    layer = TransformerLayer(8, 2, 2.0, 0.0)
    states = torch.randn(3, 5, 8)
    scores, values = layer.inside(states)
    assert scores.shape == (3, 2, 5, 5)
    assert values.shape == (3, 2, 5, 4)
    attended = (scores.softmax(-1) @ values).transpose(1, 2).reshape(3, 5, 8)
    middle = states + layer.out(attended)
    expected = middle + layer.down(F.gelu(layer.up(layer.norm2(middle))))
    torch.testing.assert_close(layer(states), expected)


def test_no_mask_where_nothing_is_padded():
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert key_mask(mask) is None
    mask[0, 2] = False
    assert key_mask(mask).shape == (2, 1, 1, 3)


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="hidden is 8, which 3 heads do not divide"):
        TransformerLayer(8, 3, 4.0, 0.0)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_with_its_probability_and_keeps_the_mean(p):
    torch.manual_seed(0)
    ones = torch.ones(333, 301, requires_grad=True)
    out = Dropout(p)(ones)
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.006)
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 1 / (1 - p)))
    out.sum().backward()
    assert torch.equal(ones.grad, out.detach())


def test_dropout_follows_the_seed_and_rests_in_evaluation():
    dropout, ones = Dropout(0.5), torch.ones(7)
    torch.manual_seed(1)
    first = dropout(ones)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(ones))
    assert dropout.eval()(ones) is ones or torch.equal(dropout(ones), ones)
    assert torch.equal(Dropout(0.0)(ones), ones)
    assert not Dropout(1.0)(ones).any()
    assert Dropout(0.5)(torch.ones(0, 3)).shape == (0, 3)
