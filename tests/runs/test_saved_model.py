"""A model as a folder: what was trained is what answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy

import msdkit
from msdkit.errors import ConfigError, DataError
from msdkit.runs.runner import run
from msdkit.runs.saved_model import load


@pytest.fixture
def examples() -> list[dict[str, Any]]:
    return [toy.Toy("test")[i].raw for i in range(7)]


def test_the_saved_model_answers_as_the_trained_one(
    tmp_path: Path, own_cache: Path, examples: list[dict[str, Any]]
) -> None:
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN))
    saved = msdkit.load(tmp_path / "x")
    lines = toy.rows(tmp_path / "x" / "predictions.jsonl")[:7]
    for view in ("multimodal", "text", "image"):
        for line, shares in zip(lines, saved.predict(examples, view), strict=True):
            assert list(shares) == ["a", "b", "c"]
            assert list(shares.values()) == pytest.approx(line["probabilities"][view], abs=1e-5)
    assert not saved.model.training


def test_a_folder_moves_and_a_bare_best_is_enough(
    tmp_path: Path, toy_teacher: Path, examples: list[dict[str, Any]]
) -> None:
    shutil.copytree(toy_teacher / "best", tmp_path / "elsewhere")
    expected = load(toy_teacher).predict(examples)
    assert load(tmp_path / "elsewhere").predict(examples) == expected
    again = tmp_path / "again"
    again.mkdir()
    load(toy_teacher).save(again)
    for name in ("model.json", "model.safetensors"):
        assert (again / name).read_bytes() == (toy_teacher / "best" / name).read_bytes()


def test_a_replacement_that_was_killed_is_read(tmp_path: Path, toy_teacher: Path) -> None:
    shutil.copytree(toy_teacher / "best", tmp_path / "best.old")
    (tmp_path / ".best.partial").mkdir()  # of a trainer that may still be at work
    load(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".best.partial", "best.old"]


def test_modalities_that_no_view_reads_may_be_absent(toy_teacher: Path) -> None:
    saved = load(toy_teacher)
    assert saved.needed(["text"]) == ["text"]
    assert len(saved.predict([{"text": "word1"}], "text")) == 1
    with pytest.raises(DataError, match="example 1 has no 'image', needed for: multimodal"):
        saved.predict([toy.Toy("test")[0].raw, {"text": "word1"}])
    with pytest.raises(ConfigError, match=r"unknown view 'images'\. Did you mean 'image'"):
        saved.predict([{"text": "word1"}], "images")
    zero = load(toy_teacher, masking={"name": "zero"})
    assert zero.needed(["text"]) == ["text", "image"]  # how long the hidden one is shows


def test_the_batch_does_not_matter(toy_teacher: Path, examples: list[dict[str, Any]]) -> None:
    saved = load(toy_teacher)
    whole = saved.logits(examples, ["multimodal", "text"])
    for i, example in enumerate(examples):
        alone = saved.logits([example], ["multimodal", "text"])
        for view in whole:
            torch.testing.assert_close(alone[view][0], whole[view][i], rtol=0, atol=1e-5)


def test_tied_weights(tmp_path: Path, own_cache: Path, examples: list[dict[str, Any]]) -> None:
    values = {**toy.PLAIN, "student": {"name": "toy_tied"}}
    run(toy.configured(tmp_path / "x.yaml", values))
    saved = load(tmp_path / "x")
    assert saved.model.first.weight is saved.model.second.weight  # type: ignore[union-attr]
    assert len(saved.predict(examples)) == 7


def test_fitted_processors_come_back(tmp_path: Path, toy_teacher: Path) -> None:
    saved, again = load(toy_teacher), load(toy_teacher)
    for name, processor in saved.processors.items():
        assert again.processors[name].fingerprint() == processor.fingerprint()
    np.testing.assert_array_equal(
        saved.processors["text"]("word1 noise2"), again.processors["text"]("word1 noise2")
    )


def test_a_fitted_array_keeps_its_fingerprint(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "data").mkdir()
    for split in ("train", "val", "test"):
        rows = [{"x": [[float(i), 1.0]], "y": [i % 3], "label": "pq"[i % 2]} for i in range(8)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / f"{split}.jsonl").write_text(text)
    arrays = {"x": {"column": "x", "type": "array"}, "y": {"column": "y", "type": "array"}}
    dataset = {"name": "jsonl", "folder": str(tmp_path / "data"), "modalities": arrays}
    values = {"dataset": dataset, "student": toy.MODEL, "train": toy.TRAIN}
    made = toy.experiment(tmp_path / "x.yaml", values)
    made.trainer().fit()
    loaded = load(tmp_path / "x")
    for name, processor in made.student.processors.items():
        assert loaded.processors[name].fingerprint() == processor.fingerprint()
    assert loaded.modalities["y"].size == 3


@pytest.mark.parametrize("content", [None, "", "[]", "3", '{"name": "fusion_transformer"}'])
def test_what_is_no_saved_model(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(DataError, match=r"holds no saved model \(.*\); give a run's folder"):
        load(tmp_path)
