"""From raw examples to batches: checks, labels, processing once, padding."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy

from msdkit.data.inputs import ModelInputs, pad
from msdkit.data.labels import encode_label
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split, carve
from msdkit.errors import DataError
from msdkit.processors.array import Array
from msdkit.processors.base import Processor
from msdkit.types import Example, Modality

NAMES = ["a", "b", "c"]


class Listed:
    """Examples from a list."""

    modalities = {"text": "text"}  # noqa: RUF012
    label_names = NAMES

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


class Letters(Processor):
    """Letters by their code; counts its calls."""

    def __init__(self, *, shift: int = 0) -> None:
        self.shift, self.seen = shift, 0
        self.stop_at: int | None = None

    @property
    def modality(self) -> Modality:
        return Modality("tokens", 200)

    def __call__(self, raw: str) -> np.ndarray:
        """text -> int64 [L]"""
        if self.seen == self.stop_at:
            raise KeyboardInterrupt
        self.seen += 1
        return np.array([ord(c) + self.shift for c in raw], np.int64)


def texts(*values: str, split: str = "train") -> RawSplit:
    examples = [Example(f"e{i}", {"text": text}, "b") for i, text in enumerate(values)]
    return RawSplit(Listed(examples), split, "single_label")


@pytest.mark.parametrize(
    ("label", "task", "expected"),
    [
        ("b", "single_label", 1),
        (2, "single_label", 2),
        (np.int64(0), "single_label", 0),
        (["a", "c"], "multi_label", [1, 0, 1]),
        ([], "multi_label", [0, 0, 0]),
        ([0, 1, 1], "multi_label", [0, 1, 1]),
        ({"b": 0.3, "a": 1}, "soft_target", [1, 0.3, 0]),
        (np.array([0.5, 0.2, 0]), "soft_target", [0.5, 0.2, 0]),
        ({"c": -7, "a": 1.5, "b": 2}, "regression", [1.5, 2, -7]),
        ([1, -2, 3e3], "regression", [1, -2, 3e3]),
        (torch.tensor([0.5, 0, -1]), "regression", [0.5, 0, -1]),
    ],
)
def test_labels(label: Any, task: Any, expected: Any) -> None:
    found = encode_label(label, task, NAMES)
    assert np.asarray(found).tolist() == pytest.approx(expected)
    assert task == "single_label" or found.dtype == np.float32


@pytest.mark.parametrize(
    ("label", "task", "message"),
    [
        ("bb", "single_label", "unknown label 'bb'. Did you mean 'b'"),
        (3, "single_label", "class indices are 0 to 2"),
        (0.5, "single_label", "unknown label 0.5"),
        (["a", "x"], "multi_label", "unknown label 'x'"),
        ([1.0, 0.0], "soft_target", "expected 3 numbers, one per class"),
        ([1.0, 0.0], "regression", r"expected 3 numbers \(a, b, c\), got \[1.0, 0.0\]"),
        ({"a": 1, "b": 2}, "regression", "expected numbers for a, b, c; got them for a, b"),
        ([1.0, float("nan"), 0], "regression", "a finite float32 number for 'b', got nan"),
        ([1.0, 0, -1e39], "regression", r"a finite float32 number for 'c', got -1e\+39"),
        (["1", "2", "3"], "regression", "expected 3 numbers"),
        ([[1.0], [2.0, 3.0], [4.0]], "regression", "expected 3 numbers"),
        (None, "regression", "expected 3 numbers"),
        (2.5, "regression", "expected 3 numbers"),
    ],
)
def test_wrong_labels(label: Any, task: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_label(label, task, NAMES)


@pytest.mark.parametrize(
    ("examples", "split", "message"),
    [
        ([], "val", "split 'val' of Listed is empty"),
        ([("x", {"text": "t"}, "a")] * 2, "train", "split 'train': the id 'x' stands twice"),
        ([("x", {"txt": "t"}, "a")], "train", "example 'x' has no modality 'text', only txt"),
        ([("x", {"text": "t"}, None)], "train", "split 'train': example 'x' has no label"),
        ([("x", {"text": "t"}, None)], "val", "split 'val': example 'x' has no label"),
        ([("x", {"text": "t"}, "A")], "test", "split 'test', example 'x': unknown label 'A'"),
    ],
)
def test_wrong_splits(examples: list[Any], split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RawSplit(Listed([Example(*e) for e in examples]), split, "single_label")


def test_one_target_takes_a_bare_number() -> None:
    found = encode_label(2.5, "regression", ["score"])
    assert (found.tolist(), found.dtype) == ([2.5], np.float32)
    for label in (True, "2.5", [1.0, 2.0], []):
        with pytest.raises(DataError, match="expected a number, got"):
            encode_label(label, "regression", ["score"])


def test_only_test_may_lack_labels() -> None:
    unlabelled = [Example("x", {"text": "t"}, "a"), Example("y", {"text": "t"}, None)]
    assert RawSplit(Listed(unlabelled), "test", "single_label").labels is None


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


class Many(Listed):
    """So many examples, each made when it is asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        return Example(f"example {index}", {"text": f"text {index // 5}"}, index % 3)


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
