"""Heads that another function feeds than BERT's pooler: computed as trained, or left unread."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional as F
from visual_bert_files import VIEWS, batch, loaded, loaded_quietly, model, renamed

from msdkit.errors import DataError
from msdkit.models.vilt import Vilt
from msdkit.models.visual_bert import VisualBert
from msdkit.types import Modality, Padded

CLOSE = {"atol": 1e-12, "rtol": 1e-12}
DISTIL = {"vocab_size": 50, "dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 20}
BERT = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT |= {"intermediate_size": 20}
ANY = {"max_position_embeddings": 16, "initializer_range": 0.5}


def saved(name, folder, **changes):
    """A random checkpoint of a class of transformers, as it writes it, in double precision."""
    sizes = DISTIL if name.startswith("Distil") else BERT
    cls = getattr(transformers, name)
    made = cls(cls.config_class(**{**sizes, **ANY, "num_labels": 3, **changes})).eval()
    made.save_pretrained(folder)
    return made.double()


def text_batch():
    """Three examples with text and regions, and transformers' input of the text alone."""
    inputs = batch()
    inputs["text"].mask[2, 0] = True
    ids, mask = torch.zeros(3, 7, dtype=torch.long), torch.zeros(3, 7, dtype=torch.long)
    for row, shown in enumerate(inputs["text"].mask.sum(1).tolist()):
        ids[row, : shown + 2] = torch.tensor([41, *inputs["text"].values[row, :shown].tolist(), 42])
        mask[row, : shown + 2] = 1
    return inputs, {"input_ids": ids, "attention_mask": mask}


def double(inputs):
    return {**inputs, "image": Padded(inputs["image"].values.double(), inputs["image"].mask)}


def answers(mine, inputs):
    return mine.double()(double(inputs), VIEWS[1:2])["text"].logits


@pytest.mark.filterwarnings("ignore:.*newly made")
@pytest.mark.parametrize(
    ("name", "pool"),
    [("DistilBertForSequenceClassification", "cls_relu"), ("BertForSequenceClassification", None)],
)
@pytest.mark.parametrize("file", [False, True])
def test_trained_heads_answer_as_transformers_own_class(tmp_path, name, pool, file):
    theirs, (inputs, words) = saved(name, tmp_path), text_batch()
    place = tmp_path / "model.safetensors" if file else tmp_path
    assert VisualBert.parameters_from(place).get("pool") == pool
    torch.testing.assert_close(answers(loaded(place), inputs), theirs(**words).logits, **CLOSE)


@pytest.mark.filterwarnings("ignore:.*newly made")
def test_a_distilbert_told_by_its_tensors_alone(tmp_path):
    theirs, (inputs, words) = saved("DistilBertForSequenceClassification", tmp_path), text_batch()
    state = {f"module.{n}": v for n, v in load_file(tmp_path / "model.safetensors").items()}
    torch.save({"model_state_dict": state}, tmp_path.parent / f"{tmp_path.name}.pt")
    mine = loaded(tmp_path.parent / f"{tmp_path.name}.pt", heads=2)
    torch.testing.assert_close(answers(mine, inputs), theirs(**words).logits, **CLOSE)


def tinybert(folder, fit="fit_dense", classes=3):
    """What task_distill.py writes of a TinyBertForSequenceClassification, and its logits."""
    theirs = saved("BertForSequenceClassification", folder, num_labels=classes)
    state = load_file(folder / "model.safetensors")
    state |= {f"{fit}.weight": torch.ones(32, 24), f"{fit}.bias": torch.ones(32)}
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    about = {**BERT, **ANY, "hidden_act": "gelu", "pre_trained": "", "training": ""}
    (folder / "config.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")

    def logits(words):
        pooled = theirs.bert(**words).pooler_output
        return F.linear(pooled.relu(), theirs.classifier.weight, theirs.classifier.bias)

    return logits


@pytest.mark.filterwarnings("ignore:.*(newly made|fit_dense)")
@pytest.mark.parametrize("fit", ["fit_dense", "fit_denses.0"])
def test_tinyberts_head_reads_relu_of_the_pooler(tmp_path, fit):
    logits, (inputs, words) = tinybert(tmp_path, fit), text_batch()
    assert VisualBert.parameters_from(tmp_path)["pool"] == "cls_tanh_relu"
    mine = loaded(tmp_path / "pytorch_model.bin")
    torch.testing.assert_close(answers(mine, inputs), logits(words), **CLOSE)
    pooled = mine(double(inputs), VIEWS[1:2], ["pooled"])["text"].features["pooled"]
    assert (pooled >= 0).all()


@pytest.mark.parametrize("pool", ["cls", "last_token", "cls_relu"])
def test_a_head_under_another_pooling_is_left_unread_and_named(tmp_path, pool):
    tinybert(tmp_path)
    said = loaded_quietly(tmp_path, pool=pool)[1].splitlines()
    assert f"{tmp_path}: its head reads cls_tanh_relu, this model's {pool}" in said
    unread = next(line for line in said if "not used" in line)
    assert "classifier.bias, classifier.weight, fit_dense.bias" in unread
    assert any("newly made" in line and "head.bias, head.weight" in line for line in said)


