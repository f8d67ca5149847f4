"""The maskings against hand-worked numbers."""

from __future__ import annotations

import pytest
import torch

from msdkit.errors import ConfigError
from msdkit.models.masking import Drop, MaskToken, Mean, Shuffle, Zero
from msdkit.registry import MASKINGS


def part(rows, mask):
    return torch.tensor(rows, dtype=torch.float)[..., None], torch.tensor(mask, dtype=torch.bool)


EMBEDDINGS, MASK = part([[1, 3], [5, 99]], [[True, True], [True, False]])


@pytest.mark.parametrize("name", ["drop", "zero", "mean", "mask_token", "shuffle"])
def test_every_masking_is_registered_and_builds_without_parameters(name):
    masking = MASKINGS.build(name)
    assert masking.deterministic == (name != "shuffle")
    assert masking.needs == ({"mask_token"} if name == "mask_token" else set())
    assert masking.reads == (name != "drop")


def test_drop_removes_and_zero_keeps_length():
    assert Drop()(EMBEDDINGS, MASK, "text", None) is None
    embeddings, mask = Zero()(EMBEDDINGS, MASK, "text", None)
    assert not embeddings.any()
    assert torch.equal(mask, MASK)


def test_mask_token_repeats_the_models_token():
    embeddings, mask = MaskToken()(EMBEDDINGS, MASK, "text", torch.tensor([7.0]))
    assert torch.equal(embeddings, torch.full((2, 2, 1), 7.0))
    assert mask is MASK
    with pytest.raises(ConfigError, match="no mask token for modality 'text'"):
        MaskToken()(EMBEDDINGS, MASK, "text", None)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_shuffle_gives_every_example_anothers_embeddings_and_mask(size):
    own = torch.arange(size)
    embeddings = own[:, None, None].expand(size, size, 1).float()
    mask = torch.arange(size) <= own[:, None]
    seen = set()
    for _ in range(20):
        moved, moved_mask = Shuffle()(embeddings, mask, "text")
        index = moved[:, 0, 0].long()
        assert sorted(index.tolist()) == own.tolist()
        assert not (index == own).any()
        assert torch.equal(moved_mask, mask[index])
        seen.add(tuple(index.tolist()))
    assert size == 2 or len(seen) > 1


def test_shuffle_follows_the_global_seed_and_needs_two_examples():
    embeddings, mask = torch.randn(9, 2, 1), torch.ones(9, 2, dtype=torch.bool)
    torch.manual_seed(5)
    first = Shuffle()(embeddings, mask, "text")[0]
    torch.manual_seed(5)
    assert torch.equal(first, Shuffle()(embeddings, mask, "text")[0])
    with pytest.raises(ConfigError, match="batch of 1 for modality 'text'"):
        Shuffle()(embeddings[:1], mask[:1], "text")


def mean_masking(**params):
    masking = Mean(**params)
    masking.setup(["text", "image"], 1)
    return masking


def test_mean_is_exact_over_real_positions():
    masking = mean_masking(momentum=0.0)
    masking.observe(EMBEDDINGS, MASK, "text", exact=True)
    masking.observe(*part([[11]], [[True]]), "text", exact=True)
    masking.observe(*part([[50]], [[False]]), "text", exact=True)
    embeddings, mask = masking(EMBEDDINGS, MASK, "text")
    torch.testing.assert_close(embeddings, torch.full((2, 2, 1), (1 + 3 + 5 + 11) / 4))
    assert mask is MASK


def test_running_mean_is_cumulative_first_then_exponential():
    masking = mean_masking(momentum=0.6)
    expected = []
    for value in (2.0, 4.0, 9.0, 1.0):
        masking.observe(*part([[value]], [[True]]), "text")
        expected.append(masking.means[0].item())
    # Shares 1, 1/2, then 0.4 where 1/3 and 1/4 would be smaller
    hand = [2.0, 3.0, 3.0 + 0.4 * 6.0, 5.4 + 0.4 * (1.0 - 5.4)]
    assert expected == pytest.approx(hand)


def test_running_mean_ignores_a_batch_without_positions():
    masking = mean_masking(momentum=0.5)
    masking.observe(*part([[4]], [[True]]), "text")
    masking.observe(*part([[9]], [[False]]), "text")
    assert masking.means[0].item() == 4.0


def test_padding_may_hold_anything():
    masking = mean_masking()
    masking.observe(*part([[4, float("nan")]], [[True, False]]), "text")
    assert masking.means[0].item() == 4.0


def test_unfitted_mean_names_the_modality_and_the_remedy():
    masking = mean_masking()
    masking.observe(EMBEDDINGS, MASK, "text")
    with pytest.raises(ConfigError, match=r"no mean of modality 'image' yet.*fit_masking"):
        masking(EMBEDDINGS, MASK, "image")


def test_mean_state_travels_in_the_state_dict():
    masking, other = mean_masking(), mean_masking()
    masking.observe(EMBEDDINGS, MASK, "image")
    other.load_state_dict(masking.state_dict())
    assert torch.equal(other(EMBEDDINGS, MASK, "image")[0], torch.full((2, 2, 1), 3.0))


def test_mean_serves_one_model_and_checks_momentum():
    with pytest.raises(ConfigError, match="build one for each model"):
        mean_masking().setup(["text"], 1)
    with pytest.raises(ConfigError, match="momentum is 2; accepted: 0 to 1"):
        Mean(momentum=2)
