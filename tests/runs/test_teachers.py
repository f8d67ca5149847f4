"""Several teachers, specialists, chains of teachers, and students made from a teacher."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from plugins import plugins_forgotten
from torch import nn

from msdkit.errors import ConfigError
from msdkit.registry import MODELS
from msdkit.runs import teachers
from msdkit.runs.ensemble import MultiTeacher
from msdkit.runs.runner import run
from msdkit.types import default_views

VIEWS = default_views(["text", "image"])


def test_means_of_logits():
    torch.manual_seed(0)
    one, two = torch.randn(5, 3), torch.randn(5, 3)
    equal = MultiTeacher(teachers=["a", "b"])([one, two], "single_label")
    torch.testing.assert_close(equal, (one + two) / 2)
    given = MultiTeacher(teachers=["a", "b"], weights=[3, 1])([one, two], "regression")
    torch.testing.assert_close(given, (3 * one + two) / 4)


@pytest.mark.parametrize("task", ["single_label", "multi_label", "soft_target"])
def test_the_surer_teacher_counts_more(task):
    torch.manual_seed(0)
    answers = [torch.randn(4, 3, dtype=torch.float64) * k for k in (1, 3)]
    found = MultiTeacher(teachers=["a", "b"], weights="confidence")(answers, task)
    for i in range(4):
        shares = []
        for logits in answers:
            row = [float(x) for x in logits[i]]
            if task == "single_label":
                p = [math.exp(x) / sum(map(math.exp, row)) for x in row]
                h = -sum(q * math.log(q) for q in p)
            else:
                p = [1 / (1 + math.exp(-x)) for x in row]
                h = -sum(q * math.log(q) + (1 - q) * math.log(1 - q) for q in p)
            shares.append(math.exp(-h))
        expected = sum(s * x[i] for s, x in zip(shares, answers, strict=True)) / sum(shares)
        torch.testing.assert_close(found[i], expected)


def test_teachers_that_cannot_be_combined():
    with pytest.raises(ConfigError, match="expected at least one"):
        MultiTeacher(teachers=[])
    with pytest.raises(ConfigError, match="expected 2 numbers, one for each teacher, not all 0"):
        MultiTeacher(teachers=["a", "b"], weights=[1.0])
    model = MODELS.build({"name": "multi_teacher", "teachers": ["a"], "weights": "confidence"})
    with pytest.raises(ConfigError, match="a regression has none"):
        model([torch.randn(2, 3)], "regression")


@pytest.fixture
def second_teacher(tmp_path: Path, own_cache: Path) -> Path:
    run(toy.configured(tmp_path / "second.yaml", toy.PLAIN, seed=3, train={"epochs": 1}))
    return tmp_path / "second"


def test_answers_of_several_and_of_a_specialist(
    tmp_path: Path, toy_teacher: Path, second_teacher: Path
) -> None:
    runs = [{"run": str(toy_teacher)}, {"run": str(second_teacher)}]
    alone = [
        toy.experiment(tmp_path / f"{i}.yaml", toy.DISTILLED, teacher=node).teacher_logits(
            "train", VIEWS
        )
        for i, node in enumerate(runs)
    ]
    node = {"name": "multi_teacher", "teachers": runs, "specialists": {"image": runs[1]}}
    made = toy.experiment(tmp_path / "x.yaml", toy.DISTILLED, teacher=node)
    found = made.teacher_logits("train", VIEWS)
    assert list(found) == VIEWS
    for view in ("multimodal", "text"):
        torch.testing.assert_close(found[view], (alone[0][view] + alone[1][view]) / 2)
    torch.testing.assert_close(found["image"], alone[1]["image"])
    results = run(toy.configured(tmp_path / "x.yaml", toy.DISTILLED, teacher=node))
    assert set(results["splits"]["test"]["teacher"]) == {"multimodal", "text", "image"}
    one, both = (
        sum(p.numel() for p in m.model.parameters())
        for m in (made.teachers.models["teachers.0"], made.teachers.models["teachers.1"])
    )
    assert results["cost"]["teacher"]["parameters"] == one + 2 * both
    held = json.loads((tmp_path / "x" / "inputs.json").read_text())["teacher"]
    assert len(held) == 6


class Surest(nn.Module):
    """Of two teachers the larger logit of each class: of a plugin, without a base."""

    def __init__(self, *, left: Any, right: Any) -> None:
        super().__init__()

    @staticmethod
    def combined(node: dict[str, Any]) -> dict[str, Any]:
        return {"left": node["left"], "right": node["right"]}

    def forward(self, answers: Any, task: Any) -> torch.Tensor:
        return torch.maximum(*answers)


def test_a_plugin_may_make_one_teacher_of_several(
    tmp_path: Path, toy_teacher: Path, second_teacher: Path
) -> None:
    runs = {"left": {"run": str(toy_teacher)}, "right": {"run": str(second_teacher)}}
    with plugins_forgotten():
        MODELS.register("surest_x")(Surest)
        made, *alone = (
            toy.experiment(tmp_path / "x.yaml", toy.DISTILLED, teacher=node).teacher_logits(
                "val", VIEWS
            )
            for node in ({"name": "surest_x", **runs}, *runs.values())
        )
    for view in VIEWS:
        torch.testing.assert_close(made[view], torch.maximum(alone[0][view], alone[1][view]))


def write_jsonl(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    for split, count in (("train", 24), ("val", 9), ("test", 9)):
        rows = [
            {"id": f"{split}{i}", "text": f"word{i % 3} a", "more": f"hint{i % 3}", "label": i % 3}
            for i in range(count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return {"name": "jsonl", "folder": str(folder), "label": "label", "labels": ["0", "1", "2"]}


def test_a_specialist_may_know_its_modality_alone(tmp_path: Path, own_cache: Path) -> None:
    both, text = {"text": "text", "more": "more"}, {"text": "text"}
    data = write_jsonl(tmp_path / "data")
    plain = {"student": toy.MODEL, "train": {**toy.TRAIN, "epochs": 1}}
    for name, modalities in (("whole", both), ("alone", text)):
        node = {**data, "modalities": modalities}
        run(toy.configured(tmp_path / f"{name}.yaml", {**plain, "dataset": node}))
    teacher = {
        "name": "multi_teacher",
        "teachers": [str(tmp_path / "whole.yaml")],
        "specialists": {"text": {"run": str(tmp_path / "alone")}},
    }
    settings = {**plain, "dataset": {**data, "modalities": both}, "distill": ["kd"]}
    made = toy.experiment(tmp_path / "x.yaml", settings, teacher=teacher)
    found = made.teacher_logits("val", default_views(["text", "more"]))
    one = {**plain, "dataset": {**data, "modalities": text}}
    alone = toy.experiment(tmp_path / "alone.yaml", one)
    alone.use_saved_student()
    logits, _ = alone.evaluate(alone.split("val"))
    torch.testing.assert_close(found["text"], logits["multimodal"])
    assert run(toy.configured(tmp_path / "x.yaml", settings, teacher=teacher))["steps"] == 3


def test_a_teachers_config_that_cannot_be_read_is_told_before_training(
    tmp_path: Path, second_teacher: Path
) -> None:
    saved = second_teacher / "config.yaml"
    saved.write_text(saved.read_text().replace("warmup", "warm_up"))
    config = toy.configured(
        tmp_path / "x.yaml", toy.DISTILLED, teacher={"run": str(second_teacher)}
    )
    with pytest.raises(ConfigError, match="warm_up"):
        run(config)
    assert not (tmp_path / "x").exists()


def test_an_assistant_chain_is_two_configs(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    assistant = toy.configured(
        tmp_path / "assistant.yaml", toy.DISTILLED, teacher={"run": str(toy_teacher)}
    )
    run(assistant)
    student = toy.configured(tmp_path / "s.yaml", toy.DISTILLED, teacher="assistant.yaml")
    results = run(student)
    theirs = json.loads((tmp_path / "assistant" / "results.json").read_text())["splits"]
    mine = results["splits"]["test"]["teacher"]["multimodal"]
    assert mine == pytest.approx(theirs["test"]["student"]["multimodal"])


@pytest.mark.parametrize(
    ("chosen", "layers"),
    [("first", [0, 1]), ("uniform", [0, 3]), ([2, 1], [2, 1])],
)
def test_a_student_from_a_teachers_layers(
    tmp_path: Path, own_cache: Path, chosen: Any, layers: list[int]
) -> None:
    node = {**toy.MODEL, "layers": 4}
    run(toy.configured(tmp_path / "deep.yaml", toy.PLAIN, student=node, train={"epochs": 1}))
    made = toy.experiment(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        teacher={"run": str(tmp_path / "deep")},
        student={**toy.MODEL, "layers": 2, "init": {"teacher_layers": chosen}},
    )
    student, teacher = made.student.model, made.teacher.model  # type: ignore[union-attr]
    for layer, number in zip(student.encoder_layers, layers, strict=True):
        theirs = teacher.encoder_layers[number].state_dict()
        assert all(torch.equal(x, theirs[name]) for name, x in layer.state_dict().items())


def test_many_classes_that_differ_are_not_all_listed() -> None:
    """The first that differs says enough of 800 answers."""
    names = [f"answer{i}" for i in range(800)]
    told = teachers._unlike([*names[:7], "other", *names[8:]], names)
    assert told == (
        "(800) are not those of the data set (800), in this order; number 8 is 'other' there and "
        "'answer7' here"
    )
    assert teachers._unlike(names[:30], names[:31]).endswith("is none there and 'answer30' here")


def test_how_the_teacher_was_trained_is_told(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    dropped = {**toy.TRAIN, "epochs": 1, "modality_dropout": {"text": 0.2, "image": 0.0}}
    run(toy.configured(tmp_path / "t.yaml", toy.PLAIN, train=dropped))
    found = []
    for i, folder in enumerate((toy_teacher, tmp_path / "t")):
        config = toy.configured(tmp_path / f"{i}.yaml", toy.DISTILLED, teacher={"run": str(folder)})
        run(config)
        found += json.loads((tmp_path / str(i) / "results.json").read_text())["teachers"]
    assert "trained for 2 epochs, without modality dropout, seed 0" in found[0]
    assert "trained for 1 epochs, modality dropout text 0.2, seed 0" in found[1]
