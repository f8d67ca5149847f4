"""MMF's UNITER: checkpoints as its writer leaves them, against its formula."""

from __future__ import annotations

import pytest
import torch
import yaml
from uniter_files import (
    HIDDEN,
    MMF,
    VIEWS,
    batch,
    drawn,
    examples,
    first_state,
    gelu,
    layer,
    linear,
    loaded,
    norm,
    trunk,
)

from msdkit.errors import ConfigError, DataError
from msdkit.models.masking import MaskToken
from msdkit.models.uniter import Uniter

AT = "uniter.heads."


def mlp(task, answers, width=16, layers=1):
    """The tensors of a head of type `mlp`: BertPooler, (dropout, transform) per layer, linear."""
    at, last = f"{AT}{task}", HIDDEN
    found = layer(f"{at}.pooler.dense", HIDDEN, HIDDEN)
    for number in range(1, 2 * layers, 2):
        found |= layer(f"{at}.classifier.{number}.dense", last, width)
        found |= layer(f"{at}.classifier.{number}.LayerNorm", width)
        last = width
    return found | layer(f"{at}.classifier.{2 * layers}", last, answers)


def scores(w, task, words, regions, layers=1):
    """[C], what MMF's model answers to one example."""
    at = f"{AT}{task}"
    x = first_state(w, MMF, words, regions, masked=True)
    x = torch.tanh(linear(x, w, f"{at}.pooler.dense"))
    for number in range(1, 2 * layers, 2):
        x = gelu(linear(x, w, f"{at}.classifier.{number}.dense"))
        x = norm(x, w, f"{at}.classifier.{number}.LayerNorm", 1e-6)
    return linear(x, w, f"{at}.classifier.{2 * layers}")


def config(**keys):
    """What MMF keeps of a run, in the file and as config.yaml."""
    encoder = {"type": "transformer", "num_attention_heads": 2}
    return {"model": "uniter", "model_config": {"uniter": {"encoder": encoder, **keys}}}


def write(state, folder, kind="best.ckpt", **keys):
    """As `Checkpoint.save` and `Checkpoint.finalize` write it, and as a parallel model is named."""
    if kind == "uniter_final.pth":
        (folder / "config.yaml").write_text(yaml.safe_dump(config(**keys)))
        torch.save(state, folder / kind)
        return
    if kind == "parallel.ckpt":
        state = {f"module.{name}": value for name, value in state.items()}
    constant = {"uniter.uniter.text_embeddings.position_ids": torch.arange(16)[None]}
    rest = {"optimizer": {"state": {}}, "num_updates": 3, "fp16_scaler": None}
    torch.save({"model": state | constant, "config": config(**keys), **rest}, folder / kind)


def gap(model, state, task, **params):
    """The largest difference between the model's logits and MMF's scores."""
    inputs = batch(torch.float64)
    logits = model(inputs, VIEWS)["multimodal"].logits
    there = torch.stack([scores(state, task, *seen, **params) for seen in examples(inputs)])
    return (logits - there).detach().abs().max()


@pytest.mark.parametrize("kind", ["best.ckpt", "uniter_final.pth", "parallel.ckpt"])
def test_the_answers_are_mmfs(tmp_path, kind):
    state = trunk(MMF) | mlp("vqa2", 3)
    write(state, tmp_path, kind)
    found = Uniter.parameters_from(tmp_path)
    assert (found["head"], found["head_width"], found["hidden"]) == ("transform", 16, 8)
    model = loaded(tmp_path, 3)
    assert gap(model, state, "vqa2") < 1e-12
    pooler = state["uniter.heads.vqa2.pooler.dense.weight"]
    assert torch.equal(model.bert.pooler.dense.weight, pooler)


@pytest.mark.parametrize(("layers", "width"), [(0, 8), (1, 8), (2, 8), (2, 12), (3, 16)])
def test_its_heads_may_have_any_number_of_layers(tmp_path, layers, width):
    state = trunk(MMF) | mlp("snli_ve", 3, width, layers)
    write(state, tmp_path)
    assert gap(loaded(tmp_path, 3), state, "snli_ve", layers=layers) < 1e-12


def test_a_masked_region_is_the_one_that_mmf_learned(tmp_path):
    state = trunk(MMF) | mlp("vqa2", 3)
    write(state, tmp_path)
    at = "uniter.uniter.img_embeddings"
    row = state[f"{at}.mask_embedding.weight"][1]  # its pre-training: feature 0, and the mask
    content = norm(linear(row, state, f"{at}.img_linear"), state, f"{at}.img_layer_norm")
    place = norm(state[f"{at}.pos_linear.bias"], state, f"{at}.pos_layer_norm")
    token = loaded(tmp_path, 3, masking=MaskToken()).mask_token("image")
    torch.testing.assert_close(token, content + place, atol=1e-12, rtol=0)


def test_of_several_tasks_the_one_that_fits_is_loaded(tmp_path):
    state = trunk(MMF) | mlp("vqa2", 3) | mlp("gqa", 4) | mlp("nlvr2", 2)
    write(state, tmp_path)
    with (
        pytest.warns(UserWarning, match=r"its heads \(gqa, nlvr2, vqa2\) only gqa fits, and is lo"),
        pytest.warns(UserWarning, match=r"not used: the heads nlvr2, vqa2$"),
    ):
        model = loaded(tmp_path, 4)
    assert gap(model, state, "gqa") < 1e-12


