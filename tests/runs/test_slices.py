"""What a data set reports apart and hands in: slices, a submission, its own metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import toy

from msdkit.data.raw import RawSplit
from msdkit.errors import ConfigError, DataError
from msdkit.registry import DATASETS
from msdkit.runs.evaluate import evaluate
from msdkit.runs.runner import run
from msdkit.studies.study import compare
from msdkit.tables import print_run
from msdkit.types import Example


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
    assert evaluate(tmp_path / "x", "test") == {}
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
