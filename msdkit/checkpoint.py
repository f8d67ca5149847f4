"""Checkpoints: trees of tensors and values in one file, atomic folders, random states."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from msdkit.errors import DataError
from msdkit.files import whole

TENSOR = "__tensor__"


def save_tree(path: Path, tree: Any) -> None:
    """Write nested dictionaries, lists, tensors and JSON values; atomic."""
    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(tree, tensors)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with whole(path, temporary):
        save_file(tensors, temporary, metadata={"tree": json.dumps(skeleton)})


def load_tree(path: Path, tensors: bool = True) -> Any:
    """What `save_tree` wrote, or all of it but tensors; DataError when the file is not whole."""
    try:
        with safe_open(path, "pt") as file:
            skeleton = json.loads(file.metadata()["tree"])
            names = file.keys()
            held = {name: file.get_tensor(name).clone() if tensors else None for name in names}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"checkpoint {path} is not one of msdkit's, or is damaged: {error}"
        ) from error
    return _unflatten(skeleton, held)


def _flatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        name = str(len(tensors))
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {TENSOR: name}
    if isinstance(tree, dict):
        return {"items": [[k, _flatten(v, tensors)] for k, v in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_flatten(v, tensors) for v in tree]
    return tree


def _unflatten(tree: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(tree, dict):
        if TENSOR in tree:
            return tensors[tree[TENSOR]]
        return {k: _unflatten(v, tensors) for k, v in tree["items"]}
    return [_unflatten(v, tensors) for v in tree] if isinstance(tree, list) else tree


def replace_folder(made: Path, final: Path) -> None:
    """Put the folder `made` in the place of `final`; `recover_folder` mends a kill in between."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    made.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(final: Path) -> None:
    """Undo a replacement that was killed half-way."""
    old = final.with_name(f"{final.name}.old")
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    for leftover in final.parent.glob(f".{final.name}.partial*"):
        shutil.rmtree(leftover, ignore_errors=True)


def whole_folder(final: Path) -> Path:
    """Where a replaced folder stands whole: at `final`, or aside when a kill came in between."""
    old = final.with_name(f"{final.name}.old")
    return old if old.exists() and not final.exists() else final


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def rng_state() -> dict[str, Any]:
    """The state of every random number generator that training may draw from."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state = {
        "torch": torch.get_rng_state(),
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, cached],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Continue every generator from a saved state."""
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
