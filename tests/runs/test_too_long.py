"""Texts that are too long for a model are told before the training, with split, example, length
and limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy
from torch import Tensor, nn

from msdkit.errors import DataError
from msdkit.models.base import Model
from msdkit.registry import MODELS
from msdkit.runs.evaluate import evaluate, predict_file
from msdkit.runs.runner import run
from msdkit.types import ModelOutput

pytestmark = pytest.mark.usefixtures("own_cache")
LIMIT = 8
MODEL = {**toy.MODEL, "max_length": LIMIT, "processors": {"text": {"name": "words"}}}


class Looking(Model):
    """Words with learned positions, of which it knows no limit."""

    def __init__(self, modalities: Any, num_classes: int, masking: Any = None) -> None:
        super().__init__(modalities, num_classes, masking)
        self.words = nn.Embedding(modalities["text"].size, 8)
        self.places = nn.Embedding(LIMIT, 8)
        self.head = nn.Linear(8, num_classes)

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        """{"text": [B, L]} -> logits [B, C]"""
        values, mask = inputs["text"]
        places = mask.cumsum(1) - 1
        rows = self.words(values) + self.places(places.clamp(min=0))
        return ModelOutput(self.head(self.mean(rows, mask)))

    def mean(self, rows: Tensor, mask: Tensor) -> Tensor:
        return (rows * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class Total(Looking):
    """It reads so many tokens of both modalities together, and breaks by an error of its own."""

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        if sum(s.mask.shape[1] for s in inputs.values()) > LIMIT:
            raise ValueError("too much\nin two lines")
        return super().forward_view({"text": inputs.get("text", next(iter(inputs.values())))})


def data(folder: Path, split: str, row: int, **long: str) -> dict[str, Any]:
    """A data set of short texts in two modalities, in which one row of one split has `long`."""
    for name in ("train", "val", "test"):
        rows = [
            {
                "id": f"{name}-{i}",
                "text": f"word{i % 3}",
                "other": f"x {i % 3}",
                "label": "ab"[i % 2],
            }
            for i in range(12)
        ]
        if name == split:
            rows[row].update(long)
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    modalities = {"text": "text", "other": "other"}
    node = {"name": "jsonl", "folder": str(folder), "modalities": modalities}
    return {"dataset": node, "student": MODEL, "train": {**toy.TRAIN, "epochs": 1}}


@pytest.mark.parametrize(("split", "row"), [("train", 7), ("val", 0), ("test", 11)])
def test_the_example_is_told_before_anything_is_written(
    tmp_path: Path, split: str, row: int
) -> None:
    config = data(tmp_path, split, row, text="word0 " * 9)
    message = (
        rf"^split '{split}': FusionTransformer: modality 'text' has 9 positions; accepted: at most "
        rf"max_length = 8 \(the longest: 'text' has 9 in example '{split}-{row}', 'other' has 2 .*"
    )
    with pytest.raises(DataError, match=message):
        run(toy.configured(tmp_path / "x.yaml", config))
    assert not (tmp_path / "x").exists()


def test_what_fits_exactly_and_what_its_processor_cuts_runs(tmp_path: Path) -> None:
    config = data(tmp_path, "test", 3, text="word0 " * LIMIT)
    assert run(toy.configured(tmp_path / "x.yaml", config))["steps"] > 0
    config = data(tmp_path, "test", 3, text="word0 " * 100)
    words = {"name": "words", "max_length": LIMIT}
    cut = {"student": {"processors": {"text": words}}}
    assert run(toy.configured(tmp_path / "y.yaml", config, cut))["steps"] > 0


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_plugin_that_breaks_at_long_texts_is_told_in_a_line(tmp_path: Path, split: str) -> None:
    MODELS.register("looking")(Looking)
    config = data(tmp_path, split, 5, text="word0 " * 9)
    config["dataset"]["modalities"] = {"text": "text"}
    config["student"] = {"name": "looking", "processors": MODEL["processors"]}
    message = rf"^split '{split}': cannot be read: index out of range in self \(.*'{split}-5'\)$"
    with pytest.raises(DataError, match=message):
        run(toy.configured(tmp_path / "x.yaml", config))


def test_modalities_that_are_too_long_together(tmp_path: Path) -> None:
    """Each fits, but a batch would hold the longest of both."""
    MODELS.register("total")(Total)
    config = data(tmp_path, "test", 5, text="word0 " * 7)
    config["student"] = {"name": "total", "processors": MODEL["processors"]}
    message = r"^split 'test': cannot be read: too much \(.*'text' has 7 in example 'test-5'"
    with pytest.raises(DataError, match=message):
        run(toy.configured(tmp_path / "x.yaml", config))


def test_a_model_that_reads_nothing_breaks_by_its_own_error(tmp_path: Path) -> None:
    class Broken(Looking):
        def mean(self, rows: Tensor, mask: Tensor) -> Tensor:
            raise ValueError("broken")

    MODELS.register("broken")(Broken)
    config = data(tmp_path, "test", 5)
    config["dataset"]["modalities"] = {"text": "text"}
    config["student"] = {"name": "broken", "processors": MODEL["processors"]}
    with pytest.raises(ValueError, match=r"^broken$"):
        run(toy.configured(tmp_path / "x.yaml", config))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_teacher_that_reads_less_than_the_student(
    tmp_path: Path, split: str, cached: bool
) -> None:
    config = data(tmp_path, "none", 0)
    run(toy.configured(tmp_path / "teacher.yaml", config))
    config = data(tmp_path, split, 4, text="word0 " * 9)
    longer = {
        "student": {"max_length": 50},
        "teacher": {"run": str(tmp_path / "teacher")},
        "distill": ["kl"],
        "train": {"teacher_cache": cached},
    }
    message = rf"^split '{split}': .* has 9 positions; accepted: .* = 8 \(.* example '{split}-4'"
    with pytest.raises(DataError, match=message):
        run(toy.configured(tmp_path / "x.yaml", config, longer))


def test_new_data_for_a_trained_model(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    run(toy.configured(tmp_path / "x.yaml", data(tmp_path, "none", 0)))
    data(tmp_path, "test", 6, text="word0 " * 9)
    with pytest.raises(DataError, match=r"^split 'test': .* has 9 positions.* example 'test-6'"):
        evaluate(folder, "test")
    assert not (folder / "evaluation-test.json").exists()
    message = r"test\.jsonl, example 'test-6': FusionTransformer: modality 'text' has 9 positions"
    with pytest.raises(DataError, match=message):
        predict_file(folder, tmp_path / "test.jsonl")
