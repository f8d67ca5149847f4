"""Modalities called as torch's modules cannot be, from check to predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plugins import plugins_forgotten
from torch import nn

from msdkit.config.files import RawConfig
from msdkit.config.validation import validate
from msdkit.errors import ConfigError
from msdkit.models.base import Model
from msdkit.registry import MODELS
from msdkit.runs.evaluate import evaluate, predict_file
from msdkit.runs.experiment import Experiment
from msdkit.runs.runner import run


class ByModality(Model):
    """Keeps its parts by the modalities' names, as anyone would."""

    def __init__(self, modalities: Any, num_classes: int, masking: Any = None) -> None:
        super().__init__(modalities, num_classes, masking)
        self.parts = nn.ModuleDict({name: nn.Linear(1, 1) for name in modalities})


def config_of(folder: Path, *names: str, **student: Any) -> Any:
    for split in ("train", "val", "test"):
        rows = [{"a": f"word {i % 3}", "label": "yes" if i % 2 else "no"} for i in range(8)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    fields = {name: {"column": "a", "type": "text"} for name in names}
    words = {"name": "words", "vocab_size": 10}
    size = {"name": "fusion_transformer", "hidden": 8, "layers": 1, "heads": 2}
    values = {
        "dataset": {"name": "jsonl", "folder": str(folder), "modalities": fields},
        "student": {**(student or size), "processors": dict.fromkeys(names, words)},
        "masking": {"name": "mask_token"} if not student else {"name": "drop"},
        "train": {"max_steps": 1, "batch_size": 4, "modality_dropout": {names[0]: 0.1}},
        "run_dir": str(folder / "run"),
    }
    return validate(RawConfig(values, [])).require()


def test_any_name_works_throughout(tmp_path: Path) -> None:
    names = ("audio.mel", "type", "a/b + c")
    results = run(config_of(tmp_path, *names))
    assert list(results["splits"]["test"]["student"]) == ["multimodal", *names]
    scores = evaluate(tmp_path / "run", "test", ["without_audio.mel", "a/b + c"])
    assert list(scores) == ["multimodal", "without_audio.mel", "a/b + c"]
    lines = predict_file(tmp_path / "run", tmp_path / "test.jsonl", ["audio.mel"])
    assert len(lines) == 8


def test_a_model_that_cannot_hold_a_name_is_told_of(tmp_path: Path) -> None:
    told = r"no place for a modality called 'audio\.mel' .*Named"
    with plugins_forgotten():
        MODELS.register("by_modality")(ByModality)
        config = config_of(tmp_path, "text", "audio.mel", name="by_modality")
        with pytest.raises(ConfigError, match=told):
            _ = Experiment(config).student
