"""Trees of tensors come back as they were; damaged files are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from msdkit.errors import DataError
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
