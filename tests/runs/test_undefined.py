"""Metrics that the labels leave undefined, and answers that are no numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from msdkit.errors import ConfigError, TrainingError
from msdkit.evaluation.scores import score
from msdkit.io.structs import plain
from msdkit.registry import DATASETS, METRICS
from msdkit.report import write_report
from msdkit.runs.evaluate import evaluate, predict_file
from msdkit.runs.results import read_results
from msdkit.runs.runner import run
from msdkit.studies.study import compare
from msdkit.tables import print_run
from msdkit.types import Example

AUROC: dict[str, Any] = {"metrics": ["auroc", "accuracy"]}


class OneClass(toy.Toy):
    """All examples of some splits are of class `a`; a slice has three of them."""

    def __init__(self, split: str, *, alone: str = "val") -> None:
        super().__init__(split)
        self.alone = alone.split("+")

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        return Example(example.id, example.raw, 0 if self.split in self.alone else example.label)

    def slices(self) -> dict[str, list[int]]:
        return {"few": [i for i in range(len(self)) if self[i].label == 0][:3]}


class Broken(toy.Toy):
    """An example's numbers make its answer infinite."""

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        if self.split != "train" and index == 7:
            example.raw["image"] = example.raw["image"] * 0 + 3e38
        return example


@pytest.fixture(autouse=True)
def one_class(own_cache: Path) -> None:
    DATASETS.register("toy_one_class")(OneClass)


def parts(alone: str, **evaluate: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "toy_one_class", "alone": alone},
        "evaluate": {**AUROC, **evaluate},
    }


def test_a_metric_that_cannot_choose_is_found_before_training(tmp_path: Path) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, parts("val"))
    with pytest.raises(
        ConfigError, match="'auroc' chooses the best checkpoint and is undefined"
    ) as e:
        run(config)
    assert "on val: each class is that of all or of none of its 40 examples" in str(e.value)
    assert not (tmp_path / "x").exists()
    run(toy.configured(tmp_path / "y.yaml", toy.PLAIN, parts("val", metric="accuracy")))
    found = read_results(tmp_path / "y").splits["val"].student["multimodal"]
    assert math.isnan(found["auroc"])
    assert 0 <= found["accuracy"] <= 1


def test_a_few_examples_may_leave_it_undefined(tmp_path: Path) -> None:
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, parts("val+test")), tiny=True)
    assert (tmp_path / "x" / "results.json").is_file()


def test_undefined_is_null_in_files_and_a_word_in_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, parts("test")))
    assert math.isnan(results["splits"]["test"]["student"]["multimodal"]["auroc"])
    text = (tmp_path / "x" / "results.json").read_text()
    assert "NaN" not in text
    held = json.loads(text)["splits"]
    assert held["test"]["student"]["text"]["auroc"] is None
    assert held["val"]["slices"]["few"]["student"]["multimodal"]["auroc"] is None
    assert 0 <= held["val"]["student"]["text"]["auroc"] <= 1
    for shown in (results, plain(read_results(tmp_path / "x"))):
        print_run(shown)
        assert "undefined" in capsys.readouterr().out
    scores = evaluate(tmp_path / "x", "test")
    assert math.isnan(scores["multimodal"]["auroc"])
    for name in ("evaluation-test.json", "slices-test.json"):
        assert "null" in (tmp_path / "x" / name).read_text()
    write_report([tmp_path / "x"], tmp_path / "page.html")
    assert ">undefined<" in (tmp_path / "page.html").read_text()


def test_a_study_of_what_is_undefined_establishes_nothing(tmp_path: Path) -> None:
    plain = toy.write(tmp_path / "one.yaml", {**toy.PLAIN, **parts("test")})
    other = toy.write(tmp_path / "two.yaml", {**toy.PLAIN, **parts("test"), "seed": 5})
    (study,) = compare([str(plain), str(other)], out=tmp_path / "study").values()
    row = next(r for r in study["differences"] if r["metric"] == "auroc")
    assert math.isnan(row["mean"])
    assert math.isnan(row["low"])
    assert row["p"] == 1
    assert not row["established"]
    assert "NaN" not in (tmp_path / "study" / "compare.json").read_text()
    assert "undefined | [undefined, undefined]" in (tmp_path / "study" / "compare.md").read_text()


def test_an_answer_that_is_no_number_is_named(tmp_path: Path) -> None:
    DATASETS.register("toy_broken")(Broken)
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, dataset={"name": "toy_broken"})
    with pytest.raises(TrainingError, match="'val-7' of val is nan"):
        run(config)


def test_a_prediction_that_is_no_number_is_named(tmp_path: Path, toy_teacher: Path) -> None:
    lines = [{"id": str(i), "text": "word", "image": [[x] * 8]} for i, x in enumerate([1.0, 3e38])]
    file = tmp_path / "new.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(TrainingError, match=r"'1' of .*new.jsonl is nan"):
        predict_file(toy_teacher, file)


def test_a_plugin_reads_probabilities_or_logits() -> None:
    seen: dict[str, torch.Tensor] = {}

    class Plain:
        def __init__(self, *, kind: str = "plain") -> None:
            self.kind = kind

        def update(self, answers: torch.Tensor, labels: torch.Tensor) -> None:
            seen[self.kind] = answers

        def compute(self) -> float:
            return 0.0

    METRICS.register("test_plain")(Plain)
    METRICS.register("test_logits")(type("ReadsLogits", (Plain,), {"reads": "logits"}))
    logits = torch.tensor([[20.0, 22.0], [-90.0, 90.0]])
    nodes = ["test_plain", {"name": "test_logits", "kind": "logits"}]
    score({"multimodal": logits}, torch.tensor([0, 1]), nodes, "single_label")
    assert torch.equal(seen["logits"], logits)
    assert seen["plain"].sum(-1).tolist() == pytest.approx([1, 1])
    assert 0 <= float(seen["plain"].min()) <= float(seen["plain"].max()) <= 1
