"""Files of weights that run code, are damaged or hold something else are refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from msdkit.errors import DataError
from msdkit.models.visual_bert import VisualBert
from msdkit.models.weights import read_weights


class Hostile:
    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("what", "name"),
    [
        ((print, ("pwned",)), "print"),
        ((eval, ("1 + 1",)), "eval"),
        ((getattr, ([], "append")), "getattr"),
        ((__import__("os").system, ("touch pwned",)), r"\w+\.system"),
        ((OmegaConf.create, ({},)), r"\S+"),
    ],
)
def test_pickles_that_want_to_run_code_are_refused(tmp_path, what, name, zipped, capsys):
    path = tmp_path / "model.pth"
    state = {"model": {"w": torch.ones(2)}, "config": Hostile(what)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    message = rf"model\.pth is a pickle that asks for '{name}', .*[Cc]onvert it where it was made"
    with pytest.raises(DataError, match=message) as caught:
        read_weights(tmp_path)
    assert "\n" not in str(caught.value)
    assert "pwned" not in capsys.readouterr().out


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"w": torch.ones(100)}, path)
    whole = path.read_bytes()
    for content in (b"", whole[:300], whole[:-30], b"PK\x03\x04" + bytes(50), pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"model\.pth cannot be read .* damaged or cut off"):
            read_weights(path)
    for state, message in (
        ([torch.ones(1)], "holds list; accepted: named tensors"),
        ({}, "holds nothing; accepted: named tensors"),
        ({"w": torch.ones(1), "epoch": 3}, "entry 'epoch' is a int; accepted: tensors"),
        ({"model": {3: torch.ones(1)}}, "entry 3 is a Tensor; accepted"),
    ):
        torch.save(state, path)
        with pytest.raises(DataError, match=message):
            read_weights(path)


def test_a_folder_must_hold_one_checkpoint(tmp_path):
    with pytest.raises(DataError, match=r"holds no weights; accepted: model\.safetensors, "):
        VisualBert.parameters_from(tmp_path)
    for name in ("a.pt", "b.th"):
        torch.save({"w": torch.ones(1)}, tmp_path / name)
    with pytest.raises(DataError, match=r"several checkpoints \(a\.pt, b\.th\); name one file"):
        read_weights(tmp_path)
    assert read_weights(tmp_path / "a.pt")["w"] == 1
    save_file({"w": torch.full((1,), 2.0)}, tmp_path / "model.safetensors")
    assert read_weights(tmp_path)["w"] == 2
