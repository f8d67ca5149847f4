"""Runs know data, stores and plugins by their content: a swap is told, a move is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from plugins import plugins_forgotten
from shades import SHADES, paint, swap, write_shades

from msdkit import write_report
from msdkit.config.schema import ExperimentConfig
from msdkit.data.raw import _ByPath
from msdkit.errors import ConfigError
from msdkit.runs.evaluate import evaluate
from msdkit.runs.experiment import Experiment
from msdkit.runs.runner import run
from msdkit.store.writer import FeatureStoreWriter

PATCHES = {"name": "patches", "size": 8, "patch": 8}
Configured = Callable[..., ExperimentConfig]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_shades(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def configured(
    tmp_path: Path, own_cache: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> Configured:
    """configured({what to change}) -> a run on the shades in data/, in `tmp_path/x`."""
    modalities = {"image": "image"}
    base = {
        "dataset": {"name": "jsonl", "folder": str(data), "modalities": modalities},
        "student": {**toy.MODEL, "processors": {"image": PATCHES}},
        "train": {**toy.TRAIN, "epochs": 6, "batch_size": 2, "lr": 1e-2},
    }
    return lambda *changes: toy.configured(tmp_path / "x.yaml", base, *changes)


def killed(config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stops in its second half."""
    from msdkit.training.trainer import Trainer

    whole: Any = Trainer.train_step

    def train_step(self: Any, batches: Any) -> Any:
        if self.step == 13:
            raise KeyboardInterrupt
        return whole(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        with pytest.raises(KeyboardInterrupt):
            run(config)


def store(folder: Path, scale: float = 1.0) -> Path:
    """Features of the two labels."""
    with FeatureStoreWriter(folder, dim=2) as writer:
        for name, row in zip(SHADES, np.eye(2, dtype=np.float32), strict=True):
            writer.add(name, scale * row[None])
    return folder


def test_evaluation_sees_a_swap_that_keeps_size_and_time(
    configured: Configured, data: Path, tmp_path: Path
) -> None:
    run(configured())
    assert evaluate(tmp_path / "x", "test")["multimodal"]["accuracy"] == 1.0
    for i in range(0, 8, 2):
        swap(data / f"test{i}.bmp", data / f"test{i + 1}.bmp")
    assert evaluate(tmp_path / "x", "test")["multimodal"]["accuracy"] == 0.0


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_picture_replaced_after_a_kill_is_told(
    configured: Configured, data: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(configured(), monkeypatch)
    swap(data / f"{split}0.bmp", data / f"{split}1.bmp")
    with pytest.raises(ConfigError, match="its data changed since the run began"):
        run(configured())
    swap(data / f"{split}0.bmp", data / f"{split}1.bmp")
    assert run(configured())["steps"] == 24


@pytest.mark.parametrize("how", ["copied", "moved", "linked"])
def test_a_run_goes_on_where_its_data_lie_now(
    configured: Configured, data: Path, tmp_path: Path, how: str, monkeypatch: Any
) -> None:
    killed(configured(), monkeypatch)
    other = tmp_path / "elsewhere"
    if how == "copied":
        shutil.copytree(data, other)
        shutil.rmtree(data)
    else:
        shutil.move(data, other)
    if how == "linked":
        data.symlink_to(other)
    before = sorted((tmp_path / "cache" / "processed").iterdir())
    folder = data if how == "linked" else other
    assert run(configured({"dataset": {"folder": str(folder)}}))["steps"] == 24
    assert sorted((tmp_path / "cache" / "processed").iterdir()) == before
    assert evaluate(tmp_path / "x", "test")["multimodal"]["accuracy"] == 1.0, "its config follows"


def test_a_run_goes_on_with_another_cache(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(configured(), monkeypatch)
    shutil.move(tmp_path / "cache", tmp_path / "moved")
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "moved"))
    before = sorted((tmp_path / "moved" / "processed").iterdir())
    assert run(configured())["steps"] == 24
    assert sorted((tmp_path / "moved" / "processed").iterdir()) == before


def test_other_data_in_another_folder_are_other_data(
    configured: Configured, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(configured(), monkeypatch)
    shutil.copytree(data, tmp_path / "other")
    paint(tmp_path / "other" / "val0.bmp", "white")
    with pytest.raises(ConfigError, match="its data changed since the run began"):
        run(configured({"dataset": {"folder": str(tmp_path / "other")}}))
    with pytest.raises(ConfigError, match=r"another config \(dataset.label: None there, 'image'"):
        run(configured({"dataset": {"label": "image"}}))


def test_a_store_is_known_by_its_content(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored(folder: Path) -> ExperimentConfig:
        features = {"name": "features", "store": str(folder)}
        columns = {"image": {"column": "label", "type": "features"}}
        processors = {"processors": {"image": features}}
        return configured({"dataset": {"modalities": columns}, "student": processors})

    killed(stored(store(tmp_path / "store")), monkeypatch)
    before = Experiment(stored(tmp_path / "store")).inputs("train").fingerprint
    (tmp_path / "store").rename(tmp_path / "moved")
    assert Experiment(stored(tmp_path / "moved")).inputs("train").fingerprint == before
    store(tmp_path / "store", scale=2.0)
    with pytest.raises(ConfigError, match="its processors changed since the run began"):
        run(stored(tmp_path / "store"))
    assert run(stored(tmp_path / "moved"))["steps"] == 24


def test_a_plugin_may_move(configured: Configured, tmp_path: Path, monkeypatch: Any) -> None:
    plugin = """
from msdkit.processors.image import Patches
from msdkit.registry import PROCESSORS

@PROCESSORS.register("mine")
class Mine(Patches):
    pass
"""

    def plugged(name: str) -> ExperimentConfig:
        mine = {"processors": {"image": {**PATCHES, "name": "mine"}}}
        (tmp_path / name).write_text(plugin)
        return configured({"plugins": [str(tmp_path / name)], "student": mine})

    with plugins_forgotten():
        killed(plugged("one.py"), monkeypatch)
    before = sorted((tmp_path / "cache" / "processed").iterdir())
    (tmp_path / "one.py").unlink()
    assert run(plugged("two.py"))["steps"] == 24
    assert sorted((tmp_path / "cache" / "processed").iterdir()) == before
    assert evaluate(tmp_path / "x", "test")["multimodal"]["accuracy"] == 1.0


def test_a_run_of_before_goes_on_and_is_noted_anew(
    configured: Configured, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before, data were noted by paths and processors not at all."""
    killed(configured(), monkeypatch)
    path = tmp_path / "x" / "inputs.json"
    new, experiment = json.loads(path.read_text()), Experiment(configured())
    raws = {split: experiment.raw(split) for split in new["data"]}
    data = {s: _ByPath(raw.dataset, s, raw.task)._noted for s, raw in raws.items()}
    old = json.dumps({"data": data, "teacher": []})
    assert not set(data.values()) & set(new["data"].values())
    path.write_text(old)
    (tmp_path / "x" / "checksums.json").unlink()  # as of an earlier version
    run(configured())
    assert json.loads(path.read_text()) == new
    path.write_text(old)
    (tmp_path / "x" / "checksums.json").unlink()
    write_report([str(tmp_path / "x")], tmp_path / "x.html")
    assert "not shown" not in "".join(capsys.readouterr())
