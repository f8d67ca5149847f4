"""What is said of teachers that know nothing: random ones, and views at chance."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import nn

from msdkit.models.base import Model
from msdkit.registry import DATASETS, MODELS
from msdkit.report import write_report
from msdkit.runs.new_model import drawn
from msdkit.runs.runner import run
from msdkit.types import Example, ModelOutput

pytestmark = pytest.mark.usefixtures("own_cache")
RANDOM = "its answers are random"


class Loading(Model):
    """It loads weights by its own code, all of them, or all but those of its head."""

    def __init__(
        self, modalities: Any, num_classes: int, masking: Any = None, *, head: bool = True
    ) -> None:
        super().__init__(modalities, num_classes, masking)
        self.body, self.head = nn.Linear(8, 4), nn.Linear(4, num_classes)
        self.unused = nn.Linear(2, 2)  # random, and read by no answer
        draws = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for part in [self.body, *([self.head] if head else [])]:
                part.weight.copy_(torch.randn(part.weight.shape, generator=draws))
                part.bias.zero_()

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        """{modality: [B, L(, 8)]} -> logits [B, C]"""
        if "image" not in inputs:
            return ModelOutput(self.head.bias.expand(len(inputs["text"].mask), -1))
        values, mask = inputs["image"]
        return ModelOutput(self.head((self.body(values) * mask[..., None]).sum(1)))


class NoWeights(Model):
    """Answers by a rule; there is nothing to load."""

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        """{modality: [B, L(, 8)]} -> logits [B, C]"""
        seen = next(iter(inputs.values())).mask
        rows = inputs["image"].values.sum(1) if "image" in inputs else seen.float()[:, :1] * 0
        return ModelOutput(rows[:, :1].expand(-1, self.num_classes) * torch.tensor([1.0, 0, -1]))


def said_of(teacher: dict[str, Any], tmp_path: Path, capsys: Any) -> str:
    changes = {"teacher": teacher, "distill": ["kl"]}
    toy.experiment(tmp_path / "x.yaml", toy.PLAIN, changes).teachers  # noqa: B018
    return " ".join(capsys.readouterr().err.split())


def test_a_teacher_that_loads_its_weights_itself_is_not_called_random(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    MODELS.register("loading")(Loading)
    MODELS.register("no_weights")(NoWeights)
    assert RANDOM not in said_of({"name": "loading"}, tmp_path, capsys)
    assert RANDOM not in said_of({"name": "no_weights"}, tmp_path, capsys)
    assert RANDOM in said_of({"name": "loading", "head": False}, tmp_path, capsys)
    assert f"teacher is new, at least in part, so {RANDOM}" in said_of(toy.MODEL, tmp_path, capsys)


def test_asking_leaves_the_random_numbers_as_they_were(tmp_path: Path) -> None:
    """The student begins as it would beside a teacher of whom nothing is asked."""
    one = toy.experiment(tmp_path / "x.yaml", toy.PLAIN)
    student, before = one.student, torch.get_rng_state()
    assert drawn(student, one.raw("train"))
    assert torch.equal(torch.get_rng_state(), before)


class OneTells:
    """The image tells the class and the text tells nothing; "a" is the most frequent class."""

    modalities = toy.Toy.modalities
    task = "single_label"
    label_names = toy.Toy.label_names

    def __init__(self, split: str) -> None:
        self.toy = toy.Toy(split, n=60)

    def __len__(self) -> int:
        return len(self.toy)

    def __getitem__(self, index: int) -> Example:
        found = self.toy[index]
        label = max(0, index % 5 - 2)  # a a a b c
        rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(index)).numpy() / 10
        rows[:, label] += 5
        return Example(found.id, {"text": "the same", "image": rows}, label)


def test_a_view_that_the_teacher_knows_nothing_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DATASETS.register("one_tells")(OneTells)
    data = {"dataset": {"name": "one_tells"}, "train": {"epochs": 6, "max_steps": 60, "lr": 1e-2}}
    run(toy.configured(tmp_path / "teacher.yaml", toy.PLAIN, data))
    capsys.readouterr()
    changes = {"teacher": {"run": str(tmp_path / "teacher")}, "distill": ["kl"]}
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, data, changes))
    said = " ".join(capsys.readouterr().err.split())
    lines = [line for line in said.split("warning: ") if "constant" in line]
    assert len(lines) == 1
    wanted = (
        r"on val the teacher's accuracy for view 'text' is 0\.\d{3}, no better than .*'s 0\.600"
    )
    assert re.match(wanted, lines[0])
    page = write_report([tmp_path / "x"], tmp_path / "x.html").read_text(encoding="utf-8")
    assert "view text, accuracy no better than a constant" in page


def test_two_steps_of_a_trial_are_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"teacher": toy.MODEL, "distill": ["kl"], "run_dir": str(tmp_path / "x")}
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, changes), tiny=True)
    assert "constant" not in capsys.readouterr().err
