"""Text encoders in folders of transformers, frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from msdkit.errors import DataError
from msdkit.hub.packages import ASSETS


def encoder_config(name: str, folder: Path) -> Any:
    """The config of transformers in a folder; DataError where it is none of a text encoder."""
    from transformers import MODEL_MAPPING, AutoConfig

    if not (folder / "config.json").is_file():
        raise DataError(
            f"text encoder '{name}': expected an asset ({', '.join(ASSETS)}) or a folder "
            "with a config.json"
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    text = not config.is_encoder_decoder and hasattr(config, "hidden_size")
    if not text or type(config) not in MODEL_MAPPING:  # SigLIP's text half has no place there
        raise DataError(f"{folder} holds no text encoder but a '{config.model_type}'")
    return config


def frozen_encoder(folder: Path, config: Any) -> nn.Module:
    """The model of a folder with its weights, which are read from safetensors alone."""
    from transformers import AutoModel

    _require_safetensors(folder)
    # the eager attention is as fast on short texts, and PyTorch counts all of its FLOPs
    with _quiet():
        model = AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="eager",
            dtype=torch.float32,
        )
    return model.eval().requires_grad_(False)


def _require_safetensors(folder: Path) -> None:
    found = sorted(path.name for path in folder.iterdir())
    if not any(name.endswith(".safetensors") for name in found):
        pickled = next((n for n in found if n.endswith((".bin", ".pt", ".pth"))), None)
        advice = f"{pickled} is a pickle, which can run code when it is read; convert it once: "
        advice += "AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        raise DataError(f"text encoder {folder}: {advice if pickled else 'no model.safetensors'}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own bar, which would flash by between ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
