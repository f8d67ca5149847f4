"""Classes that are never an answer, and how labels were scored: what a data set says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import toy

from msdkit.data.raw import RawSplit
from msdkit.errors import DataError
from msdkit.functional import probabilities, without_classes
from msdkit.io.seals import seal
from msdkit.registry import DATASETS
from msdkit.report import write_report
from msdkit.runs.evaluate import evaluate, predict_file
from msdkit.runs.runner import run
from msdkit.runs.saved_model import load
from msdkit.studies.study import compare
from msdkit.tables import print_run, print_study
from msdkit.testing.data import check_dataset


class Reserved(toy.Toy):
    """A toy whose class c is never answered, though examples have it."""

    unanswered: ClassVar[list[str]] = ["c"]
    scoring = "as the toy's makers do"


NODE = {"dataset": {"name": "toy_reserved"}}
C = 2


@pytest.fixture
def reserved(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> Path:
    """A run whose student and teacher answer c where they may."""
    DATASETS.register("toy_reserved")(Reserved)
    teacher = {"teacher": {"run": str(toy_teacher)}}
    run(toy.configured(tmp_path / "x.yaml", toy.DISTILLED, NODE, teacher))
    return tmp_path / "x"


@pytest.mark.parametrize("task", ["single_label", "multi_label", "soft_target"])
def test_a_class_left_out_has_probability_0_and_the_others_keep_their_order(task: str) -> None:
    logits = torch.tensor([[5.0, 1.0, 2.0], [-1e30, -2e30, -3e30]])
    found = without_classes(logits, [0])
    assert torch.equal(found[:, 1:], logits[:, 1:])
    assert found.argmax(-1).tolist() == [2, 1]
    assert probabilities(task, found)[:, 0].tolist() == [0, 0]
    assert logits[0, 0] == 5
    assert without_classes(logits, []) is logits


def shares(rows: list[dict[str, Any]]) -> set[float]:
    """All probabilities of c."""
    return {answers[C] for row in rows for answers in row["probabilities"].values()}


def test_neither_student_nor_teacher_answers_it(reserved: Path) -> None:
    rows = toy.rows(reserved / "predictions.jsonl")
    assert {row["label"] for row in rows} == {"a", "b", "c"}
    assert {row["prediction"] for row in rows} <= {"a", "b"}
    assert shares(rows) == {0}
    results = json.loads((reserved / "results.json").read_text())
    ceiling = sum(row["label"] != "c" for row in rows) / len(rows)
    for model in ("student", "teacher"):
        for scores in results["splits"]["test"][model].values():
            assert scores["accuracy"] <= ceiling
    live = toy.experiment(reserved.with_suffix(".yaml"), results["config"])
    theirs = live.teacher_logits("test", live.views)
    assert all((x.argmax(-1) != C).all() and x.isfinite().all() for x in theirs.values())
    raw = live.teachers.answers("test", live.views)["logits"]["multimodal"][:]  # type: ignore[union-attr]
    assert (raw.argmax(-1) == C).any()  # it would, and teaches so


def test_new_examples_and_older_folders(reserved: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    raws = [Reserved("test")[i].raw for i in range(20)]
    lines = [json.dumps({"id": str(i), "text": x["text"]}) + "\n" for i, x in enumerate(raws)]
    path.write_text("".join(lines), encoding="utf-8")
    found = [json.loads(line) for line in predict_file(reserved, path, ["text"])]
    assert shares(found) == {0}
    assert {answer["c"] for answer in load(reserved).predict(raws)} == {0}
    about = reserved / "best" / "model.json"
    told = json.loads(about.read_text())
    assert told.pop("unanswered") == ["c"]
    about.write_text(json.dumps(told), encoding="utf-8")
    seal(about.parent, about.name)
    assert load(reserved).unanswered == []
    evaluate(reserved, "val")  # by the data set
    assert shares(toy.rows(reserved / "predictions-val.jsonl")) == {0}


def test_scoring_is_told_with_results(
    reserved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((reserved / "results.json").read_text())
    assert results["scoring"] == "as the toy's makers do"
    print_run(results)
    assert "labels: as the toy's makers do" in capsys.readouterr().out
    page = write_report([reserved], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "as the toy&#39;s makers do" in page
    base = str(toy.write(tmp_path / "base.yaml", {**toy.PLAIN, **NODE}))
    plain = str(toy.write(tmp_path / "plain.yaml", {}))
    (study,) = compare([plain], [base], seeds=1, out=tmp_path / "out", tiny=True).values()
    print_study(study)
    assert "labels: as the toy's makers do" in capsys.readouterr().out
    told = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "\nLabels: as the toy's makers do.\n" in told


def test_classes_that_there_are_not() -> None:
    bad = type("Bad", (Reserved,), {"unanswered": ["<unk>"]})
    with pytest.raises(DataError, match=r"Bad\.unanswered: '<unk>' is no class. Known: a, b, c"):
        _ = RawSplit(bad("val"), "val", "single_label").unanswered
    with pytest.raises(AssertionError, match=r"`unanswered` that are none of label_names: \['<u"):
        check_dataset(bad)
    check_dataset(Reserved)
