"""The plan of a teacher cache: each distinct content once, in batches of like length."""

from __future__ import annotations

import numpy as np
import pytest

from msdkit.teacher_cache import plan as teacher_plan
from msdkit.teacher_cache.plan import Plan, distinct, make_plan

SHOWN = [["text", "image"], ["text"], ["image"]]


def data(seed: int, count: int = 60) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(rows, lengths) of texts and images that repeat, alone and together."""
    draw = np.random.default_rng(seed)
    rows = {"text": draw.integers(0, 35, count) * 10**9, "image": draw.integers(0, 12, count)}
    lengths = {"text": rows["text"] // 10**9 % 9 + 1, "image": np.full(count, 4)}
    return rows, lengths


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_plan, "SMALLEST", 7)
    monkeypatch.setattr(teacher_plan, "PIECES", 5)


def test_numbers_for_contents() -> None:
    columns = [np.array([7, -2, 7, 7]), np.array([2**62, 5, 2**62, 5])]
    assert distinct(columns).tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_each_content_is_asked_for_once(seed: int) -> None:
    rows, lengths = data(seed)
    plan = make_plan(SHOWN, rows, lengths)
    for view, seen in enumerate(SHOWN):
        contents = list(zip(*(rows[m].tolist() for m in seen), strict=True))
        read = [contents[i] for i in plan.order[plan.asked >> view & 1 == 1]]
        assert sorted(read) == sorted(set(contents))
        # An entry is the content's place among all that are read
        assert [read[e] for e in plan.entries[view]] == contents
    assert len(set(plan.order.tolist())) == len(plan.order)
    every = sum(len(set(zip(*(rows[m] for m in seen), strict=True))) for seen in SHOWN)
    assert plan.sizes.sum() == every
    assert plan.repeats == 3 * 60 - every


def test_a_shard_holds_entries_that_follow_one_another() -> None:
    plan = make_plan(SHOWN, *data(0))
    assert len(plan.sizes) == 5
    assert plan.starts[[0, -1]].tolist() == [0, len(plan.order)]
    for view in range(3):
        asked = plan.asked >> view & 1
        for shard in range(5):
            start, end = plan.starts[shard : shard + 2]
            assert plan.bounds[view, shard] == asked[:start].sum()
            assert plan.bounds[view, shard + 1] == asked[:end].sum()


def batches(plan: Plan, work: np.ndarray, budget: float) -> list[list[slice]]:
    return [list(plan.batches(shard, work, budget)) for shard in range(len(plan.sizes))]


@pytest.mark.parametrize("budget", [1, 20, 45.5, 10**6])
def test_batches_ask_for_equal_views_within_a_budget(budget: float) -> None:
    rows, lengths = data(1)
    plan = make_plan(SHOWN, rows, lengths)
    tokens = np.stack([lengths["text"] + 4, lengths["text"], lengths["image"]])
    work = plan.work(tokens)
    expected = [
        sum(tokens[v, i] for v in range(3) if bits >> v & 1)
        for i, bits in zip(plan.order, plan.asked, strict=True)
    ]
    assert work.tolist() == expected
    found = batches(plan, work, budget)
    for shard, slices in enumerate(found):
        covered = [place for s in slices for place in range(s.start, s.stop)]
        assert covered == list(range(*plan.starts[shard : shard + 2]))
        for s in slices:
            assert len(set(plan.asked[s])) == 1
            assert work[s].sum() <= budget + work[s].max()
    if budget == 10**6:  # no more calls than kinds of work
        assert sum(map(len, found)) <= 5 + len(set(plan.asked)) - 1


def test_batches_have_next_to_no_padding() -> None:
    draw = np.random.default_rng(0)
    lengths = {"text": draw.integers(8, 48, 4000), "image": draw.integers(10, 14, 4000)}
    rows = {m: np.arange(4000) for m in lengths}
    plan = make_plan(SHOWN, rows, lengths)
    tokens = np.stack([lengths["text"] + lengths["image"], lengths["text"], lengths["image"]])
    work = plan.work(tokens)
    found = [s for part in batches(plan, work, 32 * work.mean()) for s in part]
    assert 4000 / 32 <= len(found) <= 1.3 * 4000 / 32
    for modality, bound in (("text", 1.03), ("image", 1.15)):
        padded = sum(lengths[modality][plan.order[s]].max() * (s.stop - s.start) for s in found)
        assert padded <= bound * lengths[modality].sum()
    first = lengths["text"][plan.order]
    assert (np.diff(first) <= 0).all()  # the longest first: what does not fit is told at once


def test_hidden_modalities_that_are_read_count() -> None:
    rows, lengths = data(2)
    plan = make_plan([["text", "image"]] * 3, rows, lengths)
    assert set(plan.asked) == {0b111}
    assert (plan.entries == plan.entries[0]).all()


def test_shards_are_few_enough_to_be_mapped_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real sizes
    sizes = [teacher_plan.shard_size(n) for n in (10, 64_000, 1_000_000, 10**9)]
    assert sizes == [256, 1000, 2048, 244_141]  # the last: 10^9 / 4096, rounded up
