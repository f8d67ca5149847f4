"""Batches: which rows make which step, in one process and in several, and their loading."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from msdkit.config.schema import TrainConfig
from msdkit.data.inputs import ModelInputs
from msdkit.data.loader import Batches, epoch_order, made_ahead
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.errors import ConfigError
from msdkit.processors.array import Array
from msdkit.types import Batch, Example, Modality

N, PICTURES = 43, 9


class Album:
    """Questions of differing lengths about a few pictures."""

    modalities: ClassVar[dict[str, Any]] = {
        "text": Modality("tokens", 50),
        "image": Modality("features", 2),
    }
    task = "single_label"
    label_names: ClassVar[list[str]] = ["a", "b"]

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Example:
        draw = np.random.default_rng(index)
        text = draw.integers(0, 50, int(draw.integers(1, 30)))
        picture = np.full((3, 2), index % PICTURES, "float32")
        return Example(f"id{index}", {"text": text, "image": picture}, index % 2)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    raw = RawSplit(Album(), "train", "single_label")
    processors = {name: Array(modality) for name, modality in Album.modalities.items()}
    return Split(ModelInputs(raw, processors, tmp_path_factory.mktemp("cache")), augment=True)


def batches(split: Split, rank: int = 0, world: int = 1, **train: Any) -> Batches:
    config = TrainConfig(**{"batch_size": 4, **train})
    return Batches(split, config, seed=3, rank=rank, world=world)


def ids(batch: Batch) -> list[int]:
    return [int(key.removeprefix("id")) for key in batch.ids]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    torch.manual_seed(0)
    first = epoch_order(50, seed=3, epoch=2)
    torch.manual_seed(1)
    assert torch.equal(epoch_order(50, seed=3, epoch=2), first)
    assert sorted(first.tolist()) == list(range(50))
    orders = [epoch_order(50, s, e).tolist() for s in range(4) for e in range(4)]
    assert len({tuple(order) for order in orders}) == 16


def test_steps_follow_the_order_of_the_epoch(split: Split) -> None:
    made = batches(split, accumulate=3)
    assert made.steps_per_epoch == 4  # of 12, 12, 12 and 7 examples
    steps = list(made.epoch(1))
    assert [[len(p.batch) for p in parts] for parts in steps] == [[4] * 3] * 3 + [[4, 3]]
    assert [p.share for p in steps[-1]] == [4 / 7, 3 / 7]
    seen = [i for parts in steps for p in parts for i in ids(p.batch)]
    assert seen == epoch_order(N, 3, 1).tolist()


@pytest.mark.parametrize("group_by", [None, "length", "image"])
def test_a_step_is_a_function_of_its_number(split: Split, group_by: str | None) -> None:
    made = batches(split, group_by=group_by)
    epochs = [[ids(p.batch) for (p,) in made.epoch(e)] for e in range(3)]
    assert epochs[0] != epochs[1]
    assert all(sorted(sum(epoch, [])) == list(range(N)) for epoch in epochs)  # noqa: RUF017
    flat = sum(epochs, [])  # noqa: RUF017
    for start in (0, 5, 10, 11, 14):
        torch.manual_seed(start)
        steps = batches(split, group_by=group_by).after(start)
        assert [ids(next(steps)[0].batch) for _ in range(13)] == flat[start : start + 13]


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("group_by", [None, "image"])
def test_processes_share_out_the_bigger_batch(
    split: Split, world: int, group_by: str | None
) -> None:
    whole = batches(split, batch_size=4 * world, accumulate=2, group_by=group_by)
    ranks = [batches(split, r, world, accumulate=2, group_by=group_by) for r in range(world)]
    assert {r.steps_per_epoch for r in ranks} == {whole.steps_per_epoch}
    for parts, *shared in zip(whole.epoch(0), *(r.epoch(0) for r in ranks), strict=True):
        for part, *pieces in zip(parts, *shared, strict=True):
            together = [i for p in pieces if p.share for i in ids(p.batch)]
            assert together == ids(part.batch)
            assert sum(p.share for p in pieces) == pytest.approx(part.share)
            assert all(len(p.batch) for p in pieces)  # a stand-in where there is none


@pytest.mark.parametrize("group_by", [None, "length", "image"])
def test_steps_stay_when_processes_come_and_go(split: Split, group_by: str | None) -> None:
    """Two processes, one that accumulates in their place, and one with the batch of both."""
    two = [batches(split, rank, 2, group_by=group_by) for rank in range(2)]
    one = batches(split, accumulate=2, group_by=group_by)
    big = batches(split, batch_size=8, group_by=group_by)
    for both in (two, [one], [big]):
        steps = zip(*(made.epoch(0) for made in both), strict=True)
        found = [sorted(i for parts in x for p in parts for i in ids(p.batch)) for x in steps]
        assert found == [sorted(big.order(0)[at : at + 8].tolist()) for at in range(0, N, 8)]


def test_a_process_without_examples_has_a_stand_in(split: Split) -> None:
    some = Split(split.inputs, rows=torch.arange(5))
    first, second, third = (list(batches(some, r, 3, batch_size=1).epoch(0))[-1] for r in range(3))
    assert [p.share for p in (*first, *second, *third)] == [0.5, 0.5, 0]
    assert ids(third[0].batch) == ids(first[0].batch)


def test_like_lengths_stand_together(split: Split) -> None:
    lengths = {i: len(Album()[i].raw["text"]) for i in range(N)}

    def padded(group_by: str | None) -> int:
        cut = [ids(p.batch) for (p,) in batches(split, group_by=group_by).epoch(0)]
        assert [len(b) for b in cut] == [4] * 10 + [3]
        return sum(len(b) * max(lengths[i] for i in b) for b in cut)

    real = sum(lengths.values())
    assert real <= padded("length") < 1.15 * real < 1.4 * real < padded(None)


def test_examples_that_share_a_picture_stand_together(split: Split) -> None:
    pictures = [i % PICTURES for i in batches(split, group_by="image").order(0).tolist()]
    changes = sum(a != b for a, b in pairwise(pictures))
    assert changes == PICTURES - 1
    order = batches(split, group_by="image").order
    assert (
        order(0)[order(0) % PICTURES == 4].tolist() != order(1)[order(1) % PICTURES == 4].tolist()
    )


def test_groups_of_a_part_of_the_data(split: Split) -> None:
    some = Split(split.inputs, rows=torch.arange(0, N, 2))
    for group_by in ("image", "length"):
        order = batches(some, group_by=group_by).order(0)
        assert sorted(order.tolist()) == list(range(len(some)))


def test_unknown_groups_are_refused(split: Split) -> None:
    with pytest.raises(ConfigError, match=r"group_by: there is no modality 'imag'\. Did you mean"):
        batches(split, group_by="imag")


# A thread that gathers ahead


def test_what_is_made_ahead_is_the_same(split: Split) -> None:
    plain, ahead = (batches(split).after(2) for _ in range(2))
    ahead = made_ahead(ahead)
    for _ in range(15):
        (a,), (b,) = next(plain), next(ahead)
        assert a.batch.ids == b.batch.ids
        assert all(
            torch.equal(a.batch.inputs[m].values, b.batch.inputs[m].values)
            for m in Album.modalities
        )
    assert threading.active_count() > 1
    ahead.close()


def test_only_an_accelerator_is_fed_ahead(split: Split, monkeypatch: Any) -> None:
    config = TrainConfig()
    assert not Batches(split, config, 0, device="cpu").ahead
    assert Batches(split, config, 0, device="cuda").ahead
    monkeypatch.setattr(Array, "random", True)  # draws must keep their order
    assert not Batches(split, config, 0, device="cuda").ahead


def test_the_thread_ends_with_the_loop() -> None:
    def numbers() -> Any:
        yield from range(3)
        raise ValueError("no more")

    before = threading.active_count()
    made = made_ahead(numbers())
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no more"):
        next(made)
    assert threading.active_count() == before
    left = made_ahead(iter(range(9)))
    assert next(left) == 0
    left.close()
    assert threading.active_count() == before
