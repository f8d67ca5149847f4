"""Published checkpoints of VisualBERT: their formats, names and heads."""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from visual_bert_files import (
    SIZE,
    VIEWS,
    batch,
    found,
    loaded,
    model,
    renamed,
    same_weights,
)

from msdkit.errors import DataError

FORMATS = {
    "transformers": ("model.safetensors", {"bert": "visual_bert.", "head": "cls.", "old": False}),
    "uclanlp": ("vqa_fine_tuned.th", {"bert": "bert.bert.", "head": "bert.classifier."}),
    "MMF": ("model.pth", {"bert": "model.bert.", "head": "model.classifier."}),
    "MMF in parallel": (
        "best.ckpt",
        {"bert": "module.model.bert.", "head": "module.model.classifier."},
    ),
    "MMF of old": (
        "old.pt",
        {"bert": "module.bert.bert.", "head": "module.bert.classifier.", "aged": True},
    ),
    "bare": ("pytorch_model.bin", {"bert": "", "head": "classifier."}),
}


@pytest.mark.parametrize("head", ["linear", "transform"])
@pytest.mark.parametrize("kind", list(FORMATS))
def test_every_format_comes_back_to_the_bit(tmp_path, kind, head):
    mine, (file, names) = model(head=head), FORMATS[kind]
    state = renamed(mine.state_dict(), **names)
    if file.endswith(".safetensors"):
        save_file(state, tmp_path / file)
        about = {"model_type": "visual_bert", "num_hidden_layers": 2, "hidden_size": 8}
        about |= {"num_attention_heads": 1, "intermediate_size": 32, "vocab_size": 50}
        about |= {"max_position_embeddings": 16, "visual_embedding_dim": 6}
        (tmp_path / "config.json").write_text(json.dumps(about))
        assert same_weights(loaded(tmp_path, head=head), mine)
        return
    torch.save({"model": state} if "MMF" in kind else state, tmp_path / file)
    assert found(tmp_path) == {**SIZE, "intermediate": 32} | (
        {"head": head} if head != "linear" else {}
    )
    assert same_weights(loaded(tmp_path), mine)
    assert same_weights(loaded(tmp_path / file), mine)
    inputs = batch()
    assert torch.equal(
        loaded(tmp_path)(inputs, VIEWS)["multimodal"].logits,
        mine(inputs, VIEWS)["multimodal"].logits,
    )


def test_mmfs_config_beside_the_weights_tells_the_pooling(tmp_path):
    mine = model(pool="last_token", head="transform")
    state = renamed(mine.state_dict(), "model.bert.", "model.classifier.")
    state |= {f"model.bert.pooler.dense.{n}": torch.ones(8) for n in ("weight", "bias")}
    torch.save({"model": state}, tmp_path / "model.pth")
    config = "model_config:\n  visual_bert:\n    pooler_strategy: {}\n"
    (tmp_path / "config.yaml").write_text(config.format("default"))
    assert "pool" not in found(tmp_path)
    (tmp_path / "config.yaml").write_text(config.format("vqa"))
    assert found(tmp_path)["pool"] == "last_token"
    with pytest.warns(UserWarning, match=r"not used: model\.bert\.pooler\.dense\.bias, "):
        assert same_weights(loaded(tmp_path), mine)


def test_the_old_file_format_of_torch_loads_too(tmp_path):
    mine = model()
    state = renamed(mine.state_dict(), "bert.bert.", "bert.classifier.")
    torch.save(state, tmp_path / "x.th", _use_new_zipfile_serialization=False)
    assert same_weights(loaded(tmp_path), mine)


class ConfigNode(OrderedDict):
    """Pythia's config."""


class Configuration:
    def __init__(self, values):
        self.values = values


def test_configs_that_mmf_files_carry_are_read_as_nothing(tmp_path, monkeypatch):
    module = types.ModuleType("pythia.utils.configuration")
    for cls in (ConfigNode, Configuration):
        monkeypatch.setattr(cls, "__module__", module.__name__)
        monkeypatch.setattr(module, cls.__name__, cls, raising=False)
    for name in ("pythia", "pythia.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    mine, config = model(), OmegaConf.create({"a": [1, "x", 2.5, None], "b": {"c": "${a}"}})
    cache = defaultdict(dict, {"env": {"HOME": "/home/x"}})
    node = ConfigNode(a=1)
    node.extra = 2
    torch.save(
        {
            "model": renamed(mine.state_dict(), "model.bert.", "model.classifier."),
            "config": config,
            "others": [node, Configuration({"a": 1}), cache, argparse.Namespace(lr=1.0)],
            "best_metric_value": np.float64(0.7),
            "current_epoch": 3,
        },
        tmp_path / "model.pth",
    )
    for name in ("pythia", "pythia.utils", module.__name__):
        monkeypatch.delitem(sys.modules, name)
    before = set(torch.serialization.get_safe_globals())
    assert same_weights(loaded(tmp_path), mine)
    assert set(torch.serialization.get_safe_globals()) == before


def test_what_does_not_match_is_named(tmp_path):
    state = renamed(model().state_dict(), "model.bert.", "model.classifier.")
    state["model.bert.additional_layer.attention.self.query.weight"] = torch.ones(8, 8)
    torch.save({"model": state}, tmp_path / "model.pth")
    with pytest.raises(DataError, match=r"model\.bert\.additional_layer\.\S+ is not of this model"):
        loaded(tmp_path)
    torch.save(
        {"bert.encoder.x": torch.ones(1), "encoder.x": torch.ones(1)}, tmp_path / "model.pth"
    )
    with pytest.raises(DataError, match=r"bert\.encoder\.x and encoder\.x both stand for"):
        loaded(tmp_path)


def test_a_head_for_another_task_is_new_and_its_transform_is_kept(tmp_path):
    mine = model(head="transform")
    state = renamed(mine.state_dict(), "model.bert.", "model.classifier.")
    state["model.classifier.1.weight"] = torch.ones(5, 8)
    state["model.cls.predictions.bias"] = torch.ones(50)
    torch.save({"model": state}, tmp_path / "model.pth")
    unfit = pytest.warns(UserWarning, match=r"another shape there, .*: head\.1\.weight \[5, 8\]$")
    with unfit, pytest.warns(UserWarning, match=r"not used: model\.cls\.predictions\.bias$"):
        built = loaded(tmp_path)
    assert torch.equal(built.head[0].dense.weight, mine.head[0].dense.weight)
    assert torch.equal(built.head[1].bias, mine.head[1].bias)


def test_the_question_answering_head_reads_the_token_before_sep():
    built, inputs = model(pool="last_token", dropout=0.0), batch()
    output = built(inputs, VIEWS, ["pooled", "hidden.2"])["multimodal"]
    # [CLS] w1..w5 [SEP] regions: columns 5 and 2 hold the last words, 0 is [CLS] without words
    states = output.features["hidden.2"]
    expected = torch.stack([states[0, 5], states[1, 2], states[2, 0]])
    assert torch.equal(output.features["pooled"], expected)
