"""Labels of every kind of task, encoded or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from listed_data import NAMES

from msdkit.data.labels import encode_label
from msdkit.errors import DataError


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
        (-1, "single_label", "unknown label -1; .*an example without a label has None"),
        (float("nan"), "single_label", "unknown label nan"),
        (float("inf"), "single_label", "unknown label inf"),
        (["a", "c", "a"], "multi_label", "the class 'a' stands twice in the label"),
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


def test_one_target_takes_a_bare_number() -> None:
    found = encode_label(2.5, "regression", ["score"])
    assert (found.tolist(), found.dtype) == ([2.5], np.float32)
    for label in (True, "2.5", [1.0, 2.0], []):
        with pytest.raises(DataError, match="expected a number, got"):
            encode_label(label, "regression", ["score"])
