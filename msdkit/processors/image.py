"""Processors of pictures: flattened patches, the grid of a frozen backbone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError, DataError, listing, suggest
from msdkit.hub.packages import asset
from msdkit.hub.paths import local
from msdkit.io.pictures import open_picture
from msdkit.processors.base import Processor, file_key
from msdkit.registry import PROCESSORS
from msdkit.types import Modality

# assets by the architecture of timm that they belong to
ARCHITECTURES = {"efficientnet_lite0": "tf_efficientnet_lite0"}
DECODERS = 4  # threads; PIL decodes and resizes without the interpreter's lock


class Pictures(Processor):
    """What processors of pictures share: a raw value is the path of a file."""

    def key(self, raw: str | Path) -> str:
        return file_key(raw)

    def __call__(self, raw: str | Path) -> np.ndarray:
        """path -> float32 [L, D]"""
        return self.batch([raw])[0]


@PROCESSORS.register("patches")
class Patches(Pictures):
    """Square patches of a picture, `(size / patch)^2` rows of `3 * patch^2` values in [-1, 1].

    The rows run from left to right and from top to bottom; a row is ordered as the weight of a
    convolution is: channel, line, column. Dosovitskiy et al. (2021), arXiv 2010.11929.
    The picture is squeezed to a square; what is transparent becomes white.
    size, patch: in pixels. augment: training draws a horizontal flip and a crop of 80 to 100 % of
    each side.
    """

    def __init__(self, *, size: int = 96, patch: int = 16, augment: bool = False) -> None:
        if patch < 1 or size < patch or size % patch:
            raise ConfigError(f"patches: size {size} is no multiple of patch {patch}")
        self.size, self.patch, self.random = size, patch, augment

    @classmethod
    def is_random(cls, **parameters: Any) -> bool:
        return bool(parameters.get("augment", False))

    @property
    def modality(self) -> Modality:
        return Modality("features", 3 * self.patch**2)

    def batch(self, raws: Sequence[str | Path]) -> list[np.ndarray]:
        with ThreadPoolExecutor(DECODERS) as pool:
            return list(pool.map(lambda raw: self._cut(read_picture(raw, self.size)), raws))

    def augment(self, raw: str | Path) -> np.ndarray:
        """path -> float32 [L, D]"""
        if not self.random:
            return self(raw)
        flip, side, left, top = torch.rand(4).tolist()
        side = 0.8 + 0.2 * side
        corner = (left * (1 - side), top * (1 - side))
        pixels = read_picture(raw, self.size, crop=(*corner, corner[0] + side, corner[1] + side))
        return self._cut(pixels[:, ::-1] if flip < 0.5 else pixels)

    def _cut(self, pixels: np.ndarray) -> np.ndarray:
        n, p = self.size // self.patch, self.patch
        grid = pixels.reshape(n, p, n, p, 3).transpose(0, 2, 4, 1, 3)
        return grid.reshape(n * n, 3 * p * p).astype(np.float32) / 127.5 - 1


@PROCESSORS.register("image_encoder")
class ImageEncoder(Pictures):
    """The last feature map of a frozen timm backbone as a grid of `h * w` rows.

    The picture is squeezed to a square; what is transparent becomes white. Mean, deviation and
    interpolation are those that the backbone was trained with.

    model: an asset's name, or any architecture of timm together with `weights`.
    weights: a local .safetensors, or a pickle of tensors alone (.pth, .bin).
    size: side in pixels. blocks: stop after that many of timm's feature stages, which costs less
    and gives a finer grid (efficientnet_lite0 has 5, of width 16, 24, 40, 112 and 320).
    batch_size: pictures computed together.
    """

    neutral = frozenset({"batch_size"})

    def __init__(
        self,
        *,
        model: str = "efficientnet_lite0",
        weights: str | None = None,
        size: int = 128,
        dtype: Literal["fp16", "fp32"] = "fp16",
        batch_size: int = 32,
        blocks: int | None = None,
    ) -> None:
        if weights is None and model not in ARCHITECTURES:
            raise ConfigError(
                f"image encoder '{model}': needs `weights`, a local file; without it the model is "
                f"one of {listing(ARCHITECTURES)}"
            )
        self.model, self.weights, self.size = model, weights, size
        self.dtype, self.batch_size, self.blocks = dtype, batch_size, blocks

    @cached_property
    def backbone(self) -> nn.Module:
        """The frozen backbone, loaded when first used."""
        model = self._create()
        _load_weights(model, self.files()[0], by_position=self.weights is None)
        model = self._shortened(model).eval().requires_grad_(False)
        return model.to(memory_format=torch.channels_last)  # 1.3 to 1.6 times as fast on a CPU

    @cached_property
    def _outline(self) -> Any:
        """The backbone without its weights: enough to tell widths and counts."""
        with torch.device("meta"):
            return self._shortened(self._create())

    @property
    def modality(self) -> Modality:
        return Modality("features", self._outline.num_features)

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self._outline.parameters())

    def files(self) -> list[Path]:
        return [asset(self.model) if self.weights is None else local(self.weights)]

    def batch(self, raws: Sequence[str | Path]) -> list[np.ndarray]:
        results: list[np.ndarray] = []
        style = self._trained_with["interpolation"]
        read = partial(read_picture, size=self.size, interpolation=style)
        with ThreadPoolExecutor(DECODERS) as pool:
            for start in range(0, len(raws), self.batch_size):
                part = raws[start : start + self.batch_size]
                results += self._grids(np.stack(list(pool.map(read, part))))
        return results

    def _create(self) -> Any:
        import timm

        name = ARCHITECTURES.get(self.model, self.model)
        if not timm.is_model(name):
            known = timm.list_models()
            raise ConfigError(
                f"unknown timm model '{name}'. {suggest(name, known)}timm knows {len(known)} models"
            )
        model: Any = timm.create_model(name, pretrained=False)
        side = model.pretrained_cfg["input_size"][-1]
        if model.pretrained_cfg.get("fixed_input_size") and self.size != side:
            raise ConfigError(f"image encoder '{name}' reads pictures of size {side} alone")
        return model

    def _shortened(self, model: Any) -> Any:
        """Without its classifier and without the stages after `blocks`."""
        model.reset_classifier(0)
        stages = len(model.feature_info)
        if self.blocks is None:
            return model
        if not 1 <= self.blocks <= stages:
            raise ConfigError(
                f"image encoder '{self.model}': blocks must be 1 to {stages}, got {self.blocks}"
            )
        model.prune_intermediate_layers([self.blocks - 1])
        return model

    @cached_property
    def _trained_with(self) -> dict[str, Any]:
        """mean, std and interpolation of the backbone's training."""
        from timm.data import resolve_data_config

        return resolve_data_config({}, model=self._outline)

    @torch.inference_mode()
    def _grids(self, pixels: np.ndarray) -> list[np.ndarray]:
        """uint8 [B, H, W, 3] -> B of float32 [h * w, C]"""
        mean, std = (torch.tensor(self._trained_with[name]) for name in ("mean", "std"))
        scaled = (torch.from_numpy(pixels) / 255 - mean) / std
        return list(self._rows(scaled.permute(0, 3, 1, 2)).contiguous().numpy())

    def _rows(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, h * w, C]"""
        backbone: Any = self.backbone
        if self.blocks is not None:
            stage = [self.blocks - 1]
            maps = backbone.forward_intermediates(pictures, stage, intermediates_only=True)[0]
            return maps.flatten(2).transpose(1, 2)
        maps = backbone.forward_features(pictures)
        if maps.ndim == 3:  # a transformer: tokens, the special ones first
            return maps[:, backbone.num_prefix_tokens :]
        channels_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        return maps.flatten(1, 2) if channels_last else maps.flatten(2).transpose(1, 2)


def read_picture(
    path: str | Path,
    size: int,
    interpolation: str = "bicubic",
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> np.ndarray:
    """uint8 `[size, size, 3]`; crop: left, top, right, bottom as shares of the sides."""
    from PIL import Image

    picture = open_picture(path)
    (width, height), (left, top, right, bottom) = picture.size, crop
    box = (left * width, top * height, right * width, bottom * height)
    return np.array(picture.resize((size, size), Image.Resampling[interpolation.upper()], box))


def _load_weights(model: Any, path: Path, by_position: bool) -> None:
    """Fill all but the classifier; DataError when names or shapes differ.

    by_position: the file lists the same tensors in the same order under other names.
    """
    own, state = model.state_dict(), _read_weights(path)
    if by_position and len(own) == len(state):
        state = dict(zip(own, state.values(), strict=True))
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    own, state = (
        {n: t for n, t in tensors.items() if not n.startswith(heads)} for tensors in (own, state)
    )
    expected, found = ({n: list(t.shape) for n, t in x.items()} for x in (own, state))
    wrong = [n for n in {**expected, **found} if expected.get(n) != found.get(n)]
    if wrong:
        raise DataError(
            f"weights {path}: {len(wrong)} tensors do not fit; '{wrong[0]}' has shape "
            f"{found.get(wrong[0])}, expected {expected.get(wrong[0])}"
        )
    model.load_state_dict(state, strict=False)


def _read_weights(path: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    if not path.is_file():
        raise DataError(f"there are no weights {path}")
    try:
        return load_state_dict(str(path), weights_only=True)
    except Exception as error:  # every format raises its own
        raise DataError(
            f"weights {path}: damaged, or more than tensors alone; expected a .safetensors, or a "
            "state_dict written by torch.save"
        ) from error
