"""Answers of many classes as a table: the likeliest, read part by part, and what they tell."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from msdkit.errors import DataError
from msdkit.evaluation.significance import Anew, metric_sums
from msdkit.functional import probabilities, task_loss
from msdkit.registry import METRICS
from msdkit.runs.prediction_table import table_writer
from msdkit.runs.predictions import Predictions, read_predictions, written_rows
from msdkit.types import Task

COUNT, CLASSES, TOP = 23, 12, 4
NAMES = [f"answer {i}" for i in range(CLASSES)]
IDS = [f"q{i}" for i in range(COUNT)]
KINDS: list[Task] = ["single_label", "multi_label", "soft_target", "regression"]
SUMS = {
    "single_label": ["accuracy", "macro_f1", {"name": "calibration_error", "bins": 5}],
    "multi_label": ["accuracy", "micro_f1"],
    "soft_target": ["vqa_accuracy"],
    "regression": [],
}


def answers(task: Task) -> tuple[dict[str, Tensor], Tensor]:
    """Logits of two views, and labels that many answers have not among their likeliest."""
    draw = torch.Generator().manual_seed(3)
    views = {v: 4 * torch.randn(COUNT, CLASSES, generator=draw) for v in ("text", "multimodal")}
    if task == "single_label":
        return views, torch.randint(CLASSES, (COUNT,), generator=draw)
    labels = torch.rand(COUNT, CLASSES, generator=draw)
    if task == "regression":
        return views, labels
    labels = torch.where(labels > 0.8, labels, 0.0)
    return views, labels if task == "soft_target" else labels.ceil()


def written(
    folder: Path,
    task: Task,
    logits: dict[str, Tensor],
    labels: Tensor | None,
    metrics: Any = None,
    top_k: int = TOP,
) -> Predictions:
    """In parts of 10, as it is read again."""
    metrics = SUMS[task] if metrics is None else metrics
    about: Any = (folder / "predictions.parquet", IDS, task, NAMES)
    with table_writer(*about, metrics=metrics, top_k=top_k) as sink:
        for start in range(0, COUNT, 10):
            rows = slice(start, min(start + 10, COUNT))
            part = None if labels is None else labels[rows]
            sink(rows, {view: x[rows] for view, x in logits.items()}, part)
    return read_predictions(folder, task, NAMES)


@pytest.mark.parametrize("task", KINDS)
def test_what_is_kept_is_as_it_was_scored(tmp_path: Path, task: Task) -> None:
    logits, labels = answers(task)
    found = written(tmp_path, task, logits, labels)
    assert (found.ids, list(found.logits)) == (IDS, ["multimodal", "text"])
    assert found.labels is not None
    assert torch.equal(found.labels[:], labels)
    assert torch.equal(found.labels[torch.tensor([21, 3])], labels[[21, 3]])
    assert found.cut == (None if task == "regression" else TOP)
    for view, x in logits.items():
        shares, scored = found.shares[view], probabilities(task, x.double())
        assert (len(shares), tuple(shares.shape)) == (COUNT, (COUNT, CLASSES))
        kept = scored.topk(CLASSES if task == "regression" else TOP)
        again = shares[:].gather(1, kept.indices)
        torch.testing.assert_close(again, kept.values, rtol=1e-12, atol=0)
        assert torch.equal(found.logits[view][:].argmax(-1), x.argmax(-1))
        some = torch.tensor([22, 0, 13, 0])
        assert torch.equal(shares[some], shares[:][some])
        assert torch.equal(shares[13], shares[:][13])


@pytest.mark.parametrize("task", ["single_label", "multi_label", "soft_target"])
def test_losses_and_decisions_need_no_more_than_is_kept(tmp_path: Path, task: Any) -> None:
    """By the label's own probability, and of several classes by what none of the others weighs."""
    logits, labels = answers(task)
    found = written(tmp_path, task, logits, labels)
    for view, x in logits.items():
        again = found.logits[view][:]
        close = {"rtol": 1e-6, "atol": 1e-6}  # what is left is added up in single precision
        expected = task_loss(task, x.double(), labels)
        torch.testing.assert_close(task_loss(task, again, labels), expected, **close)
        if task == "multi_label":
            assert torch.equal(again > 0, x > 0)
        if task == "single_label":
            torch.testing.assert_close(again.exp().sum(1), torch.ones(COUNT).double())


def test_of_equal_answers_the_first_is_given_as_it_was(tmp_path: Path) -> None:
    for task in ("single_label", "multi_label", "soft_target"):
        found = written(tmp_path, task, {"multimodal": torch.zeros(COUNT, CLASSES)}, None, [])
        again = found.logits["multimodal"][:]
        assert again.argmax(-1).tolist() == [0] * COUNT
        assert not (again > 0).any() or task == "single_label"
        assert found.labels is None


