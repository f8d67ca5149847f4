"""One file and one config outside the repository add a data set, a loss and a weighting."""

from __future__ import annotations

import json
from pathlib import Path

import forked
import pytest
import toy

PLUGIN = '''
"""Short sounds with captions and pictures."""

import numpy as np
import torch
from torch import nn

from msdkit.registry import DATASETS, LOSSES, WEIGHTINGS
from msdkit.types import Example, Modality


@DATASETS.register("sounds")
class Sounds:
    """Three modalities; the third is float [L, D] of any length."""

    modalities = {
        "text": "text",
        "image": Modality("features", 8),
        "audio": Modality("features", 6),
    }
    task = "single_label"
    label_names = ["bark", "meow"]

    def __init__(self, split, *, size: int = 24):
        self.split, self.size = split, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        draw = np.random.default_rng([index, len(self.split)])
        label = int(draw.integers(2))
        image = draw.normal(size=(4, 8)).astype("float32")
        audio = draw.normal(size=(int(draw.integers(1, 9)), 6)) + label
        raw = {"text": f"sound {label}", "image": image, "audio": audio}
        return Example(f"{self.split}-{index}", raw, label)


@LOSSES.register("squared_difference")
class SquaredDifference(nn.Module):
    """The mean squared difference of the logits."""

    def __init__(self, *, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, student, teacher, labels):
        return self.scale * (student.logits - teacher.logits).square().mean(-1)


@WEIGHTINGS.register("confidence")
class Confidence(nn.Module):
    """The teacher's highest probability."""

    def forward(self, inputs):
        best = [inputs.teacher_logits[v].softmax(-1).amax(-1) for v in inputs.views]
        return torch.stack(best, dim=1)
'''
TEACHER = """
plugins: sounds.py
dataset: {name: sounds}
student: {name: fusion_transformer, hidden: 16, layers: 1, heads: 2}
train: {epochs: 1, batch_size: 8, lr: 3.0e-3, modality_dropout: 0.1}
"""
STUDENT = """
base: teacher.yaml
teacher: teacher.yaml
student: {hidden: 8}
distill:
  - {name: squared_difference, scale: 0.5}
  - {name: kl, temperature: 2.0, views: [multimodal, without_audio]}
weighting: confidence
evaluate: {views: [text, image, audio, without_audio]}
"""
VIEWS = ["multimodal", "text", "image", "audio"]


@pytest.mark.usefixtures("own_cache")
def test_a_plugin_trains_without_a_change_to_msdkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student in a process of its own, which has seen nothing of the plugin before."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "sounds.py").write_text(PLUGIN)
    (home / "teacher.yaml").write_text(TEACHER)
    (home / "student.yaml").write_text(STUDENT)
    monkeypatch.chdir(tmp_path)
    assert toy.main("config=elsewhere/teacher.yaml") == 0
    student = ["config=elsewhere/student.yaml"]
    assert forked.ended(forked.program, student, tmp_path / "cache", tmp_path) == 0
    runs = tmp_path / "runs" / "sounds"
    teacher, student = (
        json.loads((runs / name / "seed0" / "results.json").read_text())
        for name in ("teacher", "student")
    )
    assert list(teacher["splits"]["test"]["student"]) == VIEWS
    found = student["splits"]["test"]
    assert list(found["student"]) == list(found["teacher"]) == [*VIEWS, "without_audio"]
    logged = toy.log(runs / "student" / "seed0")
    line = next(row for row in logged if row["split"] == "train")
    assert line["distill/squared_difference/audio"] > 0
    assert line["distill/kl/audio"] == 0
    assert 0.5 <= line["weight/without_audio"] <= 1
