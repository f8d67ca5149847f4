"""What lies beside a checkpoint tells its heads and its pooling, named by file or by folder."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
import yaml
from safetensors.torch import save_file
from visual_bert_files import (
    MODALITIES,
    SPECIAL,
    found,
    loaded,
    loaded_quietly,
    model,
    renamed,
    same_weights,
)

from msdkit.errors import DataError
from msdkit.models.base import Model
from msdkit.models.visual_bert import VisualBert

TINY = {"layers": 1, "hidden": 84, "heads": 12, "intermediate": 40}


def mmf(folder, name="best.ckpt", config=None, **params):
    """A model, and its checkpoint as MMF's Checkpoint.save writes it."""
    mine = model(head="transform", **{"pool": "last_token", **params})
    state = renamed(mine.state_dict(), "model.bert.", "model.classifier.")
    state |= {f"model.bert.pooler.dense.{n}": torch.ones(8) for n in ("weight", "bias")}
    inside = {} if config is None else {"config": config}
    (folder / name).parent.mkdir(exist_ok=True)
    torch.save({"model": state, "current_epoch": 3, "fp16_scaler": None, **inside}, folder / name)
    return mine


def config(**keys):
    return {
        "config_version": 1.0,
        "model_config": {
            "visual_bert": {
                "bert_model_name": "bert-base-uncased",
                "training_head_type": "classification",
                "visual_embedding_dim": 6,
                "num_attention_heads": 1,
                "hidden_dropout_prob": 0.0,
                **keys,
            }
        },
        "env": {"data_dir": "/nowhere"},
    }


STYLES = {
    "block": yaml.safe_dump(config(pooler_strategy="vqa")),
    "wide": yaml.safe_dump(config(pooler_strategy="vqa"), indent=8),
    "flow": yaml.safe_dump(config(pooler_strategy="vqa"), default_flow_style=True),
    "single quotes": yaml.safe_dump(config(pooler_strategy="vqa"), default_style="'"),
    "double quotes": yaml.safe_dump(config(pooler_strategy="vqa"), default_style='"'),
    "JSON": json.dumps(config(pooler_strategy="vqa")),
    "comment": "model_config: {visual_bert: {pooler_strategy: vqa, num_attention_heads: 1}} # so",
    "head type": yaml.safe_dump(config(training_head_type="vqa2")),
    "first head type": yaml.safe_dump(config(training_head_type="vqa")),
    "answers of the blind": yaml.safe_dump(config(training_head_type="vizwiz")),
}


@pytest.mark.parametrize("style", list(STYLES))
def test_mmfs_config_is_read_as_yaml_for_a_file_and_for_its_folder(tmp_path, style):
    numbers = STYLES[style].replace("'0.0'", "0.0").replace('"0.0"', "0.0")
    (tmp_path / "config.yaml").write_text(numbers.replace("'1'", "1").replace('"1"', "1"))
    mine = mmf(tmp_path)
    for place in (tmp_path, tmp_path / "best.ckpt"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert VisualBert.parameters_from(place)["pool"] == "last_token"
        with pytest.warns(UserWarning, match=r"not used: model\.bert\.pooler\.dense"):
            assert same_weights(loaded(place), mine)


def test_the_strategy_comes_before_the_older_type_and_the_first_token_is_usual(tmp_path):
    mmf(tmp_path)
    for keys in (
        {"pooler_strategy": "default", "training_head_type": "vqa2"},
        {"training_head_type": "nlvr2"},
        {},
    ):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config(**keys)))
        assert "pool" not in VisualBert.parameters_from(tmp_path)


def test_a_step_has_its_config_one_folder_above_and_files_hold_theirs(tmp_path):
    mmf(tmp_path, "models/model_100.ckpt")
    (tmp_path / "config.yaml").write_text(STYLES["block"])
    place = tmp_path / "models" / "model_100.ckpt"
    assert VisualBert.parameters_from(place)["pool"] == "last_token"
    (tmp_path / "config.yaml").unlink()
    assert "pool" not in found(place)
    mmf(tmp_path, "models/model_100.ckpt", config(pooler_strategy="vqa"))
    assert VisualBert.parameters_from(place)["pool"] == "last_token"
    (place.parent / "hparams.yaml").write_text("lr: 0.1\nmodel: {{ jinja }}\n")
    assert VisualBert.parameters_from(place)["pool"] == "last_token"


def test_mmf_has_twelve_heads_unless_its_config_says_otherwise(tmp_path):
    mmf(tmp_path, hidden=24, heads=2, pool="cls")
    for heads, keys in ((12, {}), (2, {"num_attention_heads": 2}), (8, {"num_attention_heads": 8})):
        told = config(**keys)
        if not keys:
            del told["model_config"]["visual_bert"]["num_attention_heads"]
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(told))
        assert VisualBert.parameters_from(tmp_path / "best.ckpt")["heads"] == heads