def test_sure_and_impossible_answers_stay_finite(tmp_path: Path) -> None:
    logits = torch.zeros(COUNT, CLASSES)
    logits[:, 3], logits[:, 4], logits[:, 5:] = 60.0, 61.0, -math.inf
    labels = torch.zeros(COUNT, CLASSES)
    labels[:, 7] = 1.0
    for task in ("multi_label", "soft_target"):
        found = written(tmp_path, task, {"multimodal": logits}, labels)
        again = found.logits["multimodal"][:]
        assert again.isfinite().all()
        torch.testing.assert_close(again[:, 3:5], torch.tensor([[60.0, 61.0]] * COUNT).double())
        assert task_loss(task, again, labels).isfinite().all()
    found = written(tmp_path, "single_label", {"multimodal": logits}, labels.argmax(-1))
    assert found.logits["multimodal"][:].isfinite().all()
    assert found.shares["multimodal"][:,].amax(-1).tolist() == pytest.approx(
        [0.7311] * COUNT, abs=1e-4
    )


@pytest.mark.parametrize("task", ["single_label", "multi_label", "soft_target"])
def test_sums_of_a_metric_are_those_of_all_classes(tmp_path: Path, task: Any) -> None:
    logits, labels = answers(task)
    found = written(tmp_path, task, logits, labels)
    for node in SUMS[task]:
        name = node if isinstance(node, str) else node["name"]
        for view, x in logits.items():
            read = x if METRICS.get(name).__dict__.get("reads") else probabilities(task, x.double())
            expected: Any = metric_sums(node, read, labels, task)
            sums: Any = found.sums(view, node)
            assert torch.equal(sums.counts, expected.counts), name
            ones = torch.ones(1, COUNT)
            assert torch.equal(sums.weighted(ones), expected.weighted(ones))


def test_a_metric_without_sums_takes_all_classes(tmp_path: Path) -> None:
    logits, labels = answers("single_label")
    nodes = ["accuracy", "auroc"]
    found = written(tmp_path, "single_label", logits, labels, nodes)
    assert found.sums("text", "auroc") is None
    whole = written(tmp_path, "single_label", logits, labels, nodes, top_k=CLASSES + 5)
    assert whole.cut is None
    sums = whole.sums("text", "auroc")
    assert isinstance(sums, Anew)
    metric = METRICS.build("auroc", num_classes=CLASSES, task="single_label")
    metric.update(logits["text"], labels)
    value = sums.weighted(torch.ones(1, COUNT, dtype=torch.int64))
    assert float(value) == pytest.approx(metric.compute())


@pytest.mark.parametrize("task", KINDS)
def test_rows_for_a_challenge(tmp_path: Path, task: Task) -> None:
    logits, labels = answers(task)
    written(tmp_path, task, logits, labels)
    rows = written_rows(tmp_path, task, NAMES)
    assert [row["id"] for row in rows] == IDS
    key, row = ("values" if task == "regression" else "probabilities"), rows[-1]
    shares = probabilities(task, logits["multimodal"][-1].double())
    best = shares.argmax()
    assert (len(rows), len(row[key]["text"])) == (COUNT, CLASSES)
    assert row[key]["multimodal"][best] == pytest.approx(float(shares[best]), rel=1e-5)
    told = {
        "single_label": NAMES[best],
        "soft_target": NAMES[best],
        "multi_label": [n for n, p in zip(NAMES, shares, strict=True) if p > 0.5],
        "regression": dict(
            zip(NAMES, pytest.approx(shares.tolist(), rel=1e-6).expected, strict=True)
        ),
    }[task]
    assert row["prediction"] == (told if task != "regression" else pytest.approx(told, rel=1e-6))
    assert [r["id"] for r in rows[20:]] == IDS[20:]


def test_others_read_the_file_too(tmp_path: Path) -> None:
    logits, labels = answers("soft_target")
    written(tmp_path, "soft_target", logits, labels)
    table = pq.read_table(tmp_path / "predictions.parquet")
    about = json.loads(table.schema.metadata[b"msdkit"])
    assert about["classes"] == NAMES
    assert (about["views"], about["sums"]) == (["text", "multimodal"], {"vqa_accuracy": 2})
    row = table.slice(7, 1).to_pylist()[0]
    own = labels[7].nonzero().flatten().tolist()
    assert row["label"] == [NAMES[i] for i in own]
    assert row["label/scores"] == labels[7][own].tolist()
    scored = logits["multimodal"][7]
    best = scored.argsort(descending=True).tolist()
    assert (row["id"], row["prediction"]) == ("q7", NAMES[best[0]])
    assert row["multimodal/classes"][:TOP] == best[:TOP]
    assert set(row["multimodal/classes"]) == {*best[:TOP], *own}
    expected = torch.nn.functional.logsigmoid(scored[row["multimodal/classes"]].double())
    assert row["multimodal/log_probabilities"] == pytest.approx(expected.tolist(), rel=1e-12)


