"""What is checked when a split is opened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from listed_data import Listed

from msdkit.data.raw import RawSplit
from msdkit.errors import DataError
from msdkit.types import Example


@pytest.mark.parametrize(
    ("examples", "split", "message"),
    [
        ([], "val", "split 'val' of Listed is empty"),
        ([("x", {"text": "t"}, "a")] * 2, "train", "split 'train': the id 'x' stands twice"),
        ([("x", {"txt": "t"}, "a")], "train", "example 'x' has no modality 'text', only txt"),
        ([("x", {"text": "t"}, None)], "train", "split 'train': example 'x' has no label"),
        ([("x", {"text": "t"}, None)], "val", "split 'val': example 'x' has no label"),
        (
            [("x", {"text": "a \udfff"}, "a")],
            "train",
            r"split 'train', example 'x', modality 'text': .* not valid Unicode: '\\udfff'",
        ),
        ([("\ud800", {"text": "t"}, "a")], "val", "split 'val', an id: .* not valid Unicode"),
        ([("x", {"text": "t"}, "A")], "test", "split 'test', example 'x': unknown label 'A'"),
    ],
)
def test_wrong_splits(examples: list[Any], split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RawSplit(Listed([Example(*e) for e in examples]), split, "single_label")


def test_only_test_may_lack_labels() -> None:
    unlabelled = [Example(name, {"text": "t"}, None) for name in "xy"]
    assert RawSplit(Listed(unlabelled), "test", "single_label").labels is None


def test_a_split_that_is_labelled_in_part_is_refused() -> None:
    examples = [Example(str(i), {"text": "t"}, None if i in (3, 7) else "a") for i in range(20)]
    with pytest.raises(
        DataError, match=r"'test': example '3' has no label, the first of 2 among 2"
    ):
        RawSplit(Listed(examples), "test", "single_label")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", True], r"Listed\.label_names: expected texts, each once, got True"),
        ([0, 1], "got 0"),
        (["a", "b", "a"], "got 'a' twice"),
        ([], "got none"),
    ],
)
def test_wrong_classes(names: list[Any], message: str) -> None:
    data = Listed([Example("x", {"text": "t"}, "a")])
    data.label_names = names
    with pytest.raises(DataError, match=message):
        RawSplit(data, "train", "single_label")


def test_where_classes_are_called_by_numbers_indices_and_names_do_not_mix() -> None:
    data = Listed([Example(str(i), {"text": "t"}, label) for i, label in enumerate([1, "1"])])
    data.label_names = ["1", "2"]
    with pytest.raises(
        DataError, match="example '1': the label \"1\" is a text, and 1 of '0' an i"
    ):
        RawSplit(data, "train", "single_label")
    data.label_names = ["", "1a"]  # none is a number; an empty text is an answer of VQA
    data.examples = [Example("0", {"text": "t"}, 1), Example("1", {"text": "t"}, "1a")]
    assert RawSplit(data, "train", "single_label").labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ({"a": [[0], [1]]}, r"split 'test': slice 'a' must hold rows from 0 to 1 .*got \[\[0\], "),
        ({"a": 1}, "slice 'a' must hold rows .*got 1"),
        ({"a": [True, False]}, r"got \[True, False\]"),
        ({"a": [0.0]}, r"got \[0.0\]"),
        ({"a": [[0], [0, 1]]}, "in a flat list"),
        ({"a": [0, 2]}, "got 2"),
        ({"a": [-1]}, "got -1"),
        ({"a": [1, 1]}, "none twice"),
        ({3: [1]}, "slice 3: expected a text as its name"),
        ([[0]], r"slices\(\) gave \[\[0\]\]; expected {name: \[rows\]}"),
    ],
)
def test_wrong_slices(slices: Any, message: str) -> None:
    data: Any = Listed([Example(name, {"text": "t"}, "a") for name in "xy"])
    data.slices = lambda: slices
    with pytest.raises(DataError, match=message):
        _ = RawSplit(data, "test", "single_label").slices


def test_slices_of_what_is_read() -> None:
    data: Any = Listed([Example(name, {"text": "t"}, "a") for name in "xyz"])
    data.slices = lambda: {"last": [2, 0], "none": [], "array": np.array([1])}
    found = RawSplit(data, "test", "single_label", limit=2).slices
    assert {name: rows.tolist() for name, rows in found.items()} == {"last": [0], "array": [1]}


def test_names_of_labels_are_texts_and_names_of_files_are_what_the_disk_has() -> None:
    class Pictures(Listed):
        modalities = {"image": "image"}  # noqa: RUF012

    latin = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    raw = RawSplit(Pictures([Example("x", {"image": latin}, "a")]), "train", "single_label")
    assert raw.raw(0, "image") == latin

    class Odd(Listed):
        label_names = ["a", "\ud800"]  # noqa: RUF012

    with pytest.raises(DataError, match=r"Odd\.label_names: the text is not valid Unicode"):
        RawSplit(Odd([Example("x", {"text": "t"}, "a")]), "train", "single_label")
