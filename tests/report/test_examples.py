"""The data of the examples browser, against numbers worked out another way."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_subject import HOSTILE, VIEWS, made_up, softmax

from msdkit.report import examples, thumbnails
from msdkit.report.examples import section
from msdkit.report.subject import Subject


def data_of(page: str) -> dict[str, Any]:
    """The data in a section, as a browser would take it."""
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def numbers(column: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(column["data"]), f"<{column['type']}")
    values = values.reshape(-1, column["width"])
    return values[:, 0] if column["width"] == 1 else values


def model(data: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [m for m in data["models"] if m["name"] == name]
    return found


def shares(subject: Subject, name: str, view: str = "multimodal") -> np.ndarray:
    """[seeds, N, C]"""
    (method,) = [m for m in subject.methods if m.name == name]
    logits = np.stack([run.logits[view].numpy() for run in method.runs])
    return softmax(logits) if subject.task == "single_label" else 1 / (1 + np.exp(-logits))


def test_few_classes_are_all_there_with_the_means_over_seeds(tmp_path: Path) -> None:
    subject = made_up(tmp_path)
    found = model(data_of(section(subject)), "kd")
    assert found["seeds"] == 3
    for view in VIEWS:
        classes, stored = (numbers(found["views"][view][key]) for key in ("classes", "shares"))
        assert (classes == np.arange(4)).all()
        assert stored / 65535 == pytest.approx(shares(subject, "kd", view).mean(0), abs=1e-5)


def test_loss_right_answers_and_distance_of_several_seeds(tmp_path: Path) -> None:
    subject = made_up(tmp_path)
    data, labels = data_of(section(subject)), np.asarray(subject.labels)
    p = shares(subject, "msd_saliency")
    found, rows = model(data, "msd_saliency"), np.arange(len(labels))
    assert numbers(found["loss"]) == pytest.approx(-np.log(p[:, rows, labels]).mean(0), rel=1e-5)
    assert (numbers(found["right"]) == (p.argmax(-1) == labels).sum(0)).all()
    teacher = softmax(subject.teacher["multimodal"].numpy())
    apart = (teacher * np.log(teacher / p)).sum(-1).mean(0)
    assert numbers(found["divergence"]) == pytest.approx(apart, rel=1e-5)
    assert numbers(found["weights"]) == pytest.approx(subject.methods[2].weights.numpy())
    assert "divergence" not in model(data, "teacher")
    assert numbers(data["saliency"]["text"]) == pytest.approx(subject.saliency["text"].numpy())


@pytest.mark.parametrize("task", ["single_label", "multi_label", "soft_target"])
def test_of_many_classes_the_likeliest_and_the_labels_are_kept(tmp_path: Path, task: Any) -> None:
    subject = made_up(tmp_path, task, classes=40, count=50)
    data, p = data_of(section(subject)), shares(subject, "kd").mean(0)
    labels = np.asarray(subject.labels)
    own = np.eye(40)[labels] if task == "single_label" else labels
    view = model(data, "kd")["views"]["multimodal"]
    classes, stored = numbers(view["classes"]), numbers(view["shares"]) / 65535
    truth = numbers(data["labels"]["classes"]).reshape(50, -1)
    scores = numbers(data["labels"]["shares"]).reshape(50, -1) / 65535
    for row in range(50):
        assert set(np.argsort(p[row])[-5:]) <= set(classes[row])
        best = sorted(own[row][own[row] > 0])[-3:]
        assert sorted(own[row][classes[row]])[-len(best) :] == best
        told = {c: s for c, s in zip(truth[row], scores[row], strict=True) if s}
        assert told == pytest.approx({c: own[row][c] for c in np.flatnonzero(own[row])}, abs=1e-5)
    assert (np.diff(stored, axis=1) <= 0).all()
    assert stored == pytest.approx(np.take_along_axis(p, classes.astype(int), 1), abs=1e-5)


def test_right_of_several_labels_and_of_soft_targets(tmp_path: Path) -> None:
    several = made_up(tmp_path / "several", "multi_label")
    right = ((shares(several, "kd") > 0.5) == several.labels.numpy().astype(bool)).all(-1).sum(0)
    assert 0 < right.sum() < right.size
    assert (numbers(model(data_of(section(several)), "kd")["right"]) == right).all()

    soft = made_up(tmp_path / "soft", "soft_target")
    best = shares(soft, "kd").argmax(-1)
    scores = np.take_along_axis(soft.labels.numpy(), best.T, 1).T
    found = numbers(model(data_of(section(soft)), "kd")["right"])
    assert (found == (scores > 0.5).sum(0)).all()


def test_regression_keeps_its_values(tmp_path: Path) -> None:
    subject = made_up(tmp_path, "regression", classes=2)
    page = section(subject)
    data = data_of(page)
    values = np.mean([run.logits["text"].numpy() for run in subject.methods[1].runs], 0)
    assert numbers(model(data, "kd")["views"]["text"]["shares"]) == pytest.approx(values, abs=1e-6)
    assert numbers(data["labels"]["shares"]) == pytest.approx(subject.labels.numpy())
    assert "right" not in model(data, "kd")
    assert 'name="a_is"' not in page


def test_what_is_not_at_hand_is_left_out(tmp_path: Path) -> None:
    subject = replace(made_up(tmp_path), raw=None, labels=None, teacher={}, saliency={})
    page = section(subject)
    data = data_of(page)
    assert data["labels"] is None
    assert data["inputs"] == data["slices"] == data["saliency"] == {}
    assert [m["name"] for m in data["models"]] == ["plain", "kd", "msd_saliency"]
    assert "loss" not in data["models"][0]
    assert 'name="a_is"' not in page
    assert 'name="dominant"' not in page


def test_more_examples_than_a_page_holds_are_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "PAGE", 80)
    subject = made_up(tmp_path)
    page = section(subject, 1)
    data = data_of(page)
    rows = [subject.ids.index(name) for name in data["ids"]]
    assert len(rows) == 40
    assert rows == sorted(set(rows))
    assert page == section(subject, 1)
    assert "A sample of 40 of the\n    130 test examples" in page
    assert [text.split()[2] for text in data["inputs"]["text"]][2:] == [str(r) for r in rows][2:]
    labels = numbers(data["labels"]["classes"])
    assert (labels == np.asarray(subject.labels)[rows]).all()
    ninth = [i for i, row in enumerate(rows) if row % 9 == 0]
    assert data["slices"]["every ninth"] == ninth


def test_methods_beyond_the_budget_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "ANSWER_BYTES", 1)
    page = section(made_up(tmp_path, methods=("plain", "dkd", "kd", "msd_learned")))
    assert [m["name"] for m in data_of(page)["models"]] == ["teacher", "kd", "msd_learned"]
    assert "Not shown, to keep the page small: plain, dkd." in page


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    subject = replace(made_up(tmp_path), name=HOSTILE, label_names=[HOSTILE, "b", "c", "d"])
    page = section(subject)
    assert "<script>hacked" not in page
    assert "<img" not in page
    assert data_of(page)["inputs"]["text"][1].endswith(HOSTILE)


def test_a_picture_is_kept_once_and_small(tmp_path: Path) -> None:
    data = data_of(section(made_up(tmp_path)))
    assert data["inputs"]["image"][:9] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    pictures = [Image.open(io.BytesIO(base64.b64decode(p))) for p in data["pictures"]]
    assert [(p.format, p.size) for p in pictures] == [("WEBP", (96, 58))] * 7
    pixel = pictures[3].convert("RGB").getpixel((50, 30))
    assert pixel == pytest.approx((90, 60, 140), abs=6)


def test_what_is_no_picture_is_told_in_words() -> None:
    pictures = thumbnails.Pictures()
    array = np.zeros((7, 4), "float32")
    assert pictures.show(["/data/gone.png", "key", Path("a/b"), array]) == [
        "gone.png",
        "key",
        "b",
        "float32, 7 × 4",
    ]
    assert pictures.data == []
