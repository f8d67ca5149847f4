"""Checkpoints of smaller BERTs: DistilBERT, TinyBERT, and presets of their sizes."""

from __future__ import annotations

import json

import pytest
import torch
from visual_bert_files import (
    MODALITIES,
    VIEWS,
    batch,
    loaded_quietly,
)

from msdkit.models.visual_bert import VisualBert
from msdkit.types import Modality


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
    mine, said = loaded_quietly(tmp_path)
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
    mine, said = loaded_quietly(tmp_path)
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
