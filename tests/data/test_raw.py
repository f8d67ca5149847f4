"""What is checked when a split is opened."""

from __future__ import annotations

from typing import Any

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
        ([("x", {"text": "t"}, "A")], "test", "split 'test', example 'x': unknown label 'A'"),
    ],
)
def test_wrong_splits(examples: list[Any], split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RawSplit(Listed([Example(*e) for e in examples]), split, "single_label")


def test_only_test_may_lack_labels() -> None:
    unlabelled = [Example("x", {"text": "t"}, "a"), Example("y", {"text": "t"}, None)]
    assert RawSplit(Listed(unlabelled), "test", "single_label").labels is None
