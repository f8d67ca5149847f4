"""Models of modalities whose names torch cannot hold."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.models.masking import MaskToken
from msdkit.models.named import NamedModules, NamedParameters, module_key
from msdkit.types import Modality, Padded, default_views

ODD = ["audio.mel", "type", "keys", "training", "a/b + c", "1", "日本"]


@pytest.mark.parametrize(
    ("name", "key"),
    [("text", "text"), ("a.b", "a%2Eb"), ("type", "%type"), ("update", "%update"), ("a b", "a b")],
)
def test_keys(name, key):
    assert module_key(name) == module_key(module_key(name)) == key


def test_entries_are_found_by_the_names_of_modalities():
    modules = NamedModules({name: nn.Linear(1, i + 1) for i, name in enumerate(ODD)})
    numbers = NamedParameters({name: torch.full((1,), float(i)) for i, name in enumerate(ODD)})
    for i, name in enumerate(ODD):
        assert name in modules
        assert modules[name].out_features == i + 1
        assert numbers.get(name).item() == i
    assert ("other" in modules, numbers.get("other")) == (False, None)
    assert len(list(numbers.items())) == len(modules) == len(ODD)


def test_plain_names_keep_their_places_in_checkpoints():
    named = NamedModules({"text": nn.Linear(1, 1), "image": nn.Linear(1, 1)})
    plain = nn.ModuleDict({"text": nn.Linear(1, 1), "image": nn.Linear(1, 1)})
    assert list(named.state_dict()) == list(plain.state_dict())


def test_a_model_of_any_names_gives_what_the_same_with_plain_names_gives(tmp_path):
    models = {}
    for names in (ODD, [f"m{i}" for i in range(len(ODD))]):
        torch.manual_seed(0)
        modalities = {name: Modality("features", 3) for name in names}
        model = FusionTransformer(modalities, 2, MaskToken(), hidden=8, layers=1, heads=2).eval()
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        model.load_state_dict(load_file(tmp_path / "model.safetensors"))
        models[names[0]] = model, names
    outputs = []
    for model, names in models.values():
        draws = torch.Generator().manual_seed(1)
        inputs = {
            n: Padded(torch.randn(2, 3, 3, generator=draws), torch.ones(2, 3, dtype=torch.bool))
            for n in names
        }
        outputs.append([out.logits for out in model(inputs, default_views(names)).values()])
    for odd, plain in zip(*outputs, strict=True):
        assert torch.equal(odd, plain)
