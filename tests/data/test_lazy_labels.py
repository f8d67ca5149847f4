"""Labels that a data set gives by rows are asked for late, and are those of its examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy

from msdkit.data.inputs import ModelInputs
from msdkit.data.labels import LazyLabels, labels_at
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.errors import DataError
from msdkit.evaluation.scores import score
from msdkit.processors.array import Array
from msdkit.registry import DATASETS
from msdkit.runs.runner import run
from msdkit.types import Example, Modality, Task

KINDS: list[Task] = ["soft_target", "multi_label", "regression"]


class Dense(toy.Toy):
    """The toy data set with three numbers as each label."""

    def __init__(self, split: str, *, task: Task = "soft_target", n: int = 16) -> None:
        super().__init__(split, n=n)
        self.task = task

    @classmethod
    def declare(cls, *, task: Task = "soft_target", n: int = 16) -> dict[str, Any]:
        return {"modalities": cls.modalities, "task": task}

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        scores = np.random.default_rng(index).random(3).astype("float32")
        example.label = (scores > 0.5).astype("float32") if self.task == "multi_label" else scores
        return example


class Lazy(Dense):
    """Labels by rows; notes what it was asked for."""

    def __init__(self, split: str, **params: Any) -> None:
        super().__init__(split, **params)
        self.asked: list[list[int]] = []

    def labels(self, rows: list[int]) -> np.ndarray:
        self.asked.append(rows)
        return np.stack([Dense.__getitem__(self, i).label for i in rows])


class Known(Lazy):
    """And an own fingerprint, and examples without labels."""

    content = "one"

    def unlabelled(self, index: int) -> Example:
        example = Dense.__getitem__(self, index)
        return Example(example.id, example.raw)

    def __getitem__(self, index: int) -> Example:
        assert index == 0, "only one label is asked for"
        return super().__getitem__(index)

    def fingerprint(self) -> str:
        return self.content


def opened(cls: type, task: Task, **params: Any) -> RawSplit:
    return RawSplit(cls("train", task=task, **params), "train", task)


@pytest.mark.parametrize("cls", [Lazy, Known])
@pytest.mark.parametrize("task", KINDS)
def test_lazy_labels_are_those_of_the_examples(cls: type, task: Task) -> None:
    dense, lazy = opened(Dense, task).labels, opened(cls, task).labels
    assert isinstance(dense, torch.Tensor)
    assert isinstance(lazy, LazyLabels)
    assert len(lazy) == 16
    some = torch.tensor([5, 2, 5])
    for index in (3, slice(4, 9), slice(None), some, torch.arange(16) % 3 == 0):
        assert torch.equal(lazy[index], dense[index])
    assert torch.equal(lazy.at(some)[1:], dense[some][1:])
    assert torch.equal(labels_at(lazy.at(some), torch.tensor([2]))[:], dense[[5]])


def test_a_batch_asks_for_its_own_labels_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msdkit.data.raw.CHUNK", 4)
    raw = opened(Known, "soft_target")
    before = list(raw.dataset.asked)
    assert before == [[0, 1, 2, 3]]  # to see their form
    inputs = ModelInputs(raw, {"image": Array(Modality("features", 8))}, tmp_path)
    split = Split(inputs, rows=torch.arange(4, 12))
    batch = split.__getitems__([1, 7])
    assert raw.dataset.asked == [*before, [5, 11]]
    assert torch.equal(batch.labels, opened(Dense, "soft_target").labels[[5, 11]])  # type: ignore


def test_scores_of_lazy_labels_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, lazy = opened(Dense, "soft_target"), opened(Known, "soft_target")
    logits = {"multimodal": torch.randn(16, 3), "text": torch.randn(16, 3)}
    wanted = score(logits, raw.labels, ["vqa_accuracy"], "soft_target")  # type: ignore[arg-type]
    monkeypatch.setattr("msdkit.evaluation.stream.CHUNK", 5)
    lazy.dataset.asked.clear()
    found = score(logits, lazy.labels, ["vqa_accuracy"], "soft_target")  # type: ignore[arg-type]
    assert max(map(len, lazy.dataset.asked)) <= 5
    for view in wanted:
        assert found[view] == pytest.approx(wanted[view], rel=1e-6)


@pytest.mark.parametrize("weighting", [{"by": "removal", "score": "loss"}, {}])
def test_training_is_the_same(tmp_path: Path, own_cache: Path, weighting: dict[str, Any]) -> None:
    """From the first batch to the fit of a weighting, to the bit."""
    DATASETS.register("toy_dense")(Dense)
    DATASETS.register("toy_lazy")(Lazy)
    control = {"name": "control", "kind": "shuffle", "of": {"name": "saliency", **weighting}}
    found = {}
    for name in ("toy_dense", "toy_lazy"):
        base = {**toy.PLAIN, "dataset": {"name": name, "task": "soft_target"}}
        run(toy.configured(tmp_path / f"{name}_teacher.yaml", base))
        teacher = {"run": str(tmp_path / f"{name}_teacher")}
        parts = {"teacher": teacher, "distill": [{"name": "kd"}], "weighting": control}
        run(toy.configured(tmp_path / f"{name}.yaml", base, parts))
        found[name] = toy.weights(tmp_path / name)
    assert toy.equal(found["toy_dense"], found["toy_lazy"])


def test_fingerprints_follow_the_content() -> None:
    class Other(Known):
        content = "two"

    class Changed(Lazy):
        def labels(self, rows: list[int]) -> np.ndarray:
            return super().labels(rows) * np.float32(0.5)

    made = [opened(cls, "soft_target") for cls in (Lazy, Changed, Known, Other)]
    made += [opened(Lazy, "soft_target", n=15), opened(Known, "soft_target", n=15)]
    assert len({raw.fingerprint for raw in made}) == len(made)
    assert opened(Lazy, "soft_target").fingerprint == made[0].fingerprint


class Wrong(Lazy):
    """Gives labels of another form."""

    given: Any = None

    def labels(self, rows: list[int]) -> np.ndarray:
        return self.given(super().labels(rows))


@pytest.mark.parametrize(
    ("given", "task", "message"),
    [
        (lambda y: y[:, :2], "soft_target", r"expected shape \(16, 3\) \[rows, classes\], got"),
        (lambda y: y[:1], "soft_target", r"got \(1, 3\)"),
        (lambda y: y - 2, "soft_target", r"Wrong\.labels: expected scores from 0 to 1, got -"),
        (lambda y: y / 2, "multi_label", "expected 0 or 1 for each class, got 0.5"),
        (lambda y: y * np.nan, "soft_target", "expected scores from 0 to 1, got nan"),
        (lambda y: y * np.inf, "regression", "expected finite numbers"),
    ],
)
def test_wrong_labels_are_refused(given: Any, task: Task, message: str) -> None:
    cls = type("Wrong", (Wrong,), {"given": staticmethod(given)})
    with pytest.raises(DataError, match=message):
        opened(cls, task)


def test_a_split_without_labels_has_none() -> None:
    class Bare(Known):
        def __getitem__(self, index: int) -> Example:
            return self.unlabelled(index)

    assert RawSplit(Bare("test", task="soft_target"), "test", "soft_target").labels is None
    with pytest.raises(DataError, match="split 'val': example 'val-0' has no label"):
        RawSplit(Bare("val", task="soft_target"), "val", "soft_target")
