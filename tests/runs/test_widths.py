"""Losses on features are told how wide these are: what a model says of itself must be so."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
import transformers
from dual_encoders import clip, words
from PIL import Image

import msdkit
from msdkit.errors import ConfigError
from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.registry import MODELS
from msdkit.runs.runner import run

FITNET: dict[str, Any] = {**toy.PLAIN, "distill": ["fitnet"]}


class Boastful(FusionTransformer):
    """Says that its features are twice as wide as they are."""

    def __init__(self, modalities: Any, num_classes: int, masking: Any = None) -> None:
        super().__init__(modalities, num_classes, masking, hidden=16, layers=1, heads=2)
        self.width *= 2


@pytest.fixture(autouse=True)
def _boastful(own_cache: Any) -> None:
    MODELS.register("boastful_x")(Boastful)


BOASTFUL = {"name": "boastful_x"}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_wrong_width_is_told_before_anything_is_written(
    tmp_path: Path, who: str, cached: bool
) -> None:
    given = {"teacher": toy.MODEL, who: BOASTFUL}
    train = {**toy.TRAIN, "teacher_cache": cached}
    config = toy.configured(tmp_path / "x.yaml", FITNET, {**given, "train": train})
    message = rf"{who}: Boastful says width = 32 and gives 'pooled' 16 wide"
    with pytest.raises(ConfigError, match=message):
        run(config)
    assert not (tmp_path / "x").exists()


def test_losses_that_are_not_told_the_width_do_not_mind(tmp_path: Path) -> None:
    given = {"teacher": toy.MODEL, "student": BOASTFUL, "distill": ["rkd"]}
    run(toy.configured(tmp_path / "x.yaml", FITNET, given))


@pytest.fixture
def pictured(tmp_path: Path) -> Path:
    """A data set of words with pictures, and the folder of a CLIP."""
    (tmp_path / "clip").mkdir()
    clip(tmp_path / "clip", eos_token_id=6, bos_token_id=5)
    words(tmp_path / "clip")
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    transformers.CLIPImageProcessor(**sizes).save_pretrained(tmp_path / "clip")
    for split in ("train", "val", "test"):
        lines = []
        for i in range(8):
            level = 257 * 30 * i
            name = f"{split}{i}.png"
            Image.fromarray(np.full((20, 20), level, np.uint16)).save(tmp_path / name)
            row = {"id": str(i), "text": "a b"[: 1 + 2 * (i % 2)], "image": name, "label": i % 2}
            lines.append(json.dumps({**row, "label": str(row["label"])}) + "\n")
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    return tmp_path


def test_clip_fusion_is_distilled_by_its_features_in_both_roles(
    pictured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictured)
    read = {"text": {"name": "tokenizer", "file": "clip"}, "image": {"name": "pixels"}}
    read["image"]["folder"] = "clip"
    model = {"name": "clip_fusion", "init": {"folder": "clip"}, "processors": read}
    values = {
        "dataset": {"name": "jsonl", "folder": ".", "modalities": {"text": "text"}},
        "teacher": {**model, "hidden": 20},
        "student": {**model, "hidden": 12},
        "distill": ["fitnet"],
        "train": {"epochs": 1, "batch_size": 4},
        "run_dir": "run",
    }
    values["dataset"]["modalities"]["image"] = "image"
    path = toy.write(pictured / "x.yaml", values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heads are new
        results = msdkit.run(msdkit.validate(msdkit.load_raw([str(path)])).require())
    assert results["steps"] == 2
    assert set(results["splits"]["test"]["student"]) == {"multimodal", "text", "image"}
