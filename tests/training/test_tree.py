"""Trees of tensors come back as they were; folders are whole whenever a kill comes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from msdkit.errors import DataError
from msdkit.io.files import recover_folder, replace_folder, whole_folder, write_text
from msdkit.training.seeding import rng_state, seed_everything, set_rng_state
from msdkit.training.tree import load_tree, save_tree


def test_a_tree_comes_back(tmp_path: Path) -> None:
    tree = {
        "weights": {"a": torch.randn(2, 3), 7: torch.arange(4), "empty": torch.empty(0)},
        "list": [1, 2.5, None, True, "text", [torch.tensor(3.0)]],
        "best": float("-inf"),
    }
    save_tree(tmp_path / "x.safetensors", tree)
    back = load_tree(tmp_path / "x.safetensors")
    assert torch.equal(back["weights"]["a"], tree["weights"]["a"])  # type: ignore[index]
    assert list(back["weights"]) == ["a", 7, "empty"]  # integers stay integers
    assert back["weights"][7].dtype == torch.int64
    assert back["list"][:5] == [1, 2.5, None, True, "text"]
    assert back["list"][5][0] == 3
    assert back["best"] == float("-inf")
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    values = torch.arange(6.0)
    save_tree(tmp_path / "x.safetensors", {"a": values, "b": values[2:], "c": values})
    assert load_tree(tmp_path / "x.safetensors")["b"].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.safetensors"
    save_tree(path, {"a": torch.ones(100)})
    data = path.read_bytes()
    changed = {"cut": data[:-7], "flipped": b"\xff" * 9 + data[9:], "foreign": b"PK\x03\x04 pickle"}
    path.unlink()
    if damage in changed:
        path.write_bytes(changed[damage])
    with pytest.raises(DataError, match=r"x\.safetensors is not one of msdkit's, or is damaged"):
        load_tree(path)


class Killed(BaseException):
    """A kill between two changes of the disk."""


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_while_a_folder_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    for name in ("best", ".best.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    changes = _kill_at(monkeypatch, moment)
    with pytest.raises(Killed):
        replace_folder(tmp_path / ".best.partial", tmp_path / "best")
    monkeypatch.undo()
    assert len(changes) == moment
    held = (whole_folder(tmp_path / "best") / "file").read_text()
    assert held == (".best.partial" if moment == 3 else "best")
    recover_folder(tmp_path / "best")
    assert (tmp_path / "best" / "file").read_text() == held
    assert [p.name for p in tmp_path.iterdir()] == ["best"]


def _kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Stop before the change number `moment` of the disk; the list grows with the changes."""
    done: list[str] = []

    def counted(name: str, change: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if len(done) == moment:
                raise Killed
            done.append(name)
            return change(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(shutil, "rmtree", counted("rmtree", shutil.rmtree))
    monkeypatch.setattr(Path, "rename", counted("rename", Path.rename))
    return done


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "x.json", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "new" / "x.json", "new \ud800")
    assert (tmp_path / "new" / "x.json").read_text() == "old"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.json"]


def test_every_generator_goes_on(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [torch.rand(1).item(), np.random.rand(), random.random(), np.random.normal()]

    seed_everything(3)
    draw()
    save_tree(tmp_path / "x.safetensors", rng_state())
    expected = [draw(), draw()]
    seed_everything(4)
    set_rng_state(load_tree(tmp_path / "x.safetensors"))
    assert [draw(), draw()] == expected
