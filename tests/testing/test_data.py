"""Data sets and processors that are broken on purpose: the check says which promise broke."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from msdkit.processors.base import Processor
from msdkit.testing.data import check_dataset, check_processor
from msdkit.types import Example, Modality


class Data:
    """One valid split of two examples; a test breaks one thing."""

    modalities: Any = {"text": "text", "sound": Modality("features", 2)}  # noqa: RUF012
    task: Any = "single_label"
    label_names: Any = ["no", "yes"]  # noqa: RUF012
    examples: Any = [  # noqa: RUF012
        Example(str(i), {"text": "a", "sound": np.zeros((3, 2), np.float32)}, i) for i in range(2)
    ]

    def __init__(self, split: str) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> Any:
        return self.examples[i]


def changed(**changes: Any) -> list[Any]:
    good = Data.examples[0]
    return [Example(**{"id": good.id, "raw": good.raw, "label": good.label, **changes})]


BROKEN_DATA = [
    ({"task": "guessing"}, "has task 'guessing'; accepted: multi_label"),
    ({"label_names": []}, "must have `label_names`"),
    ({"label_names": ["no", "no"]}, "distinct strings"),
    ({"examples": []}, "has no example in train"),
    ({"examples": changed(id=7)}, "has id 7, no string"),
    ({"examples": Data.examples * 2}, "has the id '0' twice"),
    ({"examples": changed(raw={"text": "a"})}, "no raw value of 'sound'"),
    ({"examples": changed(raw={"text": 3, "sound": None})}, "'text' that is not a text: 3"),
    ({"examples": changed(raw={"text": "", "sound": np.zeros((3, 5))})}, "'sound' that is not"),
    ({"examples": changed(label="perhaps")}, "cannot be encoded: unknown label 'perhaps'"),
    ({"examples": changed(label=None)}, "has no label"),
    ({"examples": [{"id": "x"}]}, "must give Examples"),
    ({"label_names": [False, True]}, "must have distinct strings"),
    ({"__init__": lambda self, split: {"train": None}[split]}, "cannot open split 'val'"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN_DATA)
def test_broken_datasets(changes, message):
    check_dataset(Data)
    with pytest.raises(AssertionError, match=message):
        check_dataset(type("Broken", (Data,), changes))


def test_a_dataset_must_declare_before_it_is_opened():
    class Undeclared(Data):
        task = None

        def __init__(self, split: str) -> None:
            self.task = "single_label"

    with pytest.raises(AssertionError, match="must declare"):
        check_dataset(Undeclared)
    check_dataset(Undeclared("train"))

    class Shifting(Data):
        def __init__(self, split: str) -> None:
            self.label_names = ["no", "yes"] if split == "train" else ["yes", "no"]

    with pytest.raises(AssertionError, match="gives split 'val' other label_names"):
        check_dataset(Shifting)


class Letters(Processor):
    """Letters as tokens; right as it stands."""

    @property
    def modality(self) -> Modality:
        return Modality("tokens", 128)

    def __call__(self, raw: Any) -> np.ndarray:
        return np.array([ord(c) for c in raw], np.int64)


def test_broken_processors():
    check_processor(Letters(), ["a", "bc"])
    small = property(lambda self: Modality("tokens", 98))
    numbers = iter(range(99))
    for changes, message in (
        ({"modality": small}, "must give Modality"),
        ({"batch": lambda self, raws: [self(r)[:1] for r in raws]}, "another result in `batch`"),
        ({"batch": lambda self, raws: [self(raws[0])]}, "one result per value"),
        ({"key": lambda self, raw: str(next(numbers))}, "gives two keys"),
        ({"key": lambda self, raw: raw.encode()}, "must give a string as key"),
        ({"state": lambda self: {"n": next(numbers)}}, "is another after"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_processor(type("Broken", (Letters,), changes)(), ["a", "bc"])


class Rows(Letters):
    """A row for each letter: its number."""

    modality = Modality("features", 1)

    def __call__(self, raw: str) -> Any:
        return np.array([[float(ord(c))] for c in raw], np.float32)


@pytest.mark.parametrize("base", [Letters, Rows])
def test_results_are_arrays_of_the_type_that_models_read(base: Any) -> None:
    check_processor(base(), ["a", "bc"])
    right = base.__call__
    kind = "int64" if base is Letters else "float32"
    for change, found in (
        (lambda x: x.astype(np.float64), r"float64 \["),
        (lambda x: x.astype(np.float16), r"float16 \["),
        (lambda x: x.astype(np.int32), r"int32 \["),
        (lambda x: x.tolist(), "a list"),
        (torch.from_numpy, "a Tensor"),
    ):
        for changes, where in (
            ({"__call__": lambda self, raw, c=change: c(right(self, raw))}, "for"),
            ({"batch": lambda self, raws, c=change: [c(self(r)) for r in raws]}, "in `batch`"),
            ({"augment": lambda self, raw, c=change: c(self(raw))}, "in `augment`"),
        ):
            message = rf"must give Modality.* as a numpy array of {kind}, gave {found}.*{where}"
            with pytest.raises(AssertionError, match=message):
                check_processor(type("Broken", (base,), changes)(), ["a", "bc"])
