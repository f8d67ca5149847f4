"""Model inputs: each value is processed once, kept, and padded into batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from listed_data import Letters, texts

from msdkit.data.inputs import ModelInputs, pad
from msdkit.data.raw import RawSplit
from msdkit.errors import DataError
from msdkit.processors.array import Array
from msdkit.types import Modality


def test_each_value_is_processed_once(tmp_path: Path) -> None:
    raw, first = texts("one", "two", "one", "three"), Letters()
    inputs = ModelInputs(raw, {"text": first}, tmp_path)
    assert first.seen == 3
    again = Letters()
    same = ModelInputs(raw, {"text": again}, tmp_path)
    assert again.seen == 0
    assert same.fingerprint == inputs.fingerprint
    values, mask = same.batch([3, 0])["text"]
    assert values.tolist() == [[ord(c) for c in "three"], [*map(ord, "one"), 0, 0]]
    assert mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_the_fingerprint_follows_data_order_and_processors(tmp_path: Path) -> None:
    variants = [
        (texts("a", "b"), Letters()),
        (texts("b", "a"), Letters()),
        (texts("a", "b", "b"), Letters()),
        (texts("a", "c"), Letters()),
        (texts("a", "b"), Letters(shift=1)),
    ]
    found = [ModelInputs(raw, {"text": p}, tmp_path).fingerprint for raw, p in variants]
    assert len(set(found)) == len(found)


def test_processing_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("msdkit.data.inputs.CHUNK", 2)
    raw, stopped, after = texts("a", "b", "c", "d", "e"), Letters(), Letters()
    stopped.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        ModelInputs(raw, {"text": stopped}, tmp_path)
    inputs = ModelInputs(raw, {"text": after}, tmp_path)
    assert after.seen == 3  # the first chunk was kept
    assert inputs.batch(range(5))["text"].values.flatten().tolist() == list(map(ord, "abcde"))


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    raw = texts("a", "b")
    ModelInputs(raw, {"text": Letters()}, tmp_path)
    data = next(tmp_path.rglob("features.bin"))
    data.write_bytes(b"\x01" + data.read_bytes()[1:])
    with pytest.raises(DataError, match=r"split 'train', modality 'text': feature store .*damaged"):
        ModelInputs(raw, {"text": Letters()}, tmp_path)


def test_an_example_that_a_processor_refuses_is_named(tmp_path: Path) -> None:
    class Picky(Letters):
        def __call__(self, raw: str) -> np.ndarray:
            """text -> int64 [L]"""
            if raw == "c":
                raise DataError("no c")
            return super().__call__(raw)

    with pytest.raises(DataError, match=r"split 'train', modality 'text': example 'e2': no c"):
        ModelInputs(texts("a", "b", "c", "d"), {"text": Picky()}, tmp_path)
    assert not list(tmp_path.rglob("index*"))


def test_arrays_stay_in_the_data_set(tmp_path: Path) -> None:
    raw = RawSplit(toy.Toy("train", n=5), "train", "single_label", limit=3)
    assert len(raw) == 3
    array = Array(Modality("features", 8))
    inputs = ModelInputs(raw, {"image": array}, tmp_path)
    values, mask = inputs.batch([2])["image"]
    expected = toy.Toy("train")[2].raw["image"]
    np.testing.assert_array_equal(values[0].numpy(), expected)
    assert mask.all()


def test_random_processors_draw_in_training_alone(tmp_path: Path) -> None:
    raw = RawSplit(toy.Toy("train", n=4), "train", "single_label")
    inputs = ModelInputs(raw, {"image": toy.Noise(Modality("features", 8))}, tmp_path)
    assert inputs.random == ["image"]
    first, second = (inputs.batch([0, 1], augment=True)["image"].values for _ in range(2))
    assert not torch.equal(first, second)
    plain, again = (inputs.batch([0, 1])["image"].values for _ in range(2))
    assert torch.equal(plain, again)
    torch.manual_seed(0)
    drawn = inputs.batch([0], augment=True)["image"].values
    torch.manual_seed(0)
    assert torch.equal(inputs.batch([0], augment=True)["image"].values, drawn)


def test_pad() -> None:
    values, mask = pad([np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)])
    assert values.shape == (2, 3, 2)
    assert values.sum(dim=(1, 2)).tolist() == [2, 6]
    assert mask.sum(dim=1).tolist() == [1, 3]