def test_the_same_examples(tmp_path: Path) -> None:
    """A table and lines, which tell soft targets to four decimals, may be of the same examples."""
    logits, labels = answers("soft_target")
    found = written(tmp_path / "a", "soft_target", logits, labels)
    again = written(tmp_path / "b", "soft_target", {"text": logits["text"]}, labels)
    assert found.of_same_examples(again)
    other = labels.clone()
    other[22, 3] = 0.5 if labels[22, 3] != 0.5 else 0.6
    assert not found.of_same_examples(written(tmp_path / "c", "soft_target", logits, other))
    assert not found.of_same_examples(written(tmp_path / "c", "soft_target", logits, None))
    shares = torch.full((COUNT, CLASSES), 0.5, dtype=torch.float64)
    lines = Predictions("soft_target", NAMES, IDS, (labels * 1e4).round() / 1e4, {"text": shares})
    assert found.of_same_examples(lines)
    assert lines.of_same_examples(found)


def shares_of(folder: Path) -> list[Tensor]:
    return [shares[:] for shares in read_predictions(folder, "single_label", NAMES).shares.values()]


@pytest.mark.parametrize("how", ["cut", "none", "other", "numbers"])
def test_a_table_that_is_none_is_named_in_one_line(tmp_path: Path, how: str) -> None:
    """Without checksums, as somebody may have copied it alone."""
    logits, labels = answers("single_label")
    written(tmp_path, "single_label", logits, labels)
    path, told = tmp_path / "predictions.parquet", ""
    (tmp_path / "checksums.json").unlink()
    table = pq.read_table(path)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif how == "none":
        path.write_text('{"id": "x"}\n')
    elif how == "other":
        pq.write_table(table.select(["id", "label"]).replace_schema_metadata(), path)
        told = "lacks b'msdkit'"
    else:
        place = table.column_names.index("text/classes")
        wrong = pa.array([[99]] * COUNT, pa.list_(pa.int16()))
        pq.write_table(table.set_column(place, "text/classes", wrong), path)
        told = "'text/classes' and 'text/log_probabilities' do not belong together"
    with pytest.raises(DataError, match=f"predictions.parquet cannot be read: .*{told}") as caught:
        shares_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_is_told(tmp_path: Path) -> None:
    logits, labels = answers("single_label")
    written(tmp_path, "single_label", logits, labels)
    path = tmp_path / "predictions.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)
    with pytest.raises(DataError, match="parquet is damaged: it is not as it was written"):
        shares_of(tmp_path)


def test_a_table_of_other_classes_is_refused(tmp_path: Path) -> None:
    logits, labels = answers("single_label")
    written(tmp_path, "single_label", logits, labels)
    for task, names in (("single_label", NAMES[::-1]), ("soft_target", NAMES)):
        with pytest.raises(DataError, match="it is of another format, task or classes"):
            read_predictions(tmp_path, task, names)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    about: Any = (tmp_path / "predictions.parquet", IDS, "single_label", NAMES)
    wrong = {"text": torch.zeros(2, CLASSES), "image": torch.zeros(3, CLASSES)}

    def fails() -> None:
        with table_writer(*about) as sink:
            sink(slice(0, 2), {"text": torch.zeros(2, CLASSES)}, None)
            sink(slice(2, 4), wrong, None)

    with pytest.raises(ValueError, match="length"):
        fails()
    assert not list(tmp_path.glob("*predictions*"))


def test_more_than_two_bytes_of_classes(tmp_path: Path) -> None:
    names = [str(i) for i in range(40_000)]
    logits = torch.full((2, 40_000), -1.0)
    logits[0, 39_999], logits[1, 32_768] = 5.0, 4.0
    with table_writer(tmp_path / "predictions.parquet", ["x", "y"], "soft_target", names) as sink:
        sink(slice(0, 2), {"multimodal": logits}, None)
    found = read_predictions(tmp_path, "soft_target", names)
    assert found.logits["multimodal"][:].argmax(-1).tolist() == [39_999, 32_768]
    assert np.allclose(found.logits["multimodal"][0].max(), 5.0)
