"""How answers are written down for each kind of task, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from torch import Tensor

from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.errors import DataError
from msdkit.functional import log_odds, probabilities
from msdkit.processors.array import Array
from msdkit.runs.prediction_rows import (
    Lines,
    PredictionRows,
    class_names,
    line_writer,
    readable,
)
from msdkit.runs.predictions import logits_of, read_predictions
from msdkit.types import Modality

NAMES = ["a", "b", "c"]
LOGITS = torch.tensor([[2.0, 1.0, -1.0], [-1.0, -2.0, -3.0], [0.5, 0.0, 3.0]])


def write(path: Path, split: Split, logits: dict[str, Tensor]) -> Lines:
    """In two parts, as evaluation does."""
    with line_writer(path, split.ids, "single_label", NAMES) as sink:
        for rows in (slice(0, 6), slice(6, 10)):
            labels = None if split.labels is None else split.labels[rows]
            sink(rows, {view: x[rows] for view, x in logits.items()}, labels)
    return Lines(path)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    raw = RawSplit(toy.Toy("val", n=10), "val", "single_label")
    return Split(ModelInputs(raw, {"image": Array(Modality("features", 8))}, tmp_path))


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


def test_labels_as_a_person_writes_them(split: Split, tmp_path: Path) -> None:
    assert readable(torch.tensor(2), "single_label", NAMES) == "c"
    assert readable(torch.tensor([1.0, 0, 1]), "multi_label", NAMES) == ["a", "c"]
    assert readable(torch.tensor([0, 0.3, 1]), "soft_target", NAMES) == {"b": 0.3, "c": 1.0}
    logits = {"multimodal": torch.randn(10, 3)}
    write(tmp_path / "p.jsonl", split, logits)
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [NAMES.index(line["label"]) for line in lines] == split.labels.tolist()  # type: ignore[union-attr]
    split.labels = None
    write(tmp_path / "p.jsonl", split, logits)
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


# As version 0.1.0 wrote them, the second with a key of a later one
LINES = [
    '{"id": "val-0", "prediction": "b", "probabilities": {"multimodal": [0.122807, 0.836439, '
    '0.040754], "text": [0.25, 0.5, 0.25]}, "label": "b"}',
    '{"id": "grün", "prediction": "a", "probabilities": {"multimodal": [1.0, 0.0, 0.0], '
    '"text": [0.5, 0.25, 0.25]}, "label": "c", "later": {"x": [1]}}',
]


def read(folder: Path, *lines: str, task: Any = "single_label") -> Any:
    (folder / "predictions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return read_predictions(folder, task, NAMES)


def test_lines_of_other_versions_are_read(tmp_path: Path) -> None:
    answers = read(tmp_path, *LINES)
    assert (answers.ids, answers.labels.tolist()) == (["val-0", "grün"], [1, 2])
    assert list(answers.shares) == ["multimodal", "text"]
    assert answers.shares["multimodal"][0].tolist() == [0.122807, 0.836439, 0.040754]
    torch.testing.assert_close(answers.logits["text"].softmax(1), answers.shares["text"])
    assert read(tmp_path, LINES[0].replace(', "label": "b"', "")).labels is None


def test_what_is_written_is_read_again(split: Split, tmp_path: Path) -> None:
    logits = {"text": torch.randn(10, 3), "multimodal": torch.randn(10, 3)}
    rows = write(tmp_path / "predictions.jsonl", split, logits)
    answers = read_predictions(tmp_path, "single_label", NAMES)
    assert answers.ids == list(split.ids)
    assert torch.equal(answers.labels, split.labels[:])  # type: ignore[arg-type, index]
    for view, values in logits.items():
        expected = values.softmax(1).double()
        torch.testing.assert_close(answers.shares[view], expected, rtol=0, atol=6e-7)
    first = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()[0]
    label = NAMES[int(split.labels[0])]  # type: ignore[index]
    assert first == json.dumps({**rows[0], "label": label})
    assert isinstance(rows[0], dict)  # what plugins make a challenge's files of
    assert [row["id"] for row in rows[8:]] == answers.ids[8:]


def test_a_write_that_fails_leaves_the_predictions_that_were_there(
    split: Split, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("old")
    before = sorted(p.name for p in tmp_path.iterdir())
    logits = {"multimodal": torch.randn(7, 3)}  # ends before the examples do
    with pytest.raises(IndexError):
        write(path, split, logits)
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def changed(**change: Any) -> str:
    return json.dumps({**json.loads(LINES[0]), **change})


def test_the_same_examples_have_ids_labels_and_classes_in_common(tmp_path: Path) -> None:
    answers = read(tmp_path, LINES[0])
    assert answers.of_same_examples(read(tmp_path, changed(probabilities={"text": [0, 0, 1]})))
    for change in ({"id": "other"}, {"label": "a"}, {"label": None}):
        assert not answers.of_same_examples(read(tmp_path, changed(**change)))
        assert not read(tmp_path, changed(**change)).of_same_examples(answers)
    assert not answers.of_same_examples(read_predictions(tmp_path, "single_label", list("abd")))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "expected lines with `probabilities` of each view"),
        ([LINES[0].replace("probabilities", "values")], "expected lines with `probabilities`"),
        ([LINES[0], "{"], r"predictions\.jsonl:2: expected a prediction; Input data was truncated"),
        ([changed(id=3)], r"predictions\.jsonl:1: expected a prediction; Expected `str`"),
        ([LINES[0], changed(probabilities={"text": [1, 0, 0]})], "do not belong together"),
        ([LINES[0], changed(label="d")], "do not belong together .unknown label 'd'"),
    ],
)
def test_what_is_not_whole_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, *lines)


@pytest.mark.parametrize(("number", "told"), [("NaN", "nan"), ("-Infinity", "-inf")])
def test_older_answers_that_are_no_numbers_are_named(
    tmp_path: Path, number: str, told: str
) -> None:
    lines = [LINES[0], LINES[1].replace("0.5", number)]
    with pytest.raises(DataError, match=f"jsonl:2: the answer of view 'text' is {told}; expected"):
        read(tmp_path, *lines)
    noted = LINES[1].replace('{"x": [1]}', number)  # where nobody reads it
    assert read(tmp_path, LINES[0], noted).ids == ["val-0", "grün"]


def test_an_impossible_class_has_the_probability_0(tmp_path: Path) -> None:
    logits = torch.tensor([[0.0, -np.inf, 0.0]])
    for task, shares in (("single_label", [0.5, 0, 0.5]), ("multi_label", [0.5, 0, 0.5])):
        row = PredictionRows(["x"], {"multimodal": logits}, task, NAMES).row(0)
        assert row.probabilities == {"multimodal": shares}
        names = ["a", "c"] if task == "multi_label" else "a"
        again = read(tmp_path, changed(**json.loads(row.line()), label=names), task=task)
        assert again.shares["multimodal"].tolist() == [shares]


def test_numbers_are_read_as_they_are(tmp_path: Path) -> None:
    line = {"id": "x", "values": {"multimodal": [0.1, -2e7, 1e-9]}, "label": None}
    answers = read(tmp_path, json.dumps(line), task="regression")
    expected: Tensor = torch.tensor([[0.1, -2e7, 1e-9]], dtype=torch.float64)
    assert torch.equal(answers.logits["multimodal"], expected)
    assert answers.labels is None


@pytest.mark.parametrize("task", ["single_label", "multi_label", "soft_target"])
def test_written_probabilities_keep_the_order_of_sure_answers(task: Any) -> None:
    """Logits apart by 2, of which single precision makes probabilities of 1, and of 1e-17."""
    logits = torch.tensor([[0.0, z] for z in (-36.0, -20.0, 0.0, 20.0, 22.0, 24.0, 26.0, 34.0)])
    (key, ids) = ("multimodal", [str(i) for i in range(len(logits))])
    written = [row["probabilities"][key] for row in PredictionRows(ids, {key: logits}, task, "ab")]
    again = log_odds(task, logits_of(torch.tensor(written, dtype=torch.float64), task))[:, 1]
    assert again[3:].tolist() == pytest.approx(logits[3:, 1].tolist(), abs=0.05)
    assert (again[1:] >= again[:-1]).all()
    if task != "soft_target":  # small ones of thousands have six decimals
        assert again[:3].tolist() == pytest.approx(logits[:3, 1].tolist(), abs=1e-4)
    assert json.dumps(written[3][1]) == "0.99999999793885"
    assert written[2] == [0.5, 0.5]
