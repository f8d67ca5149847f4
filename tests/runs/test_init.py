"""`init: {folder: …}`: a model that begins with the weights of another program's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy
import transformers

SPECIAL = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}


def visual_bert(folder: Path, names: list[str]) -> Any:
    """A trained classifier of these classes, as transformers saves it."""
    config = transformers.VisualBertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        visual_embedding_dim=8,
        id2label=dict(enumerate(names)),
    )
    made = transformers.VisualBertForVisualReasoning(config)
    made.save_pretrained(folder)
    return made


def test_a_head_follows_the_names_of_the_data_sets_classes(tmp_path: Path, own_cache: Path) -> None:
    theirs = visual_bert(tmp_path / "there", ["c", "a", "b"])
    file = tmp_path / "there" / "model.safetensors"
    node = {"name": "visual_bert", "init": {"folder": str(file)}, **SPECIAL}
    with pytest.warns(UserWarning, match="3 of its head's 3 rows are taken by name"):
        made = toy.experiment(tmp_path / "x.yaml", toy.PLAIN, student=node).student.model
    assert made.width == 8
    assert made.encoder_layers[0].attention.self.num_attention_heads == 2
    assert torch.equal(made.head.weight, theirs.cls.weight[[1, 2, 0]])
    assert torch.equal(made.head.bias, theirs.cls.bias[[1, 2, 0]])


def test_a_plugin_begins_with_lightnings_file(tmp_path: Path, own_cache: Path) -> None:
    first = toy.experiment(tmp_path / "x.yaml", toy.PLAIN, student={"name": "toy_tied"})
    expected = {n: v + 1 for n, v in first.student.model.state_dict().items()}
    state = {f"net._orig_mod.{n}": v for n, v in expected.items()}
    torch.save({"state_dict": state, "hyper_parameters": {"at": tmp_path}}, tmp_path / "x.ckpt")
    node = {"name": "toy_tied", "init": {"folder": str(tmp_path / "x.ckpt")}}
    again = toy.experiment(tmp_path / "y.yaml", toy.PLAIN, student=node).student.model
    assert toy.equal(again.state_dict(), expected)