def test_what_the_model_does_not_vary_is_refused_of_mmf_too(tmp_path):
    mmf(tmp_path)
    for keys, message in (
        ({"hidden_act": "relu"}, r"MMF's config: hidden_act is 'relu'; accepted: 'gelu'"),
        ({"bypass_transformer": True}, r"bypass_transformer is True; accepted: False"),
        ({"layer_norm_eps": "1e-6"}, r"layer_norm_eps is '1e-6'; accepted: 1e-12"),
    ):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config(**keys)))
        with pytest.raises(DataError, match=message):
            VisualBert.parameters_from(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config(layer_norm_eps="1e-12")))
    assert VisualBert.parameters_from(tmp_path)["layers"] == 2
    (tmp_path / "config.yaml").write_text("a: [1\nb: }")
    with pytest.raises(DataError, match=r"config\.yaml is not YAML") as caught:
        VisualBert.parameters_from(tmp_path)
    assert "\n" not in str(caught.value)


def tinybert(folder, beside=True):
    """A TinyBERT's pytorch_model.bin and the config.json that its to_json_file writes."""
    mine = model(**TINY)
    state = renamed(mine.state_dict(), "bert.", "classifier.")
    state = {n: v for n, v in state.items() if "visual" not in n and "projection" not in n}
    torch.save(state, folder / "pytorch_model.bin")
    about = {"hidden_size": 84, "num_hidden_layers": 1, "num_attention_heads": 12, "cell": {}}
    about |= {"intermediate_size": 40, "vocab_size": 50, "max_position_embeddings": 16}
    about |= {"hidden_act": "gelu", "emb_size": 84, "pre_trained": "", "training": ""}
    if beside:
        (folder / "config.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")


def test_a_files_config_json_tells_the_heads(tmp_path):
    tinybert(tmp_path)
    told = VisualBert.parameters_from(tmp_path)
    assert told["heads"] == 12
    assert VisualBert.parameters_from(tmp_path / "pytorch_model.bin") == told
    (tmp_path / "config.json").rename(tmp_path / "bert_config.json")
    assert VisualBert.parameters_from(tmp_path / "pytorch_model.bin") == told
    (tmp_path / "config.json").write_text('{"lr": 0.1}')  # describes no model
    (tmp_path / "bert_config.json").unlink()
    assert found(tmp_path / "pytorch_model.bin")["hidden"] == 84


def test_guesses_are_said_in_one_line(tmp_path):
    tinybert(tmp_path, beside=False)
    guessed = (
        r"pytorch_model\.bin: no config beside it tells the number of heads \(taken as heads: 12\) "
        r"and what its head reads \(taken as pool: cls\); what the model's config gives .* first$"
    )
    with pytest.warns(UserWarning, match=guessed):
        assert VisualBert.parameters_from(tmp_path / "pytorch_model.bin")["heads"] == 12


@pytest.mark.parametrize(
    ("hidden", "heads"), [(8, 1), (64, 1), (128, 2), (312, 12), (24, 1), (100, 1)]
)
def test_heads_are_guessed_as_64_wide_or_as_12(tmp_path, hidden, heads):
    mine = model(hidden=hidden, heads=1, intermediate=8, layers=1)
    torch.save(renamed(mine.state_dict(), "bert.bert.", "bert.classifier."), tmp_path / "x.th")
    assert found(tmp_path / "x.th")["heads"] == heads


@pytest.mark.parametrize("rows", [3129, 7371, 12])
def test_the_oldest_files_answer_questions_from_the_last_token(tmp_path, rows):
    state = renamed(model().state_dict(), "bert.bert.", "bert.classifier.")
    state["bert.classifier.weight"] = torch.ones(rows, 8)
    torch.save(state, tmp_path / "x.th")
    assert found(tmp_path).get("pool") == (None if rows == 12 else "last_token")


def test_a_folders_sizes_come_between_those_given_and_the_presets(tmp_path):
    tinybert(tmp_path)
    stored = VisualBert.parameters_from(tmp_path)
    for given, width in (({"preset": "tinybert_6l"}, 84), ({"hidden": 36}, 36)):
        built = VisualBert(MODALITIES, 3, **{**stored, **SPECIAL, **given})
        assert (built.width, len(built.encoder_layers)) == (width, 1)
    _, said = loaded_quietly(tmp_path)
    assert "visual_projection" in said


def test_our_own_folder_may_be_named_by_its_file(tmp_path):
    mine = model()
    save_file(mine.state_dict(), tmp_path / "model.safetensors")
    about = {"name": "visual_bert", "params": {"layers": 2, "hidden": 8, "heads": 1}}
    (tmp_path / "model.json").write_text(json.dumps(about))
    for place in (tmp_path, tmp_path / "model.safetensors"):
        assert VisualBert.parameters_from(place) == about["params"]


def test_a_plugins_file_may_lie_alone(tmp_path):
    torch.save({}, tmp_path / "x.ckpt")
    assert Model.parameters_from(tmp_path / "x.ckpt") == {}
    with pytest.raises(DataError, match=r"holds no model: model\.json is missing"):
        Model.parameters_from(tmp_path)
