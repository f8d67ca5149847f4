"""Backbones of every kind that timm has are read as a row for each place of the picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_model
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.processors.backbones import create, shortened
from msdkit.processors.image import ImageEncoder
from msdkit.types import Modality


def whole(model: Any, x: Tensor) -> Tensor:
    return model.forward_features(x)


def behind(count: int) -> Callable[[Any, Tensor], Tensor]:
    return lambda model, x: model.forward_features(x)[:, count:]


def pit(model: Any, x: Tensor) -> Tensor:
    """Its features are the class token alone; the picture lies beside it."""
    x = model.pos_drop(model.patch_embed(x) + model.pos_embed)
    x, _ = model.transformers((x, model.cls_token.expand(len(x), -1, -1)))
    return x.flatten(2).transpose(1, 2)


def larger_branch(model: Any, x: Tensor) -> Tensor:
    return model.forward_features(x)[-1][:, 1:]


def pixels_first(model: Any, x: Tensor) -> Tensor:
    return model.forward_features(x).flatten(2).transpose(1, 2)


def last_stage(model: Any, x: Tensor) -> Tensor:
    return model.forward_intermediates(x, intermediates_only=True)[-1].flatten(2).transpose(1, 2)


KINDS: dict[str, tuple[int, int, int, Callable[[Any, Tensor], Tensor]]] = {
    # side, places, width
    "gmlp_ti16_224": (224, 196, 128, whole),
    "efficientformer_l1": (224, 49, 448, whole),
    "levit_128s": (224, 16, 384, whole),
    "hiera_tiny_224": (224, 49, 768, whole),
    "coat_lite_tiny": (224, 49, 320, behind(1)),  # which nothing counts
    "deit_tiny_distilled_patch16_224": (224, 196, 192, behind(2)),
    "pit_ti_224": (224, 49, 256, pit),
    "crossvit_tiny_240": (240, 196, 192, larger_branch),
    "efficientvim_m1": (224, 16, 320, last_stage),
    "test_convnext": (96, 9, 64, pixels_first),
}


@pytest.fixture
def picture(tmp_path: Path) -> str:
    values = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    return str(tmp_path / "x.png")


@pytest.mark.parametrize("name", KINDS)
def test_a_row_for_each_place(name: str, tmp_path: Path, picture: str) -> None:
    side, places, width, by_hand = KINDS[name]
    torch.manual_seed(0)
    save_model(timm.create_model(name), str(tmp_path / "w.safetensors"))  # CoaT shares tensors
    weights = str(tmp_path / "w.safetensors")
    encoder = ImageEncoder(model=name, weights=weights, size=side)
    assert encoder.modality == Modality("features", width)
    rows = encoder(picture)
    assert rows.shape == (places, width)
    with Image.open(picture) as file:
        style = Image.Resampling[encoder._trained_with["interpolation"].upper()]
        values = np.array(file.resize((side, side), style), np.float32) / 255
    mean, std = encoder._trained_with["mean"], encoder._trained_with["std"]
    pixels = torch.from_numpy(((values - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = by_hand(encoder.backbone, pixels)[0].numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet10t", "gmlp_ti16_224", "pit_ti_224", "crossvit_tiny_240"])
def test_widths_of_stages_are_what_comes_out(name: str) -> None:
    side = timm.get_pretrained_cfg(name).input_size[-1]
    encoder = ImageEncoder(model=name, weights="random", size=side, blocks=1)
    model = shortened(create(name, side), 1, name).eval()
    with torch.inference_mode():
        rows = encoder._grid(model, torch.zeros(1, 3, side, side))
    assert encoder.modality.size == rows.shape[2]


def test_a_size_that_a_backbone_does_not_read_is_named(tmp_path: Path) -> None:
    encoder = ImageEncoder(model="levit_128s", weights="w", size=64)
    with pytest.raises(ConfigError, match="'levit_128s' reads pictures of size 224 alone"):
        _ = encoder.modality
    encoder = ImageEncoder(model="halonet26t", weights="w", size=100)
    with pytest.raises(ConfigError, match="'halonet26t' cannot read pictures of size 100: "):
        _ = encoder.modality
