"""A data set whose labels are numbers, from training to comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

from msdkit.errors import ConfigError, DataError
from msdkit.runs.evaluate import evaluate, predict_file
from msdkit.runs.runner import run
from msdkit.runs.saved_model import load
from msdkit.studies.study import compare

COUNTS = {"train": 40, "val": 16, "test": 16}


@pytest.fixture
def data(tmp_path: Path, own_cache: Path) -> Path:
    """Two numbers that a word and a row of numbers tell of; `score` is the first alone."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, count in COUNTS.items():
        draw, lines = np.random.default_rng(len(split)), []
        for i in range(count):
            word, x = int(draw.integers(3)), float(draw.normal())
            both = {"price": word - 1 + x, "age": round(2 * x, 3)}
            row = {
                "id": f"{split}-{i}",
                "text": f"w{word}",
                "x": [[x, 1.0]],
                "score": both["price"],
            }
            lines.append(json.dumps({**row, "both": both}) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def values(data: Path, label: str = "score", **changes: Any) -> dict[str, Any]:
    dataset = {
        "name": "jsonl",
        "folder": str(data),
        "task": "regression",
        "label": label,
        "modalities": {"text": "text", "x": {"column": "x", "type": "array"}},
    }
    train = {**toy.TRAIN, "epochs": 6, "lr": 1e-2}
    return {"dataset": dataset, "student": toy.MODEL, "train": train, **changes}


def distilled(data: Path, folder: Path, *terms: str) -> dict[str, Any]:
    run(toy.configured(folder / "teacher.yaml", values(data)))
    return values(
        data,
        teacher={"run": str(folder / "teacher")},
        distill=[{"name": name} for name in terms],
        weighting={"name": "saliency"},
    )


def test_training_lowers_the_error(data: Path, tmp_path: Path) -> None:
    results = run(toy.configured(tmp_path / "x.yaml", values(data, "both")))
    assert results["label_names"] == ["age", "price"]
    assert (results["task"], results["metric"]) == ("regression", "rmse")
    assert list(results["splits"]["test"]["student"]["text"]) == ["rmse", "r2"]
    rows = toy.log(tmp_path / "x")
    errors = [row["multimodal/rmse"] for row in rows if row["split"] == "val"]
    chosen = results["splits"]["val"]["student"]["multimodal"]["rmse"]  # that of best/
    assert len(errors) == 6
    assert chosen == pytest.approx(min(errors))
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("term", ["mse_logits", "kd"])
def test_distillation_and_what_it_writes(data: Path, tmp_path: Path, term: str) -> None:
    results = run(toy.configured(tmp_path / "x.yaml", distilled(data, tmp_path, term)))
    for found in results["splits"].values():
        assert all(-1 <= r <= 1 for r in found["agreement"].values())
        assert list(found["teacher"]) == ["multimodal", "text", "x"]
    lines = toy.rows(tmp_path / "x" / "predictions.jsonl")
    given = toy.rows(data / "test.jsonl")
    assert [row["label"] for row in lines] == [
        {"score": float(str(np.float32(row["score"])))} for row in given
    ]
    for view, scores in results["splits"]["test"]["student"].items():
        errors = [row["values"][view][0] - x["score"] for row, x in zip(lines, given, strict=True)]
        assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)
    for row in lines:
        assert list(row) == ["id", "prediction", "values", "label"]
        assert row["prediction"] == {"score": row["values"]["multimodal"][0]}


def test_evaluate_and_predict(data: Path, tmp_path: Path) -> None:
    results = run(toy.configured(tmp_path / "x.yaml", values(data)))
    assert evaluate(tmp_path / "x", "test") == results["splits"]["test"]["student"]
    lines = [json.loads(line) for line in predict_file(tmp_path / "x", data / "test.jsonl")]
    for line, row in zip(lines, toy.rows(tmp_path / "x" / "predictions.jsonl"), strict=True):
        assert list(line) == ["id", "prediction", "values"]
        assert line["id"] == row["id"]
        assert line["prediction"] == pytest.approx(row["prediction"], abs=1e-5)
    (answer,) = load(tmp_path / "x").predict([{"text": "w1"}], "text")
    assert list(answer) == ["score"]


def test_comparison(data: Path, tmp_path: Path) -> None:
    base = distilled(data, tmp_path, "mse_logits")
    files = [
        str(toy.write(tmp_path / "kd.yaml", base)),
        str(toy.write(tmp_path / "none.yaml", values(data))),
    ]
    (found,) = compare(files, out=tmp_path / "out", tiny=True).values()
    scores = {name: about["scores"] for name, about in found["methods"].items()}
    for difference in found["differences"]:
        view, name = difference["view"], difference["metric"]
        expected = scores["none"][view][name][0] - scores["kd"][view][name][0]
        assert difference["mean"] == pytest.approx(expected, abs=1e-4)
    assert "correlates w/ teacher" in (tmp_path / "out" / "compare.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"evaluate": {"metrics": ["accuracy"]}},
            "'accuracy' is for multi_label, single_label, not",
        ),
        (
            {"evaluate": {"metrics": ["auroc"]}},
            "'auroc' is for multi_label, single_label, not regr",
        ),
        (
            {"evaluate": {"metrics": ["vqa_accuracy"]}},
            "'vqa_accuracy' is for soft_target, not regr",
        ),
        ({"task": "cross_entropy"}, "loss 'cross_entropy' is for single_label and this data set"),
        ({"distill": [{"name": "kl"}]}, "loss 'kl' is for single_label and this data set is regr"),
    ],
)
def test_what_a_check_refuses(
    data: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        toy.configured(tmp_path / "x.yaml", values(data, teacher=toy.MODEL), changes)


def test_numbers_metrics_are_for_numbers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rmse' is for regression, not single_label"):
        toy.configured(tmp_path / "x.yaml", toy.PLAIN, evaluate={"metrics": ["rmse"]})


def test_a_label_that_is_not_finite_is_named(data: Path, tmp_path: Path) -> None:
    with (data / "val.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "w0", "x": [[0.0, 1.0]], "score": NaN}\n')
    with pytest.raises(
        DataError, match=r"val\.jsonl:17: expected a finite .* for 'score', got nan"
    ):
        run(toy.configured(tmp_path / "x.yaml", values(data)))