def test_distilberts_pre_classifier_is_no_pooler_with_tanh(tmp_path):
    saved("DistilBertForSequenceClassification", tmp_path)
    mine, said = loaded_quietly(tmp_path, pool="cls")
    assert "its head reads cls_relu, this model's cls" in said
    assert "not used: classifier.bias, classifier.weight, pre_classifier.bias, pre_c" in said
    theirs = load_file(tmp_path / "model.safetensors")["pre_classifier.weight"]
    assert not torch.equal(mine.bert.pooler.dense.weight, theirs)


@pytest.mark.parametrize("name", ["BertForTokenClassification", "DistilBertForTokenClassification"])
@pytest.mark.parametrize("told", [True, False])
def test_heads_of_single_tokens_are_left_unread(tmp_path, name, told):
    saved(name, tmp_path)
    if not told:
        about = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**about, "architectures": None}))
    mine, said = loaded_quietly(tmp_path)
    assert "not used: classifier.bias, classifier.weight" in said
    assert ("its head reads each token, this model's cls" in said) == told
    theirs = load_file(tmp_path / "model.safetensors")["classifier.weight"]
    assert not torch.equal(mine.head.weight, theirs)


def test_vilts_head_of_single_tokens_is_left_unread(tmp_path):
    sizes = {**BERT, **ANY, "image_size": 8, "patch_size": 4, "num_labels": 3}
    theirs = transformers.ViltForTokenClassification(transformers.ViltConfig(**sizes))
    theirs.save_pretrained(tmp_path)
    parts = {"text": Modality("tokens", 40), "image": Modality("features", 50)}
    special = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}
    mine = Vilt(parts, 3, **Vilt.parameters_from(tmp_path), **special)
    new = pytest.warns(UserWarning, match=r"newly made: bert\.pooler\.\S+ .*head\.bias, head\.")
    with new, pytest.warns(UserWarning, match=r"not used: classifier\.bias, classifier\.weight$"):
        mine.load_folder(tmp_path)
    assert not torch.equal(mine.head.weight, theirs.classifier.weight)


def test_mmfs_answers_are_read_from_the_last_token(tmp_path):
    mine = model(head="transform", pool="last_token", hidden=24, heads=12, dropout=0.0)
    pooler = {f"model.bert.pooler.dense.{n}": torch.ones(24) for n in ("weight", "bias")}
    state = renamed(mine.state_dict(), "model.bert.", "model.classifier.") | pooler
    torch.save({"model": state}, tmp_path / "best.ckpt")
    (tmp_path / "config.yaml").write_text("model_config: {visual_bert: {pooler_strategy: 'vqa'}}")
    inputs, _ = text_batch()
    with pytest.warns(UserWarning, match=r"not used: model\.bert\.pooler"):
        again = loaded(tmp_path / "best.ckpt")
    output = mine.double()(double(inputs), VIEWS[:1], ["hidden.2"])["multimodal"]
    states = output.features["hidden.2"]
    # the token before [SEP], whose column follows the longest text: 5, 2 and 1 words
    read = torch.stack([states[0, 5], states[1, 2], states[2, 1]])
    logits = again.double()(double(inputs), VIEWS[:1])["multimodal"].logits
    torch.testing.assert_close(logits, mine.head(read), **CLOSE)


OTHERS = [
    "Roberta",
    "XLMRoberta",
    "Electra",
    "MobileBert",
    "Albert",
    "MPNet",
    "Deberta",
    "DebertaV2",
]


@pytest.mark.parametrize("kind", OTHERS)
def test_other_berts_are_refused_with_a_config_and_without(tmp_path, kind):
    cls = getattr(transformers, f"{kind}ForSequenceClassification")
    sizes = {**BERT, **ANY, "num_labels": 3, "embedding_size": 24, "max_position_embeddings": 20}
    if kind == "MobileBert":
        sizes |= {"true_hidden_size": 24, "intra_bottleneck_size": 24}
    cls(cls.config_class(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"model_type is '\S+'; accepted: bert, distilbert, visual"):
        VisualBert.parameters_from(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(DataError, match=r"holds no BERT|not of this model|both stand for"):
        loaded(tmp_path / "model.safetensors")


def test_lxmert_is_refused(tmp_path):
    sizes = {**BERT, "l_layers": 1, "x_layers": 1, "r_layers": 1, "max_position_embeddings": 16}
    config = transformers.LxmertConfig(**{k: v for k, v in sizes.items() if "num_hidden" not in k})
    transformers.LxmertModel(config).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="model_type is 'lxmert'"):
        VisualBert.parameters_from(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(DataError, match=r"encoder\.x_layers\.\S+ is not of this model"):
        loaded(tmp_path)
