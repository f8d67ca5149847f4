"""Published checkpoints of VisualBERT and of smaller BERTs: their formats, names and damages."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import sys
import types
import warnings
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from msdkit.errors import DataError
from msdkit.models.visual_bert import VisualBert
from msdkit.models.weights import read_weights
from msdkit.types import Modality, Padded, default_views

MODALITIES = {"text": Modality("tokens", 40), "image": Modality("features", 6)}
VIEWS = default_views(MODALITIES)
SPECIAL = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}
SIZE = {"layers": 2, "hidden": 8, "heads": 1, "vocab_size": 50, "max_positions": 16}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def model(**params):
    built = VisualBert(MODALITIES, 3, **{**SIZE, **SPECIAL} | params).eval()
    with torch.no_grad():
        for value in built.parameters():
            value.normal_(0, 0.3)
    return built


def batch():
    text_mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    image_mask = torch.arange(4) < torch.tensor([[3], [4], [2]])
    return {
        "text": Padded(torch.randint(1, 40, (3, 5)), text_mask),
        "image": Padded(torch.randn(3, 4, 6), image_mask),
    }


def again(place, **params):
    built = VisualBert(MODALITIES, 3, **{**VisualBert.parameters_from(place), **SPECIAL, **params})
    built.load_folder(place)
    return built.eval()


def quietly(place):
    """The model, and all that it warned of."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        built = again(place)
    return built, " ".join(str(w.message) for w in warned)


def same(mine, other):
    mine, other = mine.state_dict(), other.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[n], other[n]) for n in mine)


OLD = (
    ("visual_token_type_embeddings", "token_type_embeddings_visual"),
    ("visual_position_embeddings", "position_embeddings_visual"),
    ("visual_projection", "projection"),
)


def named(state, bert, head, old=True, aged=False):
    """The state under another program's names, constants included."""
    found = {}
    for name, value in state.items():
        new = re.sub(r"^bert\.", bert, re.sub(r"^head\.", head, name))
        for ours, theirs in OLD if old else ():
            new = new.replace(f".{ours}.", f".{theirs}.")
        if aged:
            new = new.replace("LayerNorm.weight", "LayerNorm.gamma")
            new = new.replace("LayerNorm.bias", "LayerNorm.beta")
        found[new] = value.clone()
    return {**found, f"{bert}embeddings.position_ids": torch.arange(16)[None]}


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
    state = named(mine.state_dict(), **names)
    if file.endswith(".safetensors"):
        save_file(state, tmp_path / file)
        about = {"model_type": "visual_bert", "num_hidden_layers": 2, "hidden_size": 8}
        about |= {"num_attention_heads": 1, "intermediate_size": 32, "vocab_size": 50}
        about |= {"max_position_embeddings": 16, "visual_embedding_dim": 6}
        (tmp_path / "config.json").write_text(json.dumps(about))
        assert same(again(tmp_path, head=head), mine)
        return
    torch.save({"model": state} if "MMF" in kind else state, tmp_path / file)
    found = VisualBert.parameters_from(tmp_path)
    assert found == {**SIZE, "intermediate": 32} | ({"head": head} if head != "linear" else {})
    assert same(again(tmp_path), mine)
    assert same(again(tmp_path / file), mine)
    inputs = batch()
    assert torch.equal(
        again(tmp_path)(inputs, VIEWS)["multimodal"].logits,
        mine(inputs, VIEWS)["multimodal"].logits,
    )


def test_mmfs_config_beside_the_weights_tells_the_pooling(tmp_path):
    mine = model(pool="last_token", head="transform")
    state = named(mine.state_dict(), "model.bert.", "model.classifier.")
    state |= {f"model.bert.pooler.dense.{n}": torch.ones(8) for n in ("weight", "bias")}
    torch.save({"model": state}, tmp_path / "model.pth")
    config = "model_config:\n  visual_bert:\n    pooler_strategy: {}\n"
    (tmp_path / "config.yaml").write_text(config.format("default"))
    assert "pool" not in VisualBert.parameters_from(tmp_path)
    (tmp_path / "config.yaml").write_text(config.format("vqa"))
    assert VisualBert.parameters_from(tmp_path)["pool"] == "last_token"
    with pytest.warns(UserWarning, match=r"not used: model\.bert\.pooler\.dense\.bias, "):
        assert same(again(tmp_path), mine)


def test_the_old_file_format_of_torch_loads_too(tmp_path):
    mine = model()
    state = named(mine.state_dict(), "bert.bert.", "bert.classifier.")
    torch.save(state, tmp_path / "x.th", _use_new_zipfile_serialization=False)
    assert same(again(tmp_path), mine)


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
            "model": named(mine.state_dict(), "model.bert.", "model.classifier."),
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
    assert same(again(tmp_path), mine)
    assert set(torch.serialization.get_safe_globals()) == before


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


def test_what_does_not_match_is_named(tmp_path):
    state = named(model().state_dict(), "model.bert.", "model.classifier.")
    state["model.bert.additional_layer.attention.self.query.weight"] = torch.ones(8, 8)
    torch.save({"model": state}, tmp_path / "model.pth")
    with pytest.raises(DataError, match=r"model\.bert\.additional_layer\.\S+ is not of this model"):
        again(tmp_path)
    torch.save(
        {"bert.encoder.x": torch.ones(1), "encoder.x": torch.ones(1)}, tmp_path / "model.pth"
    )
    with pytest.raises(DataError, match=r"bert\.encoder\.x and encoder\.x both stand for"):
        again(tmp_path)


