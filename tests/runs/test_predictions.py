"""How answers are written down for each kind of task, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy

from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.functional import probabilities
from msdkit.processors.array import Array
from msdkit.runs.predictions import (
    PredictionRows,
    class_names,
    read_predictions,
    readable,
    write_predictions,
)
from msdkit.types import Modality

NAMES = ["a", "b", "c"]
LOGITS = torch.tensor([[2.0, 1.0, -1.0], [-1.0, -2.0, -3.0], [0.5, 0.0, 3.0]])


def test_answers() -> None:
    assert class_names(LOGITS, "single_label", NAMES) == ["a", "a", "c"]
    assert class_names(LOGITS, "soft_target", NAMES) == ["a", "a", "c"]
    assert class_names(LOGITS, "multi_label", NAMES) == [["a", "b"], [], ["a", "c"]]


def test_numbers_as_answers(tmp_path: Path) -> None:
    logits = torch.tensor([[0.1, -2e7], [1e-9, 3.0]])
    predicted = [{"a": 0.1, "b": -2e7}, {"a": 1e-9, "b": 3.0}]
    assert class_names(logits, "regression", NAMES[:2]) == predicted
    rows = PredictionRows(["x", "y"], {"text": logits}, "regression", NAMES[:2])
    assert rows[1] == {"id": "y", "prediction": predicted[1], "values": {"text": [1e-9, 3.0]}}
    drawn = torch.randn(20, 1)
    read = PredictionRows(["x"] * 20, {"text": drawn}, "regression", ["a"])
    assert torch.equal(torch.tensor([row["values"]["text"] for row in read]), drawn)
    assert readable(torch.tensor([0.0, 0.3]), "regression", NAMES[:2]) == {"a": 0.0, "b": 0.3}


def test_rows_predict_by_the_multimodal_view() -> None:
    both = PredictionRows(
        ["x"], {"text": -LOGITS[:1], "multimodal": LOGITS[:1]}, "single_label", NAMES
    )
    assert both[0]["prediction"] == "a"
    (alone,) = PredictionRows(["x"], {"text": -LOGITS[:1]}, "single_label", NAMES)
    assert alone["prediction"] == "c"
    shares = LOGITS[0].softmax(0).tolist()
    assert both[0]["probabilities"]["multimodal"] == pytest.approx(shares, abs=1e-6)


def test_labels_as_a_person_writes_them(tmp_path: Path) -> None:
    raw = RawSplit(toy.Toy("val", n=10), "val", "single_label")
    split = Split(ModelInputs(raw, {"image": Array(Modality("features", 8))}, tmp_path))
    assert readable(torch.tensor(2), "single_label", NAMES) == "c"
    assert readable(torch.tensor([1.0, 0, 1]), "multi_label", NAMES) == ["a", "c"]
    assert readable(torch.tensor([0, 0.3, 1]), "soft_target", NAMES) == {"b": 0.3, "c": 1.0}
    logits = {"multimodal": torch.randn(10, 3)}
    write_predictions(tmp_path / "p.jsonl", split, logits, "single_label", NAMES)
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [NAMES.index(line["label"]) for line in lines] == split.labels.tolist()  # type: ignore[union-attr]
    split.labels = None
    write_predictions(tmp_path / "p.jsonl", split, logits, "single_label", NAMES)
    assert '"label": null' in (tmp_path / "p.jsonl").read_text()


@pytest.mark.parametrize(
    ("task", "key", "labels"),
    [
        ("multi_label", "probabilities", [["a"], ["a", "b"]]),
        ("soft_target", "probabilities", [{"a": 0.3}, {}]),
        ("regression", "values", [{"a": 1.5, "b": -2.0}, {"a": 0.0, "b": 7.0}]),
    ],
)
def test_predictions_of_every_task(tmp_path: Path, task: Any, key: str, labels: Any) -> None:
    answers = [[0.25, 1.0], [0.0, 0.5]]
    rows = [
        {"id": f"x{i}", key: {"text": row, "multimodal": row}, "label": label}
        for i, (row, label) in enumerate(zip(answers, labels, strict=True))
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_predictions(tmp_path, task, ["a", "b"])
    assert found.ids == ["x0", "x1"]
    assert list(found.logits) == ["multimodal", "text"]
    again = probabilities(task, found.logits["text"])
    assert again.numpy() == pytest.approx(np.array(answers), abs=1e-6)
    expected = {"multi_label": [[1, 0], [1, 1]], "soft_target": [[0.3, 0], [0, 0]]}
    expected["regression"] = [[1.5, -2], [0, 7]]
    assert torch.allclose(found.labels.float(), torch.tensor(expected[task]).float())
    path.write_text(json.dumps({**rows[0], "label": None}), encoding="utf-8")
    assert read_predictions(tmp_path, task, ["a", "b"]).labels is None
