"""What a data set may have beside its examples, broken on purpose."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest

from msdkit.testing.data import check_dataset
from msdkit.types import Example

LABELS = np.array([[1, 0, 0], [0, 0.5, 1], [0, 0, 0]], np.float32)


class Scores:
    """Three examples with all that a data set may have; a test breaks one thing."""

    modalities: Any = {"text": "text"}  # noqa: RUF012
    task: Any = "soft_target"
    label_names: Any = ["a", "b", "c"]  # noqa: RUF012
    unlabelled_splits: Any = ()

    def __init__(self, split: str) -> None:
        self.split = split

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> Example:
        example = Scores.unlabelled(self, i)
        if self.split not in self.unlabelled_splits:
            example.label = LABELS[i]
        return example

    def unlabelled(self, i: int) -> Example:
        return Example(str(range(3)[i]), {"text": f"text {i}"})

    def labels(self, rows: Any) -> Any:
        return LABELS[rows]

    def fingerprint(self) -> str:
        return "mine"

    def slices(self) -> Any:
        return {"first": [0, 1], "none": []}

    def submission(self, rows: Any) -> Any:
        return {"answers.csv": "\n".join(f"{r['id']},{r['prediction']}" for r in rows)}


TICKS = count()
BROKEN = [
    ("slices", lambda self: {"a": [[0], [1]]}, "slice 'a' must hold rows from 0 to 2 in a flat li"),
    ("slices", lambda self: {"a": np.ones(3, bool)}, "slice 'a' must hold rows"),
    ("slices", lambda self: {"a": [3]}, "got 3"),
    ("slices", lambda self: {"a": [0, 0]}, "none twice"),
    ("slices", lambda self: [[0]], "expected {name: .rows.}"),
    ("labels", lambda self, rows: LABELS[rows, :2], r"expected shape \(3, 3\) .*got \(3, 2\)"),
    ("labels", lambda self, rows: LABELS[rows].T[0], r"got \(3,\)"),
    ("labels", lambda self, rows: LABELS[sorted(rows)], "another label than example 2"),
    ("labels", lambda self, rows: 2 * LABELS[rows], "expected scores from 0 to 1, got 2"),
    ("labels", lambda self, rows: [["x"] * 3] * len(rows), "could not convert"),
    ("unlabelled", lambda self, i: self[i], "gives a label by `unlabelled`"),
    ("unlabelled", lambda self, i: Example("0", {"text": "x"}), "`unlabelled` another example"),
    ("unlabelled", lambda self, i: {"id": "0"}, "gives by `unlabelled`"),
    ("fingerprint", lambda self: object(), "has the fingerprint <object"),
    (
        "fingerprint",
        lambda self: next(TICKS),
        "another `fingerprint\\(\\)` each time",
    ),
    ("fingerprint", lambda self: id(self), "when it is opened again"),
    ("submission", lambda self, rows: "id,label", "gives the submission 'id,label'"),
    ("submission", lambda self, rows: {"a/b.csv": ""}, "submits a file 'a/b.csv'"),
    ("submission", lambda self, rows: {"a.csv": b""}, "submits b'' as 'a.csv', no text"),
    ("unlabelled_splits", ("val",), "has no label .val, example 0"),
]


@pytest.mark.parametrize(("name", "value", "message"), BROKEN)
def test_broken_promises(name: str, value: Any, message: str) -> None:
    check_dataset(Scores)
    with pytest.raises(AssertionError, match=message):
        check_dataset(type("Broken", (Scores,), {name: value}))


def test_a_test_split_has_all_its_labels_or_none() -> None:
    check_dataset(type("Bare", (Scores,), {"unlabelled_splits": ("test",), "slices": None}))

    class Some(Scores):
        def __getitem__(self, i: int) -> Example:
            example = super().__getitem__(i)
            example.label = None if (self.split, i) == ("test", 2) else example.label
            return example

    with pytest.raises(AssertionError, match="labels for some examples, not for all"):
        check_dataset(Some)


def test_an_opened_split_is_held_to_it_too() -> None:
    check_dataset(Scores("train"))
    broken = type("Broken", (Scores,), {"slices": lambda self: {"a": 1}})
    with pytest.raises(AssertionError, match="slice 'a'"):
        check_dataset(broken("train"))


def test_submissions_get_predictions_of_the_task() -> None:
    class Numbers(Scores):
        task = "regression"

        def submission(self, rows: Any) -> Any:
            return {"numbers.csv": "\n".join(str(row["values"]["multimodal"]) for row in rows)}

    check_dataset(Numbers)