def test_of_tasks_that_fit_alike_one_is_named(tmp_path):
    state = trunk(MMF) | mlp("a-b", 3) | mlp("vqa2", 3)
    write(state, tmp_path)
    with pytest.warns(UserWarning, match=r"not used: the heads vqa2$"):
        model = loaded(tmp_path, 3, task_head="a-b")
    assert gap(model, state, "a-b") < 1e-12
    with (
        pytest.warns(UserWarning, match=r"\(a-b, vqa2\) a-b, vqa2 fit alike, .* by task_head$"),
        pytest.warns(UserWarning, match=r"not used: the heads a-b, vqa2$"),
        pytest.warns(UserWarning, match=r"newly made: head\.0\.Lay"),
    ):
        model = loaded(tmp_path, 3)
    assert torch.equal(model.bert.pooler.dense.weight, state["uniter.uniter.pooler.dense.weight"])
    with pytest.raises(DataError, match=r"task_head is 'vqa'; accepted: a-b, vqa2"):
        loaded(tmp_path, 3, task_head="vqa")


def test_heads_of_several_forms_are_asked_for(tmp_path):
    state = trunk(MMF) | mlp("a", 3, 8) | mlp("b", 3, 16)
    write(state, tmp_path)
    assert "head" not in Uniter.parameters_from(tmp_path)
    chosen = {"head": "transform", "task_head": "b"}
    with (
        pytest.warns(
            UserWarning,
            match=r"the head of b is .*_width': 16\}, this model's \{'head': "
            r"'transform'\}, so it is left out",
        ),
        pytest.warns(UserWarning, match="the heads a, b"),
        pytest.warns(UserWarning, match="newly made: head"),
    ):
        loaded(tmp_path, 3, **chosen)
    with pytest.warns(UserWarning, match="the heads a$"):
        assert gap(loaded(tmp_path, 3, head_width=16, **chosen), state, "b") < 1e-12


def test_another_number_of_answers_leaves_the_last_layer_new(tmp_path):
    state = trunk(MMF) | mlp("vqa2", 3129)
    write(state, tmp_path)
    with pytest.warns(UserWarning, match=r"newly made: head\.1\.bias \[3129\], head\.1\.weight"):
        model = loaded(tmp_path, 3)
    dense = state["uniter.heads.vqa2.classifier.1.dense.weight"]
    assert torch.equal(model.head[0].dense.weight, dense)


def test_pre_trained_it_has_the_pooler_of_its_matching(tmp_path):
    state = trunk(MMF) | layer(f"{AT}itm.pooler.dense", 8, 8)
    state |= layer(f"{AT}itm.cls.seq_relationship", 8, 2)
    state |= {f"{AT}mlm.cls.predictions.bias": drawn(50), f"{AT}mrfr.linear_proj_bias": drawn(5)}
    state |= {
        f"{AT}mrfr.linear_proj_weight": state["uniter.uniter.img_embeddings.img_linear.weight"]
    }
    state |= layer(f"{AT}mrc.region_classifier.0", 8, 8)
    write(state, tmp_path)
    with (
        pytest.warns(UserWarning, match=r"not used: the heads itm, mlm, mrc, mrfr$"),
        pytest.warns(UserWarning, match=r"newly made: head\.0\.bias"),
    ):
        model = loaded(tmp_path, 3)
    pooler = state["uniter.heads.itm.pooler.dense.weight"]
    assert torch.equal(model.bert.pooler.dense.weight, pooler)


@pytest.mark.parametrize("key", ["head_width", "head_layers"])
def test_a_head_of_no_size_is_refused(key, tmp_path):
    write(trunk(MMF) | mlp("vqa2", 3), tmp_path)
    with pytest.raises(ConfigError, match=f"{key} is 0; accepted: 1 or more"):
        loaded(tmp_path, 3, **{key: 0})


def test_half_precision_is_added_up_in_double(tmp_path):
    state = {name: value.half() for name, value in (trunk(MMF) | mlp("vqa2", 3)).items()}
    write(state, tmp_path)
    model = loaded(tmp_path, 3)
    assert gap(model, {name: value.double() for name, value in state.items()}, "vqa2") < 1e-12


def test_a_wrapper_within_names_hides_no_mask(tmp_path):
    plain = trunk(MMF) | mlp("vqa2", 3)
    state = {
        name.replace("uniter.uniter.", "_orig_mod.uniter.uniter."): v for name, v in plain.items()
    }
    inside = "img_embeddings._fsdp_wrapped_module."
    write({n.replace("img_embeddings.", inside): v for n, v in state.items()}, tmp_path)
    assert gap(loaded(tmp_path, 3), plain, "vqa2") < 1e-12


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"encoder": {"hidden_act": "relu"}}, r"encoder: hidden_act is 'relu'; accepted: 'gelu'"),
        ({"heads": {"vqa2": {"layer_norm_eps": 1e-5}}}, r"head of vqa2: layer_norm_eps is 1e-05"),
    ],
)
def test_what_its_config_says_and_this_model_cannot_do_is_refused(tmp_path, keys, said):
    write(trunk(MMF) | mlp("vqa2", 3), tmp_path, **keys)
    with pytest.raises(DataError, match=said):
        loaded(tmp_path, 3, heads=2)


def test_its_config_may_name_the_large_bert(tmp_path):
    write(trunk(MMF) | mlp("vqa2", 3), tmp_path, encoder={}, bert_model_name="bert-large-cased")
    assert Uniter.parameters_from(tmp_path)["heads"] == 16
    write(trunk(MMF) | mlp("vqa2", 3), tmp_path, encoder={"type": "transformer"})
    assert Uniter.parameters_from(tmp_path)["heads"] == 12


def test_a_tensor_that_is_missing_is_named(tmp_path):
    state = trunk(MMF) | mlp("vqa2", 3)
    del state["uniter.uniter.img_embeddings.mask_embedding.weight"]
    write(state, tmp_path)
    with pytest.raises(DataError, match=r"regions\.mask_embedding\.weight is missing"):
        loaded(tmp_path, 3)
