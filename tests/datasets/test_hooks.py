"""Optional methods of data sets: lazy labels, own fingerprints, slices, submissions, metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import toy

from msdkit.data.inputs import ModelInputs
from msdkit.data.labels import LazyLabels, labels_at
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.errors import ConfigError, DataError
from msdkit.evaluation.scores import score
from msdkit.processors.array import Array
from msdkit.registry import DATASETS
from msdkit.runs.evaluate import evaluate_run
from msdkit.runs.runner import run
from msdkit.studies.study import compare
from msdkit.tables import print_run
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
    monkeypatch.setattr("msdkit.evaluation.scores.CHUNK", 5)
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


# What is reported apart, and what a challenge wants ---------------------------------------------


class Reported(toy.Toy):
    """Two slices, a submission and its own metrics."""

    metrics: ClassVar[list[str]] = ["macro_f1", "accuracy"]
    named: ClassVar[dict[str, Any]] = {"odd": range(1, 40, 2), "last": [39, 0], "none": []}

    def slices(self) -> dict[str, list[int]]:
        return {name: list(rows) for name, rows in self.named.items()}

    def submission(self, rows: Any) -> dict[str, str]:
        assert len(rows) == len(self)
        lines = [f"{row['id']},{row['probabilities']['multimodal'][0]}" for row in rows]
        return {f"{self.split}.csv": "\n".join(["id,a", *lines]) + "\n"}


class Unlabelled(Reported):
    """No labels in the test split."""

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        return Example(example.id, example.raw, None if self.split == "test" else example.label)


@pytest.fixture
def reported(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> Path:
    DATASETS.register("toy_reported")(Reported)
    parts = {"dataset": {"name": "toy_reported"}, "teacher": {"run": str(toy_teacher)}}
    run(toy.configured(tmp_path / "x.yaml", toy.DISTILLED, parts))
    return tmp_path / "x"


def test_scores_of_slices(reported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((reported / "results.json").read_text())
    assert results["metrics"] == ["macro_f1", "accuracy"]
    assert results["metric"] == "macro_f1"
    lines = toy.rows(reported / "predictions.jsonl")
    slices = results["splits"]["test"]["slices"]
    assert {name: found["count"] for name, found in slices.items()} == {"odd": 20, "last": 2}
    for name, rows in (("odd", range(1, 40, 2)), ("last", [39, 0])):
        right = [lines[i]["prediction"] == lines[i]["label"] for i in rows]
        scores = slices[name]["student"]
        assert scores["multimodal"]["accuracy"] == pytest.approx(np.mean(right))
        assert list(slices[name]["teacher"]) == list(scores) == ["multimodal", "text", "image"]
    print_run(results)
    shown = capsys.readouterr().out
    assert "slices of test" in shown
    assert "teacher accuracy" in shown
    (row,) = [line for line in shown.partition("slices of test")[2].splitlines() if "odd" in line]
    assert f"{slices['odd']['student']['multimodal']['accuracy']:.3f}" in row


def test_submissions_and_slices_of_another_evaluation(
    reported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = toy.rows(reported / "predictions.jsonl")[0]
    share = first["probabilities"]["multimodal"][0]
    assert (reported / "test.csv").read_text().splitlines()[:2] == ["id,a", f"test-0,{share}"]
    assert not (reported / "val.csv").exists()
    assert toy.main("evaluate", reported, "--split", "val") == 0
    assert "on slices of val" in capsys.readouterr().out
    assert len((reported / "val.csv").read_text().splitlines()) == 41
    results = json.loads((reported / "results.json").read_text())
    found = json.loads((reported / "slices-val.json").read_text())
    assert found["odd"]["student"] == results["splits"]["val"]["slices"]["odd"]["student"]


def test_an_unlabelled_split_is_predicted_and_submitted(tmp_path: Path, own_cache: Path) -> None:
    DATASETS.register("toy_unlabelled")(Unlabelled)
    made = {"dataset": {"name": "toy_unlabelled"}}
    results = run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, made))
    assert results["splits"]["test"] == {"student": {}}
    assert "slices" in results["splits"]["val"]
    written = (tmp_path / "x" / "test.csv").read_text()
    (tmp_path / "x" / "test.csv").unlink()
    assert evaluate_run(tmp_path / "x", "test") == {}
    assert (tmp_path / "x" / "test.csv").read_text() == written
    assert not (tmp_path / "x" / "slices-test.json").exists()


def test_a_trial_has_the_slices_of_its_examples_and_submits_nothing(
    tmp_path: Path, own_cache: Path
) -> None:
    DATASETS.register("toy_reported")(Reported)
    many = {"dataset": {"name": "toy_reported", "n": 100}}
    results = run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, many), tiny=True)
    assert results["splits"]["test"]["slices"]["odd"]["count"] == 20
    assert not list((tmp_path / "x").glob("*.csv"))
    raw = RawSplit(Reported("test", n=100), "test", "single_label", limit=30)
    assert {name: rows.tolist() for name, rows in raw.slices.items()} == {
        "odd": list(range(1, 30, 2)),
        "last": [0],
    }


@pytest.mark.parametrize("rows", [[0, 40], [-1], [0.5], [True]])
def test_rows_that_no_split_has(rows: Any) -> None:
    cls = type("Bad", (Reported,), {"named": {"bad": rows}})
    with pytest.raises(DataError, match="split 'val': slice 'bad' must hold rows from 0 to 39"):
        _ = RawSplit(cls("val"), "val", "single_label").slices


@pytest.mark.parametrize("name", ["results.json", "../x.csv", "a/b.csv", "best", "..", ""])
def test_names_that_no_submission_may_have(tmp_path: Path, own_cache: Path, name: str) -> None:
    bad = type("Bad", (Reported,), {"submission": lambda self, rows: {name: "text"}})
    DATASETS.register("toy_bad")(bad)
    with pytest.raises(DataError, match=r"Bad\.submission: got the file name "):
        run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, {"dataset": {"name": "toy_bad"}}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "x", "x.yaml"]


def test_a_comparison_shows_slices(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    DATASETS.register("toy_reported")(Reported)
    base = {**toy.PLAIN, "dataset": {"name": "toy_reported"}, "teacher": {"run": str(toy_teacher)}}
    path = str(toy.write(tmp_path / "base.yaml", {**base, "distill": [{"name": "kl"}]}))
    kd = str(toy.write(tmp_path / "kd.yaml", {}))
    (found,) = compare([kd], [path], seeds=2, out=tmp_path / "out", tiny=True).values()
    odd = found["methods"]["kd"]["slices"]["odd"]
    assert odd["count"] == 20
    assert len(odd["scores"]["macro_f1"]) == 2
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "### macro_f1 on slices of the test split" in text
    assert "| method | odd (20) | last (2) |" in text
    assert text.index("slices of the test") < text.index("| teacher | ", text.index("odd (20)"))


def test_metrics_that_a_data_set_cannot_have(tmp_path: Path) -> None:
    for name, message in (("acuracy", "Did you mean 'accuracy'"), ("rmse", "'rmse' is for regr")):
        DATASETS.register(f"toy_{name}")(type("Bad", (Reported,), {"metrics": [name]}))
        with pytest.raises(ConfigError, match=message):
            toy.configured(tmp_path / "x.yaml", toy.PLAIN, {"dataset": {"name": f"toy_{name}"}})


def test_features_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["import"], ["extract"], []):
        assert toy.main("features", *command, "--help") == 0
        assert "Usage: " in capsys.readouterr().out
