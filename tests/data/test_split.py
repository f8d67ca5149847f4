"""Splits: batches of what belongs to some rows, in memory that does not grow with them."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest
import torch
from listed_data import Letters, Many, texts

from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split, carve


def test_a_batch_holds_what_belongs_to_its_examples(tmp_path: Path) -> None:
    inputs = ModelInputs(texts("a", "bb", "ccc"), {"text": Letters()}, tmp_path)
    logits = {"text": torch.arange(9.0).reshape(3, 3)}
    batch = Split(inputs, teacher={"logits": logits}, teacher_inputs=inputs).__getitems__([2, 0])
    assert batch.ids == ["e2", "e0"]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 1]
    assert batch.teacher_logits is not None
    assert batch.teacher_logits["text"].tolist() == [[6, 7, 8], [0, 1, 2]]
    assert batch.teacher_inputs is not None
    assert torch.equal(batch.teacher_inputs["text"].values, batch.inputs["text"].values)
    assert Split(inputs)[1].ids == ["e1"]


def test_memory_does_not_grow_with_the_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msdkit.io.arrays.IN_MEMORY", 1000)

    def held(count: int) -> int:
        raw = RawSplit(Many(count), "train", "single_label")
        split = Split(ModelInputs(raw, {"text": Letters()}, tmp_path))
        gc.collect()
        found = tracemalloc.get_traced_memory()[0]
        assert len(split.ids) == count
        return found

    tracemalloc.start()
    try:
        held(10)  # what is imported and remembered at the first call
        assert held(1200) - held(200) < 3000  # a list of texts takes 60 bytes for each at the least
    finally:
        tracemalloc.stop()


def test_a_split_of_some_rows(tmp_path: Path) -> None:
    raw = RawSplit(Many(50), "train", "single_label")
    some = Split(ModelInputs(raw, {"text": Letters()}, tmp_path), rows=torch.tensor([7, 3, 44]))
    assert list(some.ids) == ["example 7", "example 3", "example 44"]
    assert some.labels is not None
    assert some.labels[:].tolist() == [1, 0, 2]
    batch = some.__getitems__([2, 0])
    assert batch.ids == ["example 44", "example 7"]
    assert batch.labels is not None
    assert batch.labels.tolist() == [2, 1]


def test_carving_is_a_seeded_shuffle() -> None:
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    kept, held = carve(40, 0.2)
    assert (kept.tolist(), held.tolist()) == (
        sorted(order[8:].tolist()),
        sorted(order[:8].tolist()),
    )
    assert carve(5, 0.0)[0].tolist() == [0, 1, 2, 3, 4]
