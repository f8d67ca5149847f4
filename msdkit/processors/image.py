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

from msdkit.errors import ConfigError, listing
from msdkit.hub.packages import asset
from msdkit.hub.paths import local
from msdkit.io.digests import content_digest
from msdkit.io.pictures import open_picture
from msdkit.processors.backbones import Grid, create, load_weights, shortened
from msdkit.processors.base import Processor
from msdkit.registry import PROCESSORS
from msdkit.types import Modality

# assets by the architecture of timm that they belong to
ARCHITECTURES = {"efficientnet_lite0": "tf_efficientnet_lite0"}
DECODERS = 4  # threads; PIL decodes and resizes without the interpreter's lock


class Pictures(Processor):
    """What processors of pictures share: a raw value is the path of a file."""

    own_key = False

    def key(self, raw: str | Path) -> str:
        return content_digest(raw)

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
        load_weights(model, self.files()[0], by_position=self.weights is None)
        model = self._shortened(model).eval().requires_grad_(False)
        return model.to(memory_format=torch.channels_last)  # 1.3 to 1.6 times as fast on a CPU

    @cached_property
    def _outline(self) -> Any:
        """The backbone without its weights: enough to tell widths and counts."""
        with torch.device("meta"):
            return self._shortened(self._create()).eval()

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self._outline, self.size, self.blocks)

    @property
    def modality(self) -> Modality:
        return Modality("features", self._grid.width)

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

    @cached_property
    def _trained_with(self) -> dict[str, Any]:
        """mean, std and interpolation of the backbone's training."""
        from timm.data import resolve_data_config

        return resolve_data_config({}, model=self._outline)

    def _create(self) -> Any:
        return create(ARCHITECTURES.get(self.model, self.model), self.size)

    def _shortened(self, model: Any) -> Any:
        return shortened(model, self.blocks, f"image encoder '{self.model}'")

    @torch.inference_mode()
    def _grids(self, pixels: np.ndarray) -> list[np.ndarray]:
        """uint8 [B, H, W, 3] -> B of float32 [h * w, C]"""
        mean, std = (torch.tensor(self._trained_with[name]) for name in ("mean", "std"))
        scaled = (torch.from_numpy(pixels) / 255 - mean) / std
        return list(self._rows(scaled.permute(0, 3, 1, 2)).contiguous().numpy())

    def _rows(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, h * w, C]"""
        return self._grid(self.backbone, pictures)


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
