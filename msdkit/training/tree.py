"""Trees of tensors and values in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from msdkit.errors import DataError
from msdkit.io.files import whole

TENSOR = "__tensor__"


def save_tree(path: Path, tree: Any) -> None:
    """Write nested dictionaries, lists, tensors and JSON values; atomic."""
    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(tree, tensors)
    with whole(path) as partial:
        save_file(tensors, partial, metadata={"tree": json.dumps(skeleton)})


def load_tree(path: Path, tensors: bool = True) -> Any:
    """What `save_tree` wrote, or all of it but tensors; DataError when the file is not whole."""
    try:
        with safe_open(path, "pt") as file:
            skeleton = json.loads(file.metadata()["tree"])
            names = file.keys()
            held = {name: file.get_tensor(name).clone() if tensors else None for name in names}
        return _unflatten(skeleton, held)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"checkpoint {path} is not one of msdkit's, or is damaged: {error}"
        ) from error


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
