"""Patches and frozen image encoders."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from xxhash import xxh3_128

from msdkit.errors import ConfigError, DataError
from msdkit.processors import image
from msdkit.processors.image import ImageEncoder, Patches, read_picture
from msdkit.registry import PROCESSORS
from msdkit.types import Modality


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 24, 3), np.uint8)).save(path)
    return [str(path) for path in paths]


def small(name, path, **parameters):
    """A tiny backbone of timm with random weights, saved at `path`."""
    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), path)
    return ImageEncoder(model=name, weights=str(path), **parameters)


def test_patches_are_ordered_as_a_convolution_reads_them(pictures):
    patches = PROCESSORS.build({"name": "patches", "size": 12, "patch": 4})
    assert patches.modality == Modality("features", 48)
    result = patches(pictures[0])
    pixels = torch.from_numpy(read_picture(pictures[0], 12)).permute(2, 0, 1)[None] / 127.5 - 1
    expected = F.unfold(pixels, 4, stride=4)[0].T
    assert result.shape == (9, 48)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-6)
    assert -1 <= result.min() <= result.max() <= 1


def test_augment_draws_from_torch_and_call_does_not(pictures):
    patches = Patches(size=16, patch=8, augment=True)
    assert patches.random
    assert Patches.is_random(augment=True)
    assert not Patches.is_random(size=16)
    plain = patches(pictures[0])
    np.testing.assert_array_equal(plain, patches(pictures[0]))
    torch.manual_seed(1)
    first, second = patches.augment(pictures[0]), patches.augment(pictures[0])
    torch.manual_seed(1)
    np.testing.assert_array_equal(first, patches.augment(pictures[0]))
    assert np.abs(first - second).max() > 0.01
    steady = Patches(size=16, patch=8)
    assert not steady.random
    np.testing.assert_array_equal(steady.augment(pictures[0]), plain)


def test_size_must_be_a_multiple_of_patch():
    with pytest.raises(ConfigError, match="size 10 is no multiple of patch 4"):
        Patches(size=10, patch=4)


def test_transparent_becomes_white_and_grey_becomes_colour(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_picture(tmp_path / "clear.png", 2) == 255).all()
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png", 2).tolist() == [[[7, 7, 7]] * 2] * 2


def test_a_crop_is_given_in_shares(tmp_path):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 4:] = 200
    Image.fromarray(pixels).save(tmp_path / "p.png")
    assert (read_picture(tmp_path / "p.png", 2, "box", crop=(0.5, 0, 1, 1)) == 200).all()


def test_unreadable_pictures_are_named(pictures, tmp_path):
    data = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("cut.png", "text.png", "none.png"):
        with pytest.raises(DataError, match=f"cannot read the picture .*{name}"):
            Patches().batch([pictures[0], str(tmp_path / name)])
    with pytest.raises(DataError, match=r"cannot read the file .*none\.png"):
        Patches().key(tmp_path / "none.png")
    assert Patches().key(pictures[0]) == xxh3_128(data).hexdigest()


def test_grid_equals_the_backbone(pictures, tmp_path):
    encoder = small("test_efficientnet", tmp_path / "w.safetensors", size=64)
    result = encoder(pictures[0])
    config = timm.get_pretrained_cfg("test_efficientnet")
    pixels = torch.from_numpy(read_picture(pictures[0], 64, config.interpolation)).float() / 255
    pixels = (pixels - torch.tensor(config.mean)) / torch.tensor(config.std)
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet").eval()
    with torch.no_grad():
        maps = model.forward_features(pixels.permute(2, 0, 1)[None])
    assert encoder.modality == Modality("features", maps.shape[1])
    assert result.shape == (maps.shape[2] * maps.shape[3], maps.shape[1])
    np.testing.assert_allclose(result, maps[0].flatten(1).T.numpy(), atol=1e-5)


def test_a_transformer_gives_its_patches_without_prefix(pictures, tmp_path):
    encoder = small("test_vit", tmp_path / "w.safetensors", size=160)
    assert encoder(pictures[0]).shape == (100, 64)
    with pytest.raises(ConfigError, match="reads pictures of size 160 alone"):
        _ = ImageEncoder(model="test_vit", weights="w", size=64).modality


def test_results_do_not_depend_on_the_batch(pictures, tmp_path):
    encoder = small("test_efficientnet", tmp_path / "w.safetensors", size=64, batch_size=2)
    together = encoder.batch(pictures)
    for path, grid in zip(pictures, together, strict=True):
        np.testing.assert_allclose(grid, encoder(path), atol=1e-5)


def test_blocks_stop_early(pictures, tmp_path):
    whole = small("test_efficientnet", tmp_path / "w.safetensors", size=64)
    early = small("test_efficientnet", tmp_path / "w.safetensors", size=64, blocks=2)
    grid = early(pictures[0])
    assert grid.shape[1] == early.modality.size == whole.backbone.feature_info[1]["num_chs"]
    assert grid.shape[0] > whole(pictures[0]).shape[0]
    assert 0 < early.num_parameters < whole.num_parameters
    assert early.num_parameters == sum(p.numel() for p in early.backbone.parameters())
    assert early.fingerprint() != whole.fingerprint()
    with pytest.raises(ConfigError, match="blocks must be 1 to 5, got 6"):
        _ = small("test_efficientnet", tmp_path / "w.safetensors", blocks=6).modality


def test_flops_are_counted(pictures, tmp_path):
    encoder = small("test_efficientnet", tmp_path / "w.safetensors", size=64)
    with FlopCounterMode(display=False) as one:
        encoder.batch(pictures[:1])
    with FlopCounterMode(display=False) as all_three:
        encoder.batch(pictures)
    assert all_three.get_total_flops() == 3 * one.get_total_flops() > 0


def test_the_asset_is_matched_by_position(pictures, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    renamed = {f"other.{i}": tensor for i, tensor in enumerate(model.state_dict().values())}
    torch.save(renamed, tmp_path / "lite0.pth")
    monkeypatch.setattr(image, "asset", lambda name: tmp_path / "lite0.pth")
    encoder = ImageEncoder(size=32)
    assert encoder.modality == Modality("features", 1280)
    model.reset_classifier(0)
    for own, loaded in zip(model.parameters(), encoder.backbone.parameters(), strict=True):
        torch.testing.assert_close(own, loaded)
    assert encoder(pictures[0]).shape == (1, 1280)


def test_weights_of_another_number_of_classes_fit(pictures, tmp_path):
    model = timm.create_model("test_efficientnet", num_classes=7)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "w.pth")
    encoder = ImageEncoder(model="test_efficientnet", weights=str(tmp_path / "w.pth"), size=64)
    assert len(encoder(pictures[0])) > 0


class Trap:
    def __reduce__(self):
        return print, ("this ran",)


def test_weights_that_do_not_fit_are_refused(tmp_path, capsys):
    def load(name):
        return ImageEncoder(model="test_efficientnet", weights=str(tmp_path / name)).backbone

    with pytest.raises(DataError, match="there are no weights"):
        load("none.pth")
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"\d+ tensors do not fit; '.*' has shape None"):
        load("other.safetensors")
    torch.save(Trap(), tmp_path / "trap.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"123")
    for name in ("trap.pth", "cut.safetensors"):
        with pytest.raises(DataError, match=f"{name}: damaged, or more than tensors alone"):
            load(name)
    assert capsys.readouterr().out == ""


def test_unknown_models_are_refused():
    with pytest.raises(ConfigError, match=r"'resnet18': needs `weights`.*efficientnet_lite0"):
        ImageEncoder(model="resnet18")
    with pytest.raises(ConfigError, match=r"unknown timm model 'resnet1x8'\. Did you mean"):
        _ = ImageEncoder(model="resnet1x8", weights="w").modality
