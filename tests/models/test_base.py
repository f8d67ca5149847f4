"""What models share: views, feature names, folders of weights and a teacher's layers."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from msdkit.errors import ConfigError, DataError
from msdkit.models.base import EmbeddingModel, Model
from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.models.masking import Mean, Zero
from msdkit.registry import MODELS
from msdkit.types import Modality, ModelOutput, Padded, View, default_views

MODALITIES = {"text": Modality("tokens", 9), "image": Modality("features", 3)}
VIEWS = default_views(MODALITIES)


def batch(size=2):
    full = torch.ones(size, 4, dtype=torch.bool)
    return {
        "text": Padded(torch.randint(9, (size, 4)), full),
        "image": Padded(torch.randn(size, 4, 3), full),
    }


class Counting(Model):
    """Its logit is the number of modalities that it sees."""

    def forward_view(self, inputs, features=()):
        first = next(iter(inputs.values())).mask
        return ModelOutput(torch.full((len(first), 1), float(len(inputs))))


def small(**params):
    return FusionTransformer(MODALITIES, 2, **{"hidden": 8, "heads": 2, "max_length": 6} | params)


def write(folder, model, params=None, name="fusion_transformer"):
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps({"name": name, "params": params or {}}))
    return folder


def test_a_simple_model_sees_the_visible_modalities_only():
    out = Counting(MODALITIES, 1)(batch(), VIEWS)
    assert {view: o.logits[0].item() for view, o in out.items()} == {
        "multimodal": 2.0,
        "text": 1.0,
        "image": 1.0,
    }


def test_a_simple_model_refuses_other_maskings():
    with pytest.raises(ConfigError, match=r"Counting got masking Zero; accepted: drop"):
        Counting(MODALITIES, 1, Zero())


@pytest.mark.parametrize(
    ("change", "views", "features", "error", "message"),
    [
        (
            {},
            [View("audio", ["audio"])],
            (),
            ConfigError,
            "view 'audio' shows audio; .*image, text",
        ),
        ({}, [View("none", [])], (), ConfigError, "view 'none' shows \\(none\\)"),
        ({}, VIEWS, ["pool"], ConfigError, "unknown feature 'pool'. Did you mean 'pooled'"),
        ({}, VIEWS, ["hidden.3"], ConfigError, "hidden.0, hidden.1, hidden.2, attention.1"),
        ({"image": None}, VIEWS, (), DataError, "'image' is missing from the inputs, .* hold text"),
        (
            {"text": torch.zeros(2, 4)},
            VIEWS,
            (),
            DataError,
            r"float32 \[2, 4\]; .*integer \[B, L\]",
        ),
        ({"image": torch.zeros(2, 4, 5)}, VIEWS, (), DataError, r"accepted: float \[B, L, 3\]"),
    ],
)
def test_wrong_calls_are_named(change, views, features, error, message):
    inputs = batch()
    for name, values in change.items():
        entry = inputs.pop(name)
        if values is not None:
            inputs[name] = Padded(values, entry.mask)
    with pytest.raises(error, match=message):
        small()(inputs, views, features)


def test_a_hidden_modality_may_be_missing_with_drop_but_not_with_zero():
    inputs = batch()
    del inputs["image"]
    assert small()(inputs, VIEWS[1:2])["text"].logits.shape == (2, 2)
    with pytest.raises(DataError, match="'image' is missing"):
        small(masking=Zero())(inputs, VIEWS[1:2])


class Averaging(EmbeddingModel):
    """Its logit is the mean embedding; it embeds features as they are."""

    embedded = 0

    def embed(self, inputs):
        self.embedded += 1
        parts = {name: tuple(sequence) for name, sequence in inputs.items()}
        mask = next(iter(parts.values()))[1]
        return parts | {"special": (torch.full((len(mask), 1, 3), 10.0), mask[:, :1])}

    def encode(self, parts, features=()):
        joined = torch.cat([embeddings for embeddings, _ in parts.values()], 1)
        return ModelOutput(joined.mean((1, 2))[:, None])


def averaging(masking=None):
    modalities = {"a": Modality("features", 3), "b": Modality("features", 3)}
    mask = torch.ones(2, 2, dtype=torch.bool)
    values = {"a": torch.full((2, 2, 3), 1.0), "b": torch.full((2, 2, 3), 4.0)}
    inputs = {name: Padded(value, mask) for name, value in values.items()}
    return Averaging(modalities, 1, masking, width=3), inputs, default_views(modalities)


def test_maskings_apply_to_hidden_modalities_and_never_to_special_entries():
    model, inputs, views = averaging(Zero())
    logits = {name: o.logits[0].item() for name, o in model(inputs, views).items()}
    assert logits == pytest.approx({"multimodal": 20 / 5, "a": 12 / 5, "b": 18 / 5})
    assert model.embedded == 1
    model, inputs, views = averaging()
    logits = {name: o.logits[0].item() for name, o in model(inputs, views).items()}
    assert logits == pytest.approx({"multimodal": 20 / 5, "a": 12 / 3, "b": 18 / 3})


def test_fit_masking_makes_the_exact_mean_and_training_a_running_one():
    model, inputs, views = averaging(Mean(momentum=0.0))
    model.eval()
    with pytest.raises(ConfigError, match="fit_masking"):
        model(inputs, views)
    other = {name: Padded(s.values + 2, s.mask) for name, s in inputs.items()}
    model.fit_masking([inputs, other])
    torch.testing.assert_close(model.masking.means, torch.tensor([[2.0], [5.0]]).expand(2, 3))
    model.fit_masking([inputs])  # starts anew
    assert model(inputs, views)["a"].logits[0].item() == pytest.approx(20 / 5)
    model.train()
    model(other, views)
    torch.testing.assert_close(model.masking.means, torch.tensor([[3.0], [6.0]]).expand(2, 3))


def test_fit_masking_reads_nothing_for_maskings_without_statistics():
    model, _, _ = averaging(Zero())
    model.fit_masking(iter(lambda: pytest.fail("a batch was read"), None))


def test_a_folder_gives_back_parameters_and_weights(tmp_path):
    params = {"hidden": 8, "heads": 2, "max_length": 6}
    saved = small()
    folder = write(tmp_path / "best", saved, params)
    assert FusionTransformer.parameters_from(folder) == params
    model = MODELS.build(
        {"name": "fusion_transformer", **FusionTransformer.parameters_from(str(folder))},
        modalities=MODALITIES,
        num_classes=2,
    )
    model.load_folder(folder)
    inputs = batch()
    expected = saved.eval()(inputs, VIEWS)["multimodal"].logits
    assert torch.equal(model.eval()(inputs, VIEWS)["multimodal"].logits, expected)


def test_parameters_from_names_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match=r"model\.json is missing"):
        FusionTransformer.parameters_from(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        FusionTransformer.parameters_from(tmp_path)
    folder = write(tmp_path, small(), name="visual_bert")
    with pytest.raises(DataError, match="describes a 'visual_bert'; accepted: a FusionTransformer"):
        FusionTransformer.parameters_from(folder)


def test_loading_names_every_tensor_that_does_not_match_and_loads_nothing(tmp_path):
    weights = small().state_dict()
    del weights["norm.bias"]
    weights |= {"extra": torch.zeros(1), "head.bias": torch.zeros(7)}
    save_file(weights, tmp_path / "model.safetensors")
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DataError) as caught:
        model.load_folder(tmp_path)
    for part in ("extra is not of this model", "norm.bias is missing", "head.bias is [7], the"):
        assert part in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_masking_may_change_between_saving_and_loading(tmp_path):
    fitted = small(masking=Mean())
    fitted.fit_masking([batch()])
    small().load_folder(write(tmp_path / "mean", fitted))
    again = small(masking=Mean())
    again.load_folder(tmp_path / "mean")
    assert torch.equal(again.masking.means, fitted.masking.means)
    small(masking=Mean()).load_folder(write(tmp_path / "drop", small()))


def test_shards_load_and_broken_files_pickles_and_nothing_are_refused(tmp_path):
    names = list(small().state_dict())
    saved = small().state_dict()
    for number, part in enumerate((names[:5], names[5:]), 1):
        path = tmp_path / f"model-0000{number}-of-00002.safetensors"
        save_file({name: saved[name] for name in part}, path)
    model = small()
    model.load_folder(tmp_path)
    assert torch.equal(model.cls, saved["cls"])
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"no weights; accepted: model\.safetensors"):
        model.load_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match=r"pytorch_model\.bin cannot be read .* damaged or cut off"):
        model.load_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read"):
        model.load_folder(tmp_path)


def test_teacher_layers_are_copied_in_order_and_the_rest_by_name():
    teacher, student = small(layers=4), small(layers=2)
    teacher.head = nn.Linear(8, 5)
    before = student.head.weight.clone()
    assert student.load_teacher_layers(teacher, [1, 3]) == ["head.weight", "head.bias"]
    for mine, theirs in zip(student.layers, (teacher.layers[1], teacher.layers[3]), strict=True):
        assert all(map(torch.equal, mine.state_dict().values(), theirs.state_dict().values()))
    assert torch.equal(student.positions["text"], teacher.positions["text"])
    assert torch.equal(student.head.weight, before)
    assert student.cls is not teacher.cls


@pytest.mark.parametrize(
    ("params", "layers", "message"),
    [
        ({"layers": 4}, [1], "accepted: 2 of 0 to 3"),
        ({"layers": 4}, [-1, 2], r"teacher layers \[-1, 2\] .* accepted: 2 of 0 to 3"),
        ({"layers": 4}, [3, 4], "accepted: 2 of 0 to 3"),
        ({"hidden": 12}, [0, 1], r"teacher layer 0 for student layer 0 .*norm1.weight is \[12\]"),
    ],
)
def test_teacher_layers_that_do_not_fit_are_named(params, layers, message):
    with pytest.raises(ConfigError, match=message):
        small().load_teacher_layers(small(**params), layers)


def test_a_model_without_layers_cannot_give_them():
    with pytest.raises(ConfigError, match="Counting has no numbered encoder layers"):
        small().load_teacher_layers(Counting(MODALITIES, 2), [1, 2])
