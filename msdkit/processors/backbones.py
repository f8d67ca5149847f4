"""Backbones of timm: made, shortened, filled with weights, and read as a grid of places."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdkit.errors import ConfigError, DataError, suggest
from msdkit.io.torch_files import check_sizes


def create(name: str, side: int) -> Any:
    """timm's model without weights; ConfigError if there is none, or it reads no such pictures."""
    import timm

    if not timm.is_model(name):
        known = timm.list_models()
        raise ConfigError(
            f"unknown timm model '{name}'. {suggest(name, known)}timm knows {len(known)} models"
        )
    model: Any = timm.create_model(name, pretrained=False)
    fixed = model.pretrained_cfg["input_size"][-1]
    if model.pretrained_cfg.get("fixed_input_size") and side != fixed:
        raise ConfigError(f"image encoder '{name}' reads pictures of size {fixed} alone")
    return model


def shortened(model: Any, blocks: int | None, where: str) -> Any:
    """Without its classifier, and without the stages after `blocks`."""
    if hasattr(model, "reset_classifier"):  # encoders have none
        model.reset_classifier(0)
    if blocks is None:
        return model
    stages = len(getattr(model, "feature_info", ()))
    if not stages or not hasattr(model, "prune_intermediate_layers"):
        raise ConfigError(f"{where}: it has no stages to stop after; leave `blocks` out")
    if not 1 <= blocks <= stages:
        raise ConfigError(f"{where}: blocks must be 1 to {stages}, got {blocks}")
    model.prune_intermediate_layers([blocks - 1])
    return model


class Grid:
    """How a backbone's answer is read as rows, one for each place of the picture.

    Its features as they are where these are a map, or tokens: without the special ones, which stand
    first. Where they hold no places (PiT gives special tokens alone) or are several (CrossViT,
    CoaT, EfficientViM), and after a number of stages, the map of the last stage.

    outline: the backbone on the meta device, where its shapes are told without computing.
    """

    def __init__(self, outline: Any, side: int, blocks: int | None = None) -> None:
        self.outline, self.side = outline, side
        self.stage = 1 if blocks is None else [blocks - 1]  # in timm's words: the last one, or that
        self.norm = blocks is None
        self.by_stage = blocks is not None  # or once the features turned out to hold no places

    @cached_property
    @torch.inference_mode()
    def width(self) -> int:
        """C, the width of a row; ConfigError where the backbone reads no pictures of this side."""
        pictures = torch.empty(1, 3, self.side, self.side, device="meta")
        try:
            return self(self.outline, pictures).shape[2]
        except Exception as error:  # each architecture raises its own
            if "meta tensors" in str(error):  # Gemma 4 counts by values; its stages are all as wide
                return self.outline.num_features
            name = self.outline.pretrained_cfg.get("architecture", type(self.outline).__name__)
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise ConfigError(
                f"image encoder '{name}' cannot read pictures of size {self.side}: {reason}"
            ) from error

    def __call__(self, backbone: Any, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, h * w, C]"""
        if not self.by_stage:
            found = backbone.forward_features(pictures)
            if isinstance(found, Tensor) and found.ndim == 4:
                return _rows(found, getattr(backbone, "output_fmt", "NCHW") == "NHWC")
            special = self._special(found)
            if special is not None:
                return found[:, special:]
            self.by_stage = True
        last = backbone.forward_intermediates(
            pictures, indices=self.stage, norm=self.norm, intermediates_only=True
        )[-1]
        return _rows(last)

    def _special(self, found: Any) -> int | None:
        """How many special tokens stand before those of places; None where there are no places."""
        if not isinstance(found, Tensor):
            return None
        known = getattr(self.outline, "num_prefix_tokens", None)
        if known is not None:
            return known
        try:
            extra = found.shape[1] - self._places
        except (
            RuntimeError
        ):  # Gemma 4 counts by values, which the meta device lacks; all are places
            return 0
        return extra if extra >= 0 else None

    @cached_property
    def _places(self) -> int:
        """h * w of the last stage"""
        pictures = torch.empty(1, 3, self.side, self.side, device="meta")
        last = self.outline.forward_intermediates(pictures, indices=1, intermediates_only=True)[-1]
        return last.shape[2:].numel()


def _rows(maps: Tensor, channels_last: bool = False) -> Tensor:
    """[B, C, h, w], or [B, h, w, C] -> [B, h * w, C]"""
    return maps.flatten(1, 2) if channels_last else maps.flatten(2).transpose(1, 2)


def load_weights(model: Any, path: Path, by_position: bool) -> None:
    """Fill all but the classifier; DataError when names or shapes differ.

    by_position: the file lists the same tensors in the same order under other names. Of tensors
    that share their memory it may hold one alone.
    """
    own, state = model.state_dict(), _read_weights(path)
    if by_position and len(own) == len(state):
        state = dict(zip(own, state.values(), strict=True))
    shared = {own[n].data_ptr(): tensor for n, tensor in state.items() if n in own}
    state = {n: shared[t.data_ptr()] for n, t in own.items() if t.data_ptr() in shared} | state
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
        if path.suffix != ".safetensors":
            check_sizes(path)
        return load_state_dict(str(path), weights_only=True)
    except Exception as error:  # every format raises its own
        raise DataError(
            f"weights {path}: damaged, or more than tensors alone; expected a .safetensors, or a "
            "state_dict written by torch.save"
        ) from error
