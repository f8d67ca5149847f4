"""Features of pictures from torchvision's detector or the grid of a timm backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError, DataError
from msdkit.failures import memory
from msdkit.features.description import Regions
from msdkit.features.importing import Imported, finished, place
from msdkit.io.pictures import SUFFIXES, open_picture
from msdkit.io.torch_files import check_sizes
from msdkit.processors.image import ImageEncoder
from msdkit.progress import bar
from msdkit.store.shards import Shard
from msdkit.store.writer import FeatureStoreWriter

DETECTOR = "fasterrcnn_resnet50_fpn_v2"
RANDOM = "random"  # in place of a file of weights, to try things
NMS = 0.3  # overlap above which the less certain of two regions goes
DECODERS = 4  # threads


class Extractor(ABC):
    """Computes the regions of several pictures. dim: the width D; boxes: whether it gives boxes."""

    dim: int
    boxes: bool

    @abstractmethod
    def __call__(self, paths: Sequence[Path]) -> list[Regions]:
        """paths -> features [L, D], with boxes [L, 4] or without"""


class Grid(ImageEncoder, Extractor):
    """The last feature map of a timm backbone, a row for each place; no boxes."""

    boxes = False

    def __init__(
        self, model: str, weights: str | None, device: str, size: int, batch_size: int
    ) -> None:
        super().__init__(model=model, weights=weights, size=size, batch_size=batch_size)
        self.device = device

    @cached_property
    def backbone(self) -> nn.Module:
        """The frozen backbone on the device."""
        if self.weights != RANDOM:
            return super().backbone.to(self.device)
        torch.manual_seed(0)
        return self._shortened(self._create()).eval().to(self.device)

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.modality.size

    def __call__(self, paths: Any) -> Any:
        """paths -> features [L, D] of each"""
        return [Regions(rows) for rows in self.batch(paths)]

    def _rows(self, pictures: Tensor) -> Tensor:
        return super()._rows(pictures.to(self.device)).float().cpu()


class Boxes(Extractor):
    """The regions that Faster R-CNN (torchvision's fasterrcnn_resnet50_fpn_v2) is surest of.

    As in bottom-up attention (Anderson et al., arXiv 1707.07998): proposals with the state of the
    box head (1,024 wide), scored by their likeliest class other than background, thinned out by
    non-maximum suppression; those above `min_score`, but at least `min_regions` and at most
    `max_regions`, the surest first.

    weights: a local state_dict. size: the shorter side in pixels.
    """

    dim, boxes = 1024, True

    def __init__(
        self,
        weights: str,
        device: str = "cpu",
        size: int = 800,
        *,
        min_regions: int = 10,
        max_regions: int = 36,
        min_score: float = 0.2,
    ) -> None:
        from torchvision.models import detection

        torch.manual_seed(0)
        model = getattr(detection, DETECTOR)(
            weights=None, weights_backbone=None, min_size=size, max_size=size * 5 // 3
        )
        if weights != RANDOM:
            _load(model, Path(weights))
        self.model: Any = model.eval().requires_grad_(False).to(device)
        self.device, self.min_score = device, min_score
        self.least, self.most = min_regions, max_regions

    @torch.inference_mode()
    def __call__(self, paths: Sequence[Path]) -> list[Regions]:
        with ThreadPoolExecutor(DECODERS) as pool:
            pictures = [p.to(self.device) for p in pool.map(pixels, paths)]
        images, _ = self.model.transform(pictures)
        maps = self.model.backbone(images.tensors)
        proposals, _ = self.model.rpn(images, maps)
        heads = self.model.roi_heads
        states = heads.box_head(heads.box_roi_pool(maps, proposals, images.image_sizes))
        chances = heads.box_predictor(states)[0].softmax(-1)[:, 1:]
        counts = [len(boxes) for boxes in proposals]
        parts = zip(proposals, states.split(counts), chances.split(counts), strict=True)
        return [
            self._surest(*part, size) for part, size in zip(parts, images.image_sizes, strict=True)
        ]

    def _surest(
        self, boxes: Tensor, states: Tensor, chances: Tensor, size: tuple[int, int]
    ) -> Regions:
        from torchvision.ops import batched_nms

        scores, classes = chances.max(-1)
        kept = batched_nms(boxes.float(), scores.float(), classes, NMS)
        count = int((scores[kept] > self.min_score).sum())
        kept = kept[: min(max(count, self.least), self.most)]
        height, width = size
        shares = boxes[kept] / boxes.new_tensor([width, height, width, height])
        return Regions(states[kept].float().cpu().numpy(), shares.float().cpu().numpy())


def extract_features(
    images: str | Path,
    store: str | Path,
    extractor: Extractor,
    *,
    batch_size: int = 8,
    dtype: Literal["fp16", "fp32"] = "fp16",
    shard: Shard | None = None,
) -> Imported:
    """Write the features of all pictures of a folder into a new store, and verify it.

    Keys are the pictures' paths in the folder, without suffix. A second call after an interruption
    goes on where the first ended. shard: compute this part of the store alone, beside other
    processes; the last one to finish makes one store of the parts.
    """
    path = place(store, shard)
    if shard is not None and path.is_dir():
        return finished(store, shard)
    found = pictures_of(Path(images))
    files = {key: file for key, file in found.items() if shard is None or shard.owns(key)}
    with FeatureStoreWriter(path, extractor.dim, dtype, extractor.boxes) as writer:
        left = [key for key in files if key not in writer]
        done = len(files) - len(left)
        less = memory(f"extracting {images}", f"lower --batch-size (now {batch_size}) or --size")
        with bar(len(files), f"extracting {images}", "pictures", done) as advance, less:
            for start in range(0, len(left), batch_size):
                keys = left[start : start + batch_size]
                for key, regions in zip(keys, extractor([files[k] for k in keys]), strict=True):
                    writer.add(key, *regions)
                advance(len(keys))
    return finished(store, shard)


def build_extractor(
    backbone: str = DETECTOR,
    weights: str | None = None,
    device: str = "cpu",
    size: int | None = None,
    batch_size: int = 8,
    **detection: Any,
) -> Extractor:
    """The detector by its name, else a grid; `detection` are parameters of `Boxes`."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device '{device}' cannot be used here: {reason}") from error
    if backbone != DETECTOR:
        return Grid(backbone, weights, device, size or 224, batch_size)
    if weights is None:
        raise ConfigError(f"{DETECTOR} needs `weights`, a local state_dict (or '{RANDOM}' to try)")
    return Boxes(weights, device, size or 800, **detection)


def pictures_of(folder: Path) -> dict[str, Path]:
    """{key: file} of the pictures below a folder, sorted."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES and not file.is_dir():
            key = file.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                raise DataError(f"{file} and {found[key].name} would have the same key '{key}'")
            found[key] = file
    if not found:
        raise DataError(f"{folder}: holds no picture ({', '.join(sorted(SUFFIXES))})")
    return found


def pixels(path: Path) -> Tensor:
    """float32 [3, H, W], 0 to 1"""
    return torch.from_numpy(np.array(open_picture(path))).permute(2, 0, 1).float() / 255


def _load(model: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            check_sizes(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # every format raises its own
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"weights {path}: no state_dict of {DETECTOR}: {reason}") from error