def test_a_head_for_another_task_is_new_and_its_transform_is_kept(tmp_path):
    mine = model(head="transform")
    state = named(mine.state_dict(), "model.bert.", "model.classifier.")
    state["model.classifier.1.weight"] = torch.ones(5, 8)
    state["model.cls.predictions.bias"] = torch.ones(50)
    torch.save({"model": state}, tmp_path / "model.pth")
    unfit = pytest.warns(UserWarning, match=r"another shape there, .*: head\.1\.weight \[5, 8\]$")
    with unfit, pytest.warns(UserWarning, match=r"not used: model\.cls\.predictions\.bias$"):
        loaded = again(tmp_path)
    assert torch.equal(loaded.head[0].dense.weight, mine.head[0].dense.weight)
    assert torch.equal(loaded.head[1].bias, mine.head[1].bias)


def test_the_question_answering_head_reads_the_token_before_sep():
    built, inputs = model(pool="last_token", dropout=0.0), batch()
    output = built(inputs, VIEWS, ["pooled", "hidden.2"])["multimodal"]
    # [CLS] w1..w5 [SEP] regions: columns 5 and 2 hold the last words, 0 is [CLS] without words
    states = output.features["hidden.2"]
    expected = torch.stack([states[0, 5], states[1, 2], states[2, 0]])
    assert torch.equal(output.features["pooled"], expected)


def reference(cls, folder, **config):
    """A random checkpoint of transformers' class, as it writes it."""
    import transformers

    name = "DistilBertConfig" if cls.startswith("Distil") else "BertConfig"
    made = getattr(transformers, cls)(getattr(transformers, name)(**config)).eval()
    made.save_pretrained(folder)
    return made


def bert_input(inputs):
    ids = torch.zeros(3, 7, dtype=torch.long)
    mask = torch.zeros(3, 7, dtype=torch.long)
    for row in range(3):
        words = inputs["text"].values[row, : int(inputs["text"].mask[row].sum())].tolist()
        ids[row, : len(words) + 2] = torch.tensor([41, *words, 42])
        mask[row, : len(words) + 2] = 1
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("cls", ["DistilBertModel", "DistilBertForMaskedLM"])
def test_distilbert_gives_text_and_layers(tmp_path, cls):
    sizes = {"vocab_size": 50, "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 20}
    theirs = reference(cls, tmp_path, max_position_embeddings=16, initializer_range=0.5, **sizes)
    assert VisualBert.parameters_from(tmp_path) == {
        **{"layers": 2, "hidden": 8, "heads": 2, "intermediate": 20, "dropout": 0.1},
        **{"vocab_size": 50, "max_positions": 16},
    }
    mine, said = quietly(tmp_path)
    assert "newly made: bert.embeddings.visual_projection.bias" in said
    assert ("not used: vocab_layer_norm.bias" in said) == (cls != "DistilBertModel")
    inputs = batch()
    output = mine(inputs, VIEWS[1:2], ["hidden.2"])["text"]
    encoder = theirs if cls == "DistilBertModel" else theirs.distilbert
    expected = encoder(**bert_input(inputs)).last_hidden_state
    found = output.features["hidden.2"]
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1, :3], expected[1, :3], atol=1e-5, rtol=1e-5)


def test_tinybert_folders_name_no_model_type_and_have_layers_to_fit(tmp_path):
    sizes = {"vocab_size": 50, "hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 3}
    sizes |= {"intermediate_size": 20, "max_position_embeddings": 16}
    theirs = reference("BertForPreTraining", tmp_path, **sizes)
    (tmp_path / "model.safetensors").unlink()
    state = {n: v.clone() for n, v in theirs.state_dict().items()}
    for i in range(5):
        state |= {
            f"fit_denses.{i}.weight": torch.ones(16, 12),
            f"fit_denses.{i}.bias": torch.ones(16),
        }
    torch.save(state, tmp_path / "pytorch_model.bin")
    about = {**sizes, "hidden_act": "gelu", "emb_size": 12, "cell": {}, "pre_trained": ""}
    (tmp_path / "config.json").write_text(json.dumps(about))
    mine, said = quietly(tmp_path)
    assert "not used: cls.predictions.bias, " in said
    assert "fit_denses.4.weight" in said
    assert len(mine.encoder_layers) == 4
    layer, other = mine.encoder_layers[3], theirs.bert.encoder.layer[3]
    assert torch.equal(layer.output.dense.weight, other.output.dense.weight)
    assert torch.equal(mine.bert.pooler.dense.weight, theirs.bert.pooler.dense.weight)


@pytest.mark.parametrize(
    ("preset", "layers", "hidden", "parameters"),
    [("tinybert_4l", 4, 312, 14.35e6), ("tinybert_6l", 6, 768, 66.96e6)],
)
def test_presets_have_tinyberts_sizes(preset, layers, hidden, parameters):
    with torch.device("meta"):
        built = VisualBert({**MODALITIES, "image": Modality("features", 2048)}, 3, preset=preset)
    assert (len(built.encoder_layers), built.width) == (layers, hidden)
    visual = sum(p.numel() for n, p in built.named_parameters() if "visual_" in n)
    own = (
        sum(p.numel() for p in built.parameters())
        - visual
        - sum(p.numel() for p in built.head.parameters())
    )
    assert own == pytest.approx(parameters, rel=1e-3)


def test_given_sizes_come_before_the_presets():
    with torch.device("meta"):
        built = VisualBert(MODALITIES, 3, preset="tinybert_4l", layers=1, hidden=24)
    assert (len(built.encoder_layers), built.width) == (1, 24)
    assert built.encoder_layers[0].intermediate.dense.out_features == 96
