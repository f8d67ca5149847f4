"""Pickled checkpoints, read without running anything that they ask for."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdkit.errors import DataError

# Beside tensors and plain values, checkpoints of MMF and Pythia hold the config of their training:
# each of these names yields an empty stand-in, whatever the file wants to do with it.
_NODES = "Any Boolean Bytes Enum Float Integer InterpolationResult Literal None Path String Value"
INERT = {
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.config": "Config",
    "omegaconf.base": "Box Container ContainerMetadata Metadata Node",
    "omegaconf.nodes": " ".join(f"{kind}Node" for kind in _NODES.split()),
    "mmf.utils.configuration": "Configuration",
    "pythia.utils.configuration": "Configuration",
    "argparse": "Namespace",
    "typing": "Any Dict List Optional Tuple Union",
    "builtins": "bool bytes dict float int list object str tuple",
    "numpy": "dtype",
    "numpy.core.multiarray": "scalar",
    "numpy._core.multiarray": "scalar",
}
# These are filled item by item, which is safe with a plain dictionary in their place.
INERT_MAPPINGS = {
    "collections": "defaultdict",
    "mmf.utils.configuration": "ConfigNode",
    "pythia.utils.configuration": "ConfigNode",
}
CONTAINERS = ("model", "state_dict")  # where a training checkpoint keeps the weights
CONVERT = (
    "Convert it where it was made: state = torch.load(FILE)['model'] (or what holds the weights "
    "there); safetensors.torch.save_file({k: v.clone() for k, v in state.items()}, "
    "'model.safetensors')"
)
_REFUSED = re.compile(r"(?:GLOBAL|unrecognized function|new object for .* but got) ([^\s`]+)")


class _Inert:
    """Stands for an object of a config; takes all arguments and keeps none."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _stand_ins() -> list[Any]:
    found: list[Any] = []
    for module, names in INERT.items():
        for name in names.split():
            found.append(type(name, (_Inert,), {"__module__": module, "__qualname__": name}))
    for module, names in INERT_MAPPINGS.items():
        for name in names.split():

            def mapping(*args: Any) -> OrderedDict[Any, Any]:
                return OrderedDict()

            mapping.__module__, mapping.__qualname__ = module, name
            found.append(mapping)
    return found


_STAND_INS = _stand_ins()


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file that `torch.save` wrote.

    The unpickler makes tensors, plain values and the stand-ins above; DataError on a file that asks
    for anything else, is damaged, or holds no named tensors.
    """
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            # a zip archive can be mapped, so that only what is used is read
            mapped = zipfile.is_zipfile(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # every kind of damage raises its own
        raise DataError(f"{path} {_reason(error)}") from error
    return _named_tensors(path, state)


def _reason(error: Exception) -> str:
    found = _REFUSED.search(str(error))
    if found:
        return (
            f"is a pickle that asks for '{found[1]}', which could run code; accepted: tensors, "
            f"plain values and configs of MMF. {CONVERT}"
        )
    lines = str(error).splitlines() or [""]
    return (
        f"cannot be read ({type(error).__name__}: {lines[0][:120]}); it is damaged or cut off, or "
        "no file of torch.save"
    )


def _named_tensors(path: Path, state: Any) -> dict[str, Tensor]:
    for key in CONTAINERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state:
        kind = type(state).__name__ if not isinstance(state, Mapping) else "nothing"
        raise DataError(f"{path} holds {kind}; accepted: named tensors, bare or under 'model'")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DataError(
                f"{path}: entry {name!r} is a {type(value).__name__}; accepted: tensors, bare or "
                "in an entry 'model' or 'state_dict'"
            )
    return {name: value.detach() for name, value in state.items()}
