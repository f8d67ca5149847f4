"""Detected regions: features of a store, each with the geometry of its box."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msdkit.errors import DataError
from msdkit.hub.paths import local
from msdkit.processors.array import StoredKey
from msdkit.processors.base import Processor
from msdkit.registry import PROCESSORS
from msdkit.store.format import INDEX
from msdkit.store.store import FeatureStore
from msdkit.types import Modality

GEOMETRY = 7
SLACK = 1e-3  # boxes that reach the border by rounding may stand out so far


class RegionStore(FeatureStore):
    """A feature store whose rows end with the geometry of their boxes, computed when they are read.

    Nothing is written: training reads the store where it lies.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        if "boxes" not in self._index or self.dtype == "int32":
            raise DataError(
                f"feature store {path} holds no boxes; processor `regions` needs features that "
                "were stored with them"
            )
        _check_boxes(self._index["boxes"], path)

    def __reduce__(self) -> tuple[Any, ...]:
        return RegionStore, (self.path,)

    def __getitem__(self, key: str) -> np.ndarray:
        boxes = self.boxes(key)
        assert boxes is not None
        return np.concatenate([super().__getitem__(key).astype(np.float32), geometry(boxes)], 1)

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[B] -> float32 [B, L, D + 7], mask bool [B, L]; padded with zeros."""
        stored, mask = self._gathered(np.asarray(indices))
        places = self._offsets[np.asarray(indices)][:, None] + np.arange(mask.shape[1])
        values = torch.zeros(*mask.shape, self.dim + GEOMETRY)
        values[..., : self.dim] = torch.from_numpy(stored)  # widens as it copies
        found = values.numpy()
        found[mask, self.dim :] = geometry(self._index["boxes"][places[mask]])
        return found, mask


@PROCESSORS.register("regions")
class Regions(Processor):
    """Looks raw values up as keys of a feature store with boxes: feature and geometry of regions.

    Geometry (Chen et al., 2020, arXiv 1909.11740): x1, y1, x2, y2, width and height, all as shares
    of the picture's sides, and width · height. The model `uniter` reads it. Paths are looked up as
    by the processor `features`.
    store: the folder of the store; its boxes are x1, y1, x2, y2 as shares of the picture's sides.
    """

    def __init__(self, *, store: str) -> None:
        self.path = local(store)

    @cached_property
    def store(self) -> RegionStore:
        """The store, opened when first asked for, and verified unless it is large."""
        store = RegionStore(self.path)
        store.verify_if_small()
        return store

    @property
    def modality(self) -> Modality:
        return Modality("features", self.store.dim + GEOMETRY)

    def files(self) -> list[Path]:
        return [self.path / INDEX]  # it holds the boxes, and the digest of the rest

    @cached_property
    def key(self) -> StoredKey:
        return StoredKey(self.store)

    def __call__(self, raw: Any) -> np.ndarray:
        """key -> float32 [L, D + 7]"""
        return self.store[self.key(raw)]


def geometry(boxes: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 [L, 4] -> and width, height, area [L, 7]"""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes, sides, sides.prod(1, keepdims=True)], 1).astype(np.float32)


def _check_boxes(boxes: np.ndarray, path: str | Path) -> None:
    low, high = (boxes.min(), boxes.max()) if boxes.size else (0.0, 1.0)
    if not (low >= -SLACK and high <= 1 + SLACK):
        raise DataError(
            f"feature store {path}: boxes run from {low:g} to {high:g}; accepted: x1, y1, x2, y2 "
            "as shares of the picture's sides, 0 to 1 (divide pixels by width and height)"
        )
    if boxes.size and (boxes[:, 2:] < boxes[:, :2]).any():
        row = int((boxes[:, 2:] < boxes[:, :2]).any(1).argmax())
        raise DataError(
            f"feature store {path}: box {row} is {boxes[row].tolist()}; accepted: x1, y1, x2, y2 "
            "with x1 <= x2 and y1 <= y2"
        )
