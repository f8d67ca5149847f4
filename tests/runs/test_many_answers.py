"""Runs on a data set of more answers than lines hold: a table, its submission, study and report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest
import toy
from plugins import plugins_forgotten

from msdkit.config.schema import EvaluateConfig
from msdkit.errors import ConfigError, TrainingError
from msdkit.evaluation import stream
from msdkit.registry import DATASETS
from msdkit.report import page
from msdkit.report.read import read
from msdkit.runs.evaluate import evaluate
from msdkit.runs.predictions import as_table, read_predictions
from msdkit.runs.runner import results_of
from msdkit.studies.summary import summarise
from msdkit.types import Example

COUNT = 130


class Many(toy.Toy):
    """Soft targets of 130 answers, the first of which is none."""

    task = "soft_target"
    label_names: ClassVar[list[str]] = ["<unk>", *(f"answer {i}" for i in range(1, COUNT))]
    metrics: ClassVar[list[str]] = ["vqa_accuracy"]
    unanswered: ClassVar[list[str]] = ["<unk>"]

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        own = 1 + example.label * 40
        scores = {f"answer {own}": 1.0, f"answer {own + index % 7 + 1}": 0.3}
        return Example(example.id, example.raw, scores)

    def slices(self) -> dict[str, list[int]]:
        return {"odd": list(range(1, len(self), 2)), "two": [len(self) - 1, 0]}

    def submission(self, rows: Any) -> dict[str, str]:
        best = [max(row["probabilities"]["multimodal"]) for row in rows[:2]]
        told = [[row["id"], row["prediction"]] for row in rows]
        return {f"{self.split}.json": json.dumps([told, [round(p, 5) for p in best]])}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A teacher, and students that are equal but for the form of their predictions."""
    folder = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch, plugins_forgotten():
        patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
        DATASETS.register("toy_many")(Many)
        plain = {**toy.PLAIN, "dataset": {"name": "toy_many"}, "train": {**toy.TRAIN, "epochs": 1}}
        results_of(toy.configured(folder / "teacher.yaml", plain))
        taught = {**plain, "teacher": {"run": str(folder / "teacher")}, "distill": [{"name": "kl"}]}
        taught["distill"] = [{"name": "sigmoid_kl"}]
        for name, written in (
            ("lines", {"predictions": "jsonl"}),
            ("table", {"top_k": 5}),
            ("whole", {"predictions": "parquet", "top_k": 1000}),
        ):
            results_of(toy.configured(folder / f"{name}.yaml", taught, evaluate=written))
        patch.setattr(stream, "CHUNK", 7)  # of 40 examples: six parts, the last of five
        results_of(toy.configured(folder / "parts.yaml", taught, evaluate={"top_k": 5}))
        yield folder


def results(run: Path) -> Any:
    return json.loads((run / "results.json").read_text())["splits"]


def test_scores_are_of_all_classes_and_parts(made: Path) -> None:
    """Metrics, agreement with the teacher and slices do not depend on what is kept."""
    wanted = results(made / "lines")
    assert set(wanted["test"]) == {"student", "teacher", "agreement", "slices"}
    assert wanted["test"]["slices"]["two"]["count"] == 2
    for name in ("table", "whole", "parts"):
        assert results(made / name) == wanted


