"""Run folders: what they hold, whose they are, and what their models answer."""

from __future__ import annotations

import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from PIL import Image

from msdkit.errors import ConfigError, DataError
from msdkit.runs import runner as runs
from msdkit.runs.evaluate import evaluate, predict_file
from msdkit.runs.folder import read_config
from msdkit.runs.runner import run
from msdkit.runs.saved_model import load
from msdkit.store.writer import FeatureStoreWriter

LABELS = ["blue", "green", "red"]


@pytest.fixture
def distilled(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> Path:
    run(toy.configured(tmp_path / "student.yaml", toy.DISTILLED, teacher={"run": str(toy_teacher)}))
    return tmp_path / "student"


def test_what_a_run_folder_holds(distilled: Path) -> None:
    assert sorted(p.name for p in distilled.iterdir()) == [
        *(
            ".msdkit",
            "best",
            "checksums.json",
            "config.yaml",
            "environment.json",
            "inputs.json",
            "last",
            "metrics.jsonl",
        ),
        *("predictions.jsonl", "results.json", "weights.jsonl"),
    ]
    about = json.loads((distilled / "environment.json").read_text())
    assert about["seed"] == 0
    assert about["packages"]["torch"] == metadata.version("torch")
    assert about["threads"] == torch.get_num_threads()
    results = json.loads((distilled / "results.json").read_text())
    assert results["steps"] == 10
    assert list(results["splits"]) == ["val", "test"]
    for found in results["splits"].values():
        assert list(found["student"]) == ["multimodal", "text", "image"]
        assert list(found["student"]["text"]) == ["accuracy", "macro_f1"]
        assert list(found["teacher"]) == list(found["agreement"]) == list(found["student"])
    assert results["cost"]["student"]["parameters"] < results["cost"]["teacher"]["parameters"]


def test_scores_follow_from_the_predictions(distilled: Path) -> None:
    results = json.loads((distilled / "results.json").read_text())
    lines = toy.rows(distilled / "predictions.jsonl")
    assert [line["id"] for line in lines] == [f"test-{i}" for i in range(40)]
    names = results["label_names"]
    for view, scores in results["splits"]["test"]["student"].items():
        right = [
            names[int(np.argmax(line["probabilities"][view]))] == line["label"] for line in lines
        ]
        assert scores["accuracy"] == pytest.approx(sum(right) / len(right))
    for line in lines:
        shares = line["probabilities"]["multimodal"]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert line["prediction"] == names[int(np.argmax(shares))]


def test_a_finished_run_is_only_read(distilled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_config(distilled)
    before = {p: p.stat().st_mtime_ns for p in distilled.rglob("*")}
    monkeypatch.setattr(runs.Experiment, "trainer", None)  # to call it would fail
    assert run(config) == json.loads((distilled / "results.json").read_text())
    assert {p: p.stat().st_mtime_ns for p in distilled.rglob("*")} == before


def test_the_saved_config_makes_the_same_run(distilled: Path) -> None:
    config = read_config(distilled)
    config.run_dir = str(distilled.with_name("again"))
    run(config)
    assert toy.equal(toy.weights(distilled), toy.weights(distilled.with_name("again")))


def test_the_folder_of_another_config_is_refused(tmp_path: Path, own_cache: Path) -> None:
    short = {"train": {"max_steps": 1}}
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, short))
    before = (tmp_path / "x" / "results.json").read_bytes()
    other = toy.configured(tmp_path / "x.yaml", toy.PLAIN, short, seed=3, student={"layers": 2})
    with pytest.raises(ConfigError) as error:
        run(other)
    message = str(error.value)
    assert f"run_dir {tmp_path / 'x'} belongs to another config" in message
    assert "seed: 0 there, 3 here; student.layers: 1 there, 2 here" in message
    assert (tmp_path / "x" / "results.json").read_bytes() == before


def test_tiny_is_two_steps_of_few_examples(tmp_path: Path, own_cache: Path) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, dataset={"n": 100})
    results = run(config, tiny=True)
    assert results["steps"] == 2
    assert len(toy.rows(tmp_path / "x" / "predictions.jsonl")) == 64
    assert config.train.max_steps is None  # the caller's config stays as it was


