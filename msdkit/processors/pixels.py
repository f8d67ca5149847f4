"""Pixels as the image processor of a published model prepares them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from msdkit.errors import DataError
from msdkit.hub.paths import local
from msdkit.io.pictures import open_picture
from msdkit.processors.image import Pictures
from msdkit.registry import PROCESSORS
from msdkit.types import Modality

PREPARES = ("preprocessor_config.json", "processor_config.json")


@PROCESSORS.register("pixels")
class Pixels(Pictures):
    """The patches of a picture, resized, cropped and normalised as a Hugging Face folder says.

    Each row holds the 3 * patch^2 values of one patch (channel, line, column) and then the line and
    the column of the patch in the picture, from 0; pictures may differ in shape. The models `vilt`
    and `clip_fusion` read these rows. What is transparent becomes white.

    folder: with a config.json, which tells the patch's size, and a preprocessor_config.json.
    """

    def __init__(self, *, folder: str, dtype: Literal["fp16", "fp32"] = "fp16") -> None:
        self.folder, self.dtype = local(folder), dtype

    @cached_property
    def patch(self) -> int:
        """The side of a patch in pixels."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            return int(config.get("vision_config", config)["patch_size"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"processor `pixels`: {path} tells no patch_size ({error!r}); accepted: a folder "
                "of ViLT, CLIP or SigLIP"
            ) from error

    @property
    def modality(self) -> Modality:
        return Modality("features", 3 * self.patch**2 + 2)

    def files(self) -> list[Path]:
        folder = self.folder
        found = [folder / name for name in PREPARES if (folder / name).is_file()]
        if not found:
            raise DataError(
                f"processor `pixels`: {folder} holds no {PREPARES[0]}; accepted: a Hugging Face "
                "folder that names its image processor"
            )
        return [folder / "config.json", *found]

    @cached_property
    def prepare(self) -> Any:
        """transformers' image processor."""
        from transformers import AutoImageProcessor

        self.files()
        try:
            return AutoImageProcessor.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"processor `pixels`: {self.folder}: {reason}") from error

    def batch(self, raws: Sequence[str | Path]) -> list[np.ndarray]:
        return [self._rows(raw) for raw in raws]  # alone, so that no picture is padded

    def _prepared(self, raw: str | Path) -> np.ndarray:
        """float32 [3, H, W] with at least one patch; DataError that names the picture"""
        picture, said, failed = open_picture(raw), "", None
        try:
            pixels = self.prepare(picture, return_tensors="np")["pixel_values"][0]
            if min(pixels.shape[1:]) >= self.patch:
                return pixels
        except (ValueError, RuntimeError, ZeroDivisionError) as error:  # resized to no pixel
            said, failed = f" ({error!s:.60})", error
        width, height = picture.size
        raise DataError(
            f"picture {raw}: of {width} × {height} pixels the image processor of {self.folder} "
            f"leaves no patch{said}; accepted: a picture whose shorter side, resized, is at least "
            f"{self.patch} pixels long"
        ) from failed

    def _rows(self, raw: str | Path) -> np.ndarray:
        p, pixels = self.patch, self._prepared(raw)
        lines, columns = pixels.shape[1] // p, pixels.shape[2] // p
        grid = pixels[:, : lines * p, : columns * p].reshape(3, lines, p, columns, p)
        rows = grid.transpose(1, 3, 0, 2, 4).reshape(lines * columns, -1)
        places = np.indices((lines, columns)).reshape(2, -1).T
        return np.concatenate([rows, places], 1).astype(np.float32)