def test_many_answers_make_a_table(made: Path) -> None:
    for name, form in (("teacher", "parquet"), ("lines", "jsonl"), ("table", "parquet")):
        assert [p.suffix for p in (made / name).glob("predictions*")] == [f".{form}"]
    file = pq.ParquetFile(made / "parts" / "predictions.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(6)] == [7, 7, 7, 7, 7, 5]
    same = ["id", "prediction", "label", "label/scores", "text/classes", "multimodal/classes"]
    parts = pq.read_table(made / "parts" / "predictions.parquet", columns=same)
    assert parts.equals(pq.read_table(made / "table" / "predictions.parquet", columns=same))


def test_a_table_tells_what_lines_tell(made: Path) -> None:
    lines = read_predictions(made / "lines", "soft_target", Many.label_names)
    for name in ("table", "whole", "parts"):
        found = read_predictions(made / name, "soft_target", Many.label_names)
        assert found.of_same_examples(lines)
        for view, shares in lines.shares.items():
            best = shares[:].topk(5)
            again = found.shares[view][:].gather(1, best.indices)
            assert again.numpy() == pytest.approx(best.values.numpy(), abs=1e-6)
            assert name != "whole" or found.shares[view][:][:, 0].max() < 1e-300  # never an answer
    told = toy.rows(made / "lines" / "predictions.jsonl")
    rows = pq.read_table(made / "table" / "predictions.parquet").to_pylist()
    assert [r["prediction"] for r in rows] == [r["prediction"] for r in told]
    labels = [dict(zip(r["label"], r["label/scores"], strict=True)) for r in rows]
    assert labels == [pytest.approx(r["label"]) for r in told]


def test_the_submission_is_the_same(made: Path) -> None:
    wanted = (made / "lines" / "test.json").read_text()
    assert len(json.loads(wanted)[0]) == 40
    assert (made / "table" / "test.json").read_text() == wanted


def test_another_split_is_evaluated_into_a_table(made: Path) -> None:
    run = made / "table"
    (run / "predictions-val.jsonl").write_text("of an older version")
    scores = evaluate(run, "val", ["text"])
    assert scores == {v: results(run)["val"]["student"][v] for v in ("multimodal", "text")}
    assert [p.name for p in run.glob("predictions-val*")] == ["predictions-val.parquet"]
    about = json.loads(pq.read_schema(run / "predictions-val.parquet").metadata[b"msdkit"])
    assert (about["views"], about["top_k"]) == (["multimodal", "text"], 5)
    assert json.loads((run / "slices-val.json").read_text())["odd"]["count"] == 20


def test_what_writes_tables_is_missed_before_training(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msdkit.runs.predictions.find_spec", lambda name: None)
    plain = {**toy.PLAIN, "dataset": {"name": "toy_many"}}
    with pytest.raises(ConfigError, match="auto: a table of 130 classes needs pyarrow"):
        results_of(toy.configured(made / "new.yaml", plain))
    assert not (made / "new").exists()
    assert not as_table(EvaluateConfig(), 100)
    assert not as_table(EvaluateConfig(predictions="jsonl"), COUNT)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "predictions",
            "csv",
            "evaluate.predictions: expected 'auto' or 'jsonl' or 'parquet', got 'csv'",
        ),
        ("top_k", 0, "evaluate.top_k: expected"),
    ],
)
def test_what_the_config_may_not_ask_for(tmp_path: Path, key: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        toy.configured(tmp_path / "x.yaml", toy.PLAIN, evaluate={key: value})
    assert told in str(caught.value)


def test_a_study_of_tables_and_lines(made: Path) -> None:
    """The same answers differ by nothing, and those of the teacher as `results.json` says."""
    runs = {n: [results_read(made / n)] for n in ("lines", "table", "teacher")}
    study = summarise(runs, "lines", "toy")
    found = {(d["method"], d["view"]): d for d in study["differences"]}
    for view in ("multimodal", "text", "image"):
        assert found["table", view]["mean"] == found["table", view]["low"] == 0
        scores = [
            study["methods"][n]["scores"][view]["vqa_accuracy"][0] for n in ("teacher", "lines")
        ]
        assert found["teacher", view]["mean"] == pytest.approx(scores[0] - scores[1], abs=1e-6)


def results_read(run: Path) -> Any:
    from msdkit.runs.results import read_results

    return read_results(run)


def test_a_report_says_what_it_cannot_tell(made: Path) -> None:
    (subject,) = read([made / "table"])
    kept = "Distances from the teacher are not shown, since predictions hold the 5 likeliest of 130"
    assert [note.startswith(kept) for note in subject.notes] == [True]
    assert (made / "table" / "report.html").parent.is_dir()
    text = page.write([made / "table"], made / "table.html").read_text(encoding="utf-8")
    assert "likeliest of 130" in text
    assert "Distance from the teacher" not in text
    whole = page.write([made / "whole", made / "lines"], made / "whole.html").read_text("utf-8")
    assert "Distance from the teacher" in whole
    assert "likeliest of 130" not in whole


def test_an_answer_that_is_no_number_is_named_in_whichever_part(made: Path) -> None:
    from msdkit.runs.experiment import Experiment
    from msdkit.runs.folder import read_config

    experiment = Experiment(read_config(made / "table"))
    experiment.use_saved_student()
    model, split = experiment.student.model.train(), experiment.split("val")
    found = experiment.evaluate(split)[0]["text"]
    assert found.shape == (40, COUNT)
    seen = 0

    def count(rows: slice, logits: Any, labels: Any) -> None:
        nonlocal seen
        seen += len(labels)
        if rows.stop == 40:
            raise TrainingError("of the last part")

    with pytest.raises(TrainingError, match="of the last part"):
        experiment.read(split, count)
    assert seen == 40
    assert model.training