@pytest.mark.parametrize("test", [True, False])
def test_which_splits_are_evaluated(tmp_path: Path, own_cache: Path, test: bool) -> None:
    config = toy.configured(
        tmp_path / "x.yaml", toy.PLAIN, evaluate={"test": test, "views": ["text"]}
    )
    results = run(config, tiny=True)
    assert list(results["splits"]) == (["val", "test"] if test else ["val"])
    assert list(results["splits"]["val"]["student"]) == ["multimodal", "text"]
    first = toy.rows(tmp_path / "x" / "predictions.jsonl")[0]["id"]
    assert first == ("test-0" if test else "val-0")


@pytest.mark.parametrize("masking", ["zero", "mean", "mask_token", "shuffle"])
def test_maskings_train_in_a_distillation(
    tmp_path: Path, own_cache: Path, masking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msdkit.runs.evaluate.costs", lambda *_: {})
    node = {"name": masking}
    hides = {"modality_dropout": 0.0 if masking == "shuffle" else 0.3}  # a mask token learns by it
    run(toy.configured(tmp_path / "teacher.yaml", toy.PLAIN, masking=node, train=hides))
    made = toy.configured(
        tmp_path / "student.yaml",
        toy.DISTILLED,
        teacher={"run": str(tmp_path / "teacher")},
        masking=node,
        train={"teacher_cache": masking != "shuffle"},
        weighting=None,
    )
    results = run(made)
    assert ("teacher" in results["splits"]["val"]) == (masking != "shuffle")
    for row in toy.log(tmp_path / "student"):
        assert all(math.isfinite(x) for x in row.values() if isinstance(x, float))


def test_the_teachers_mean_is_that_of_the_training_set(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    made = toy.experiment(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        teacher={"run": str(toy_teacher)},
        masking={"name": "mean"},
    )
    teacher: Any = made.teacher
    raw = made.raw("train")
    inputs = teacher.inputs(
        [{m: raw.raw(i, m) for m in raw.modalities} for i in range(40)], made.views
    )
    embedded = teacher.model.embed(inputs)
    for row, (values, mask) in enumerate(embedded[m] for m in teacher.model.modalities):
        torch.testing.assert_close(teacher.model.masking.means[row], values[mask].mean(0))


def test_evaluating_a_run_again(distilled: Path) -> None:
    scores = evaluate(distilled, "test")
    results = json.loads((distilled / "results.json").read_text())
    assert scores == results["splits"]["test"]["student"]
    written = (distilled / "predictions-test.jsonl").read_bytes()
    assert written == (distilled / "predictions.jsonl").read_bytes()
    other = evaluate(distilled, "val", ["without_text"])
    assert list(other) == ["multimodal", "without_text"]
    assert json.loads((distilled / "evaluation-val.json").read_text()) == other
    with pytest.raises(ConfigError, match=r"unknown view 'txt'\. Did you mean 'text'"):
        evaluate(distilled, "val", ["txt"])
    with pytest.raises(DataError, match=r"is no run folder: config\.yaml is missing"):
        evaluate(distilled.parent, "val")


# A person's own files -------------------------------------------------------------------------


def write_rows(folder: Path, label: Any, split: str, count: int = 24) -> None:
    draw = np.random.default_rng(len(split))
    lines = []
    for i in range(count):
        k = int(draw.integers(3))
        name = f"{split}{i}.png"
        Image.new("RGB", (8, 8), LABELS[k]).save(folder / name)
        row = {"key": f"{split}-{i}", "caption": f"about {LABELS[k]} things", "file": name}
        lines.append(json.dumps({**row, "region": LABELS[k], "answer": label(k, draw)}))
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


FORMS: dict[str, Any] = {
    "single_label": lambda k, draw: LABELS[k],
    "multi_label": lambda k, draw: sorted({LABELS[k], LABELS[int(draw.integers(3))]}),
    "soft_target": lambda k, draw: {LABELS[k]: 1.0, LABELS[(k + 1) % 3]: 0.3},
}


def own_data(folder: Path, task: str) -> dict[str, Any]:
    folder.mkdir()
    for split in ("train", "val", "test"):
        write_rows(folder, FORMS[task], split)
    modalities = {"text": "caption", "image": {"column": "file", "type": "image"}}
    columns = {"id": "key", "label": "answer", "modalities": modalities}
    return {"name": "jsonl", "folder": str(folder), "task": task, **columns}


def small(dataset: dict[str, Any]) -> dict[str, Any]:
    patches = {"name": "patches", "size": 8, "patch": 4}
    return {
        "plugins": ["toy_plugin"],
        "dataset": dataset,
        "student": {**toy.MODEL, "processors": {"image": patches}},
        "train": {**toy.TRAIN, "epochs": 3},
    }


@pytest.mark.parametrize("task", FORMS)
def test_own_files_train_from_end_to_end(tmp_path: Path, own_cache: Path, task: str) -> None:
    base = small(own_data(tmp_path / "data", task))
    run(toy.configured(tmp_path / "teacher.yaml", base))
    kl = "kl" if task == "single_label" else "sigmoid_kl"
    results = run(
        toy.configured(
            tmp_path / "student.yaml",
            base,
            teacher={"run": str(tmp_path / "teacher")},
            distill=[{"name": kl}],
            weighting={"name": "saliency"},
        )
    )
    assert results["label_names"] == LABELS
    losses = [row["loss"] for row in toy.log(tmp_path / "student") if row["split"] == "train"]
    assert losses[-1] < losses[0]
    metric = {"multi_label": "micro_f1", "soft_target": "vqa_accuracy"}.get(task, "accuracy")
    assert results["metric"] == metric
    line = toy.rows(tmp_path / "student" / "predictions.jsonl")[0]
    forms = {"single_label": str, "multi_label": list, "soft_target": dict}
    assert type(line["label"]) is forms[task]


def test_prediction_reads_the_columns_of_training(tmp_path: Path, own_cache: Path) -> None:
    run(toy.configured(tmp_path / "x.yaml", small(own_data(tmp_path / "data", "single_label"))))
    lines = [json.loads(x) for x in predict_file(tmp_path / "x", tmp_path / "data" / "test.jsonl")]
    assert lines == [
        {k: v for k, v in row.items() if k != "label"} | {"probabilities": {"multimodal": shares}}
        for row in toy.rows(tmp_path / "x" / "predictions.jsonl")
        for shares in [row["probabilities"]["multimodal"]]
    ]
    words = tmp_path / "words.jsonl"
    words.write_text('{"key": "n", "caption": "red things"}\n')
    (line,) = predict_file(tmp_path / "x", words, ["text"])
    answer = json.loads(line)
    assert answer["id"] == "n"
    assert list(answer["probabilities"]) == ["text"]
    (expected,) = load(tmp_path / "x").predict([{"text": "red things"}], "text")
    shares = dict(zip(LABELS, answer["probabilities"]["text"], strict=True))
    assert shares == pytest.approx(expected, abs=1e-5)
    with pytest.raises(DataError, match=r"words\.jsonl:1: no column 'file'"):
        predict_file(tmp_path / "x", words)


def test_features_from_a_store(tmp_path: Path, own_cache: Path) -> None:
    dataset = own_data(tmp_path / "data", "single_label")
    with FeatureStoreWriter(tmp_path / "store", dim=3) as writer:
        for i, name in enumerate(LABELS):
            writer.add(name, np.eye(3, dtype=np.float32)[[i] * (i + 1)])
    dataset["modalities"] = {"text": "caption", "image": {"column": "region", "type": "features"}}
    values = small(dataset)
    values["student"]["processors"]["image"] = {
        "name": "features",
        "store": str(tmp_path / "store"),
    }
    run(toy.configured(tmp_path / "x.yaml", values))
    saved = load(tmp_path / "x")
    assert saved.fields["image"] == {"column": "region", "type": "features"}
    assert saved.modalities["image"].size == 3
    given = tmp_path / "given.jsonl"
    given.write_text('{"caption": "things", "region": "red"}\n{"caption": "x", "region": "pink"}\n')
    with pytest.raises(DataError, match="has no key 'pink'"):
        predict_file(tmp_path / "x", given, ["image"])
