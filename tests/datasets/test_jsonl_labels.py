"""Labels in rows of files that look like others: mixed ways of writing, marks, multi-hot lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from msdkit.data.raw import RawSplit
from msdkit.datasets.jsonl import Jsonl
from msdkit.errors import DataError

HINT = "multi-hot lists are not read; list the names of the classes that are 1"


def opened(folder: Path, split: str = "train", /, **given: Any) -> Jsonl:
    """The split of these labels, given by split; what else is given are parameters."""
    for name in ("train", "val", "test"):
        if name in given:
            rows = [{"text": "x", "label": label} for label in given.pop(name)]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return Jsonl(split, folder=str(folder), modalities={"text": "text"}, **given)


def refused(folder: Path, split: str = "train", /, **given: Any) -> str:
    with pytest.raises(DataError) as error:
        opened(folder, split, **given)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "1"], 'jsonl:2: the label "1" is a text, and 1 of train.jsonl:1 an integer'),
        (["a", "b", 1], 'jsonl:3: the label 1 is an integer, and "a" of train.jsonl:1 a text'),
        ([0, 1, True], "jsonl:3: the label true is true or false, and 0 of train.jsonl:1 an int"),
        ([1, 1.0], "jsonl:2: expected a class (its name or an integer), got 1.0; write 1"),
        (["a", float("nan")], "got nan; where a row of test has no label, write null"),
    ],
)
def test_classes_are_written_in_one_way(tmp_path: Path, labels: list[Any], message: str) -> None:
    assert message in refused(tmp_path, train=labels)


def test_they_are_so_in_all_splits(tmp_path: Path) -> None:
    message = "the label 1 is an integer, and "
    assert message in refused(tmp_path, "val", train=["0", "1"], val=["0", 1])
    assert message in refused(tmp_path, "test", train=["a", "b"], test=[1])
    numbers = ["1", "2"]  # an integer might be an index to whoever wrote it
    assert message in refused(tmp_path, "val", train=["1"], val=[1], labels=numbers)
    assert message in refused(tmp_path, "train", train=["1", 1], labels=numbers)
    assert opened(tmp_path, "val", train=[1], val=[2, 1], labels=numbers)[0].label == 1


def test_whole_numbers_of_real_ones_are_names_too(tmp_path: Path) -> None:
    assert "unknown label 1." in refused(tmp_path, train=[1], labels=["1.0", "2.0"])


def test_true_and_false_are_classes(tmp_path: Path) -> None:
    data = opened(tmp_path, train=[True, False, True])
    assert (data.label_names, [e.label for e in data]) == (["false", "true"], [1, 0, 1])


@pytest.mark.parametrize("mark", [-1, "-1", "-", "", "nan"])
def test_marks_of_missing_labels_are_no_classes(tmp_path: Path, mark: Any) -> None:
    other: Any = 1 if mark == -1 else "a"
    told = refused(tmp_path, train=[other, mark])
    assert f"train.jsonl:2: the label {json.dumps(mark)} is elsewhere the mark of a row" in told
    assert "list all classes under `labels`" in told
    told = refused(tmp_path, "test", train=[other], test=[mark])
    assert f"test.jsonl:1: unknown label {mark!r}." in told
    assert told.endswith("where a row of test has no label, write null")


def test_they_are_where_the_config_says_so(tmp_path: Path) -> None:
    data = opened(tmp_path, train=[-1, 0, 1], labels=["-1", "0", "1"])
    assert [e.label for e in data] == [0, 1, 2]
    assert opened(tmp_path, train=["+", "-"], labels=["+", "-"])[1].label == 1


@pytest.mark.parametrize(
    ("labels", "params", "message"),
    [
        ([[1, 0, 0]], {}, "jsonl:1: the class '0' stands twice"),
        ([[0], [0, 1, 1]], {"labels": ["cat", "dog", "cow"]}, "jsonl:2: the class 'dog' stands tw"),
        ([["a", "b"], ["a", "a"]], {}, "jsonl:2: the class 'a' stands twice"),
        ([["cat", 0]], {"labels": ["cat", "dog"]}, "jsonl:1: the class 'cat' stands twice"),
        ([["1", "0", "0"]], {}, "jsonl:1: the class '0' stands twice"),
        ([[1.0, 0.0]], {}, "jsonl:1: expected a list of classes, got [1.0, 0.0]"),
        ([[True, False]], {"labels": ["cat", "dog"]}, "jsonl:1: unknown label True"),
        ([[0], [1]], {"labels": ["toxic"]}, "jsonl:2: unknown label 1"),
        ([[1, 0], [0, 1]], {}, "jsonl:1: [1, 0]: every label of train is such a pair"),
        ([[0, 1], [0, 1]], {"labels": ["cat", "dog"]}, "every label of train is such a pair"),
        ([[True, False], [False, True]], {}, "every label of train is such a pair"),
    ],
)
def test_multi_hot_lists_are_named(
    tmp_path: Path, labels: Any, params: dict[str, Any], message: str
) -> None:
    told = refused(tmp_path, train=labels, task="multi_label", **params)
    assert message in told
    assert told.endswith(HINT)


def test_lists_of_both_classes_are_read(tmp_path: Path) -> None:
    train: Any = [[0, 1], [1], [0]]
    data = opened(tmp_path, train=[*train, [1, 0]], task="multi_label")
    assert [e.label.tolist() for e in data] == [[1, 1], [0, 1], [1, 0], [1, 1]]
    data = opened(tmp_path, "test", train=train, test=[[0, 1], [0, 1]], task="multi_label")
    assert [e.label.tolist() for e in data] == [[1, 1], [1, 1]]
    assert "test.jsonl:1: [0, 1]: every label of test is such a pair" in refused(
        tmp_path, "test", train=train, test=[[0, 1], [1, 0]], task="multi_label"
    )
    assert opened(tmp_path, train=[[0], [1]], task="multi_label").label_names == ["0", "1"]


def test_one_row_without_a_label_does_not_take_all_scores(tmp_path: Path) -> None:
    data = opened(tmp_path, "test", train=["a", "b"], test=["a"] * 19 + [None])
    with pytest.raises(DataError, match="example '20' has no label, the first of 1 among 20"):
        RawSplit(data, "test", "single_label")
    data = opened(tmp_path, "test", test=[None] * 3)
    assert RawSplit(data, "test", "single_label").labels is None


def test_no_class_is_no_list_of_classes(tmp_path: Path) -> None:
    assert "labels: there is none" in refused(tmp_path, train=["a"], labels=[])
