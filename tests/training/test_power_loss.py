"""After a loss of power at any moment of a save, the old checkpoint or the new one is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import power
import pytest
import torch

from msdkit.errors import DataError
from msdkit.io.arrays import save_arrays
from msdkit.io.files import whole_folder, write_text
from msdkit.io.seals import check, write_sealed
from msdkit.training.checkpoint import TrainingState


class Part:
    def __init__(self, value: float = 0.0) -> None:
        self.value = torch.tensor(value)

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def saving(folder: Path, value: float) -> TrainingState:
    def save_model(place: Path) -> None:
        save_arrays(place / "model.safetensors", {"x": np.full(3, value)})
        write_text(place / "model.json", str(value))

    return TrainingState(folder, save_model, {"part": Part(value)})


def found(folder: Path) -> float:
    state = saving(folder, -1.0)
    state.restore()
    return float(state.parts["part"].value)


@pytest.mark.parametrize("before", [True, False])
def test_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    root = tmp_path / "run"
    root.mkdir()
    if before:
        saving(root, 1.0).save_last()
        saving(root, 1.0).save_best()
    disk = power.Disk(root)
    with disk.watched(monkeypatch):
        saving(root, 2.0).save_last()
        saving(root, 2.0).save_best()
    disk.close()
    assert len(disk.states) > 20
    old, last, best = (1.0 if before else -1.0), list[float](), list[float]()
    for i, state in enumerate(disk.states):
        folder = power.restored(state, tmp_path / f"back{i}")
        there = whole_folder(folder / "best") / "model.json"
        if before or there.exists():
            check(there)
            best.append(float(there.read_text()))
        last.append(found(folder))
    assert {*last} == {old, 2.0}
    assert {*best} == ({1.0, 2.0} if before else {2.0})
    assert last[-1] == best[-1] == 2.0  # what is said to be saved is there


def test_a_file_with_a_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "run"
    write_sealed(root / "results.json", "old")
    disk, texts = power.Disk(root), list[str]()
    with disk.watched(monkeypatch):
        write_sealed(root / "results.json", "new")
        write_sealed(root / "results.json", "newer")
    disk.close()
    for i, state in enumerate(disk.states):
        folder = power.restored(state, tmp_path / f"back{i}")
        check(folder / "results.json")
        texts.append((folder / "results.json").read_text())
    assert list(dict.fromkeys(texts[::2])) == ["old", "new", "newer"]
    assert texts[-1] == "newer"


def test_without_waiting_for_the_disk_a_checkpoint_would_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulated disk loses what it should."""
    saving(tmp_path / "run", 1.0).save_last()
    disk = power.Disk(tmp_path / "run")
    with disk.watched(monkeypatch):
        monkeypatch.setattr("msdkit.io.files.sync", lambda path: None)
        saving(tmp_path / "run", 2.0).save_last()
    disk.close()
    with pytest.raises(DataError, match="damaged"):
        found(power.restored(disk.states[-1], tmp_path / "back"))
