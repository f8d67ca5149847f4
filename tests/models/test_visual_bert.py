"""VisualBERT against transformers' own implementation and checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from msdkit.errors import ConfigError, DataError
from msdkit.models.masking import MaskToken, Mean, Zero
from msdkit.models.visual_bert import VisualBert
from msdkit.types import Modality, Padded, default_views

MODALITIES = {"text": Modality("tokens", 40), "image": Modality("features", 6)}
VIEWS = default_views(MODALITIES)
SPECIAL = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}
SIZE = {"layers": 2, "hidden": 8, "heads": 2, "vocab_size": 50, "max_positions": 16}
CONFIG = {
    "vocab_size": 50,
    "hidden_size": 8,
    "visual_embedding_dim": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "num_labels": 3,
    "initializer_range": 0.5,
}


def batch():
    values = torch.randint(1, 40, (3, 5))
    text_mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    image_mask = torch.arange(4) < torch.tensor([[3], [4], [2]])
    return {
        "text": Padded(values, text_mask),
        "image": Padded(torch.randn(3, 4, 6), image_mask),
    }


def saved(folder, cls="VisualBertModel", **changes):
    """A random checkpoint as transformers writes it."""
    import transformers

    kind = transformers.BertConfig if cls.startswith("Bert") else transformers.VisualBertConfig
    config = {
        k: v for k, v in CONFIG.items() if kind is not transformers.BertConfig or "vis" not in k
    }
    model = getattr(transformers, cls)(kind(**config | changes)).eval()
    with torch.no_grad():  # transformers starts them equal to the text's, which would hide a mix-up
        for name, value in model.named_parameters():
            if "visual_" in name:
                value.normal_()
    model.save_pretrained(folder)
    return model


def loaded(folder, masking=None, **params):
    params = {**VisualBert.parameters_from(folder), **SPECIAL, **params}
    model = VisualBert(MODALITIES, 3, masking, **params).eval()
    model.load_folder(folder)
    return model


def theirs(inputs, visual=True, text=True, token_type=0):
    """Inputs as transformers wants them: [CLS] text [SEP] padding, then the regions."""
    ids = torch.zeros(3, 7, dtype=torch.long)
    mask = torch.zeros(3, 7, dtype=torch.long)
    for row in range(3):
        length = int(inputs["text"].mask[row].sum()) if text else 0
        words = inputs["text"].values[row, :length].tolist()
        ids[row, : length + 2] = torch.tensor([41, *words, 42])
        mask[row, : length + 2] = 1
    values, visual_mask = inputs["image"]
    regions = {
        "visual_embeds": values,
        "visual_attention_mask": visual_mask.long(),
        "visual_token_type_ids": torch.full(visual_mask.shape, token_type),
    }
    return {"input_ids": ids, "attention_mask": mask, **(regions if visual else {})}


def test_every_view_equals_transformers_own_model(tmp_path):
    reference = saved(tmp_path)
    with pytest.warns(UserWarning, match=r"newly made: head\.bias, head\.weight"):
        model = loaded(tmp_path)
    inputs = batch()
    out = model(inputs, VIEWS, ["pooled", "hidden.2"])
    for view in VIEWS:
        shown = {"visual": "image" in view.visible, "text": "text" in view.visible}
        expected = reference(**theirs(inputs, **shown)).pooler_output
        torch.testing.assert_close(out[view].features["pooled"], expected, atol=1e-5, rtol=0)
        logits = F.linear(expected, model.head.weight, model.head.bias)
        torch.testing.assert_close(out[view].logits, logits, atol=1e-5, rtol=0)


def test_regions_have_token_type_0_unless_told_otherwise(tmp_path):
    reference, inputs = saved(tmp_path, "VisualBertForVisualReasoning"), batch()
    for kind, params in ((0, {}), (1, {"visual_token_type": 1})):
        logits = loaded(tmp_path, **params)(inputs, VIEWS[:1])["multimodal"].logits
        expected = reference(**theirs(inputs, token_type=kind)).logits
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_question_answering_checkpoints_read_the_last_token(tmp_path):
    reference, inputs = saved(tmp_path, "VisualBertForQuestionAnswering"), batch()
    assert VisualBert.parameters_from(tmp_path)["pool"] == "last_token"
    with pytest.warns(UserWarning, match=r"not used: visual_bert\.pooler"):
        model = loaded(tmp_path)
    logits = model(inputs, VIEWS[:1])["multimodal"].logits
    expected = reference(**theirs(inputs)).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_features_equal_transformers_hidden_states_and_attentions(tmp_path):
    reference = saved(tmp_path, "VisualBertForVisualReasoning", attn_implementation="eager")
    model, inputs = loaded(tmp_path), batch()
    inputs["text"].mask[:] = True  # without text padding the two layouts agree column by column
    output = model(inputs, VIEWS[:1], model.feature_names)["multimodal"]
    asked = {"output_hidden_states": True, "output_attentions": True}
    expected = reference.visual_bert(**theirs(inputs), **asked)
    close = {"atol": 1e-5, "rtol": 1e-5}
    for i, hidden in enumerate(expected.hidden_states):
        real = output.mask  # what is padded holds zeros here
        torch.testing.assert_close(output.features[f"hidden.{i}"][real], hidden[real], **close)
        assert not output.features[f"hidden.{i}"][~real].any()
    for i, weights in enumerate(expected.attentions, 1):
        scores = output.features[f"attention.{i}"]
        assert output.features[f"value.{i}"].shape == (3, 2, 11, 4)
        scores = scores.masked_fill(~output.mask[:, None, None], -torch.inf)
        rows = output.mask[:, None, :, None].expand(weights.shape)
        torch.testing.assert_close(scores.softmax(-1)[rows], weights[rows], **close)


def test_a_head_that_does_not_fit_is_new_with_a_warning(tmp_path):
    saved(tmp_path, "VisualBertForVisualReasoning", num_labels=2)
    unfit = r"of another shape there, so newly made: head\.bias \[2\], head\.weight \[2, 8\]"
    with pytest.warns(UserWarning, match=unfit):
        loaded(tmp_path)


def test_pretraining_heads_are_named_as_unused(tmp_path):
    saved(tmp_path, "VisualBertForPreTraining")
    unused = pytest.warns(UserWarning, match=r"not used: cls\.predictions")
    with pytest.warns(UserWarning, match=r"newly made: head\.bias, head\.weight"), unused:
        loaded(tmp_path)


@pytest.mark.parametrize("cls", ["BertModel", "BertForSequenceClassification"])
def test_a_plain_bert_gives_text_and_layers(tmp_path, cls):
    reference, inputs = saved(tmp_path, cls), batch()
    with pytest.warns(UserWarning, match="newly made: .*visual_projection"):
        model = loaded(tmp_path)
    inputs["text"].mask[2, 0] = True
    pooled = model(inputs, VIEWS[1:2], ["pooled"])["text"].features["pooled"]
    bert = reference if cls == "BertModel" else reference.bert
    expected = bert(**theirs(inputs, visual=False)).pooler_output
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=0)
    table = model.bert.embeddings
    for kind in ("token_type_embeddings", "position_embeddings"):
        assert torch.equal(getattr(table, kind).weight, getattr(table, f"visual_{kind}").weight)


def test_checkpoints_that_cannot_work_are_refused(tmp_path):
    saved(tmp_path)
    with pytest.raises(DataError, match=r"visual_embedding_dim is 6; accepted: 5, .* 'image'"):
        VisualBert(
            {**MODALITIES, "image": Modality("features", 5)}, 3, **SIZE, **SPECIAL, intermediate=20
        ).load_folder(tmp_path)
    with pytest.raises(DataError, match=r"encoder\.layer\.1\.\S+ is not of this model"):
        loaded(tmp_path, layers=1)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    for change, message in (
        (
            {"model_type": "roberta"},
            "model_type is 'roberta'; accepted: bert, distilbert, visual_bert",
        ),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; accepted: 'gelu'"),
        ({"bypass_transformer": True}, "bypass_transformer is True; accepted: False"),
    ):
        path.write_text(json.dumps(config | change))
        with pytest.raises(DataError, match=message):
            VisualBert.parameters_from(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match=r"config\.json is not JSON"):
        VisualBert.parameters_from(tmp_path)


def test_parameters_come_from_the_config(tmp_path):
    saved(tmp_path, hidden_dropout_prob=0.2)
    assert VisualBert.parameters_from(tmp_path) == {
        **SIZE,
        "intermediate": 20,
        "dropout": 0.2,
    }


def fresh(masking=None, **params):
    return VisualBert(MODALITIES, 3, masking, **{**SIZE, **SPECIAL, "dropout": 0.0} | params)


def test_a_dropped_modality_is_not_read():
    model, inputs = fresh(), batch()
    alone = model({"text": inputs["text"]}, VIEWS[1:2])["text"].logits
    inputs["image"].values.fill_(float("nan"))
    torch.testing.assert_close(model(inputs, VIEWS)["text"].logits, alone, atol=1e-6, rtol=1e-6)


def test_special_tokens_stay_when_text_is_masked():
    model, inputs = fresh(MaskToken()), batch()
    states = model(inputs, VIEWS[2:], ["hidden.0"])["image"].features["hidden.0"]
    table = model.bert.embeddings
    words = table.word_embeddings(torch.tensor([41, 43, 43, 43, 43, 43, 42]))
    words = words + table.position_embeddings.weight[:7] + table.token_type_embeddings.weight[0]
    torch.testing.assert_close(states[0, :7], table.LayerNorm(words))


@pytest.mark.parametrize("masking", [None, Zero, Mean, MaskToken])
def test_empty_examples_stay_finite(masking):
    model, inputs = fresh(masking and masking()), batch()
    inputs["image"].mask[1] = False
    if masking is Mean:
        model.fit_masking([batch()])
    out = model(inputs, VIEWS)
    sum(o.logits.square().sum() for o in out.values()).backward()
    assert all(o.logits.isfinite().all() for o in out.values())
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)


def test_own_folders_load_too(tmp_path):
    from safetensors.torch import save_file

    model = fresh()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "model.json").write_text(json.dumps({"name": "visual_bert", "params": SIZE}))
    assert VisualBert.parameters_from(tmp_path) == SIZE
    again = fresh()
    again.load_folder(tmp_path)
    assert torch.equal(again.head.weight, model.head.weight)


def test_layers_come_from_a_teacher():
    teacher, student = fresh(layers=4), fresh()
    assert student.load_teacher_layers(teacher, [0, 3]) == []
    mine, other = student.encoder_layers[1], teacher.encoder_layers[3]
    assert all(map(torch.equal, mine.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize(
    ("modalities", "params", "message"),
    [
        ({"text": Modality("tokens", 9)}, {}, "exactly .*'text': 'tokens', 'image': 'features'"),
        ({**MODALITIES, "audio": Modality("features", 2)}, {}, "accepted: exactly"),
        ({**MODALITIES, "image": Modality("tokens", 2)}, {}, "accepted: exactly"),
        (MODALITIES, {"text": "caption"}, "'caption': 'tokens'"),
        (MODALITIES, {"heads": 3}, "hidden is 8, which 3 heads do not divide"),
        (MODALITIES, {"vocab_size": 43}, r"vocab_size is 43, .*\[41, 42, 43\] need 44"),
    ],
)
def test_what_it_cannot_be_built_from_is_named(modalities, params, message):
    with pytest.raises(ConfigError, match=message):
        VisualBert(modalities, 3, **{**SIZE, **SPECIAL} | params)


def test_text_that_is_too_long_is_named():
    with pytest.raises(DataError, match="'text' has 5 tokens; accepted: at most 4"):
        fresh(max_positions=6)(batch(), VIEWS)


def test_a_subclass_may_encode_in_its_own_way():
    class Louder(VisualBert):
        def encode(self, parts, features=()):
            output = super().encode(parts, features)
            return replace(output, logits=2 * output.logits)

    plain, inputs = fresh().eval(), batch()
    louder = Louder(MODALITIES, 3, **SIZE, **SPECIAL).eval()
    louder.load_state_dict(plain.state_dict())
    mine, other = louder(inputs, VIEWS), plain(inputs, VIEWS)
    for view in VIEWS:
        torch.testing.assert_close(mine[view].logits, 2 * other[view].logits)
