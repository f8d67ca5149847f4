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
from msdkit.io.torch_files import check_sizes

# Beside tensors and plain values, checkpoints of MMF, Pythia and Lightning hold the config of their
# training: each of these names yields an empty stand-in, whatever the file wants to do with it.
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
    "functools": "partial",
    "pathlib": "Path PosixPath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePosixPath PureWindowsPath WindowsPath",
}
# So do all names of these, such as the optimizers and layers in Lightning's hyper_parameters.
INERT_PACKAGES = ("torch.optim", "torch.nn", "lightning", "lightning_fabric", "pytorch_lightning")
# These are filled item by item, which is safe with a plain dictionary in their place.
INERT_MAPPINGS = {
    "collections": "defaultdict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning.pytorch.utilities.parsing": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "mmf.utils.configuration": "ConfigNode",
    "pythia.utils.configuration": "ConfigNode",
}
# Where a training checkpoint keeps the weights: MMF, Lightning and timm, PyTorch's tutorials, VCR's
# in UNITER, DeepSpeed; the running average, where nothing else is there
CONTAINERS = ("model", "state_dict", "model_state_dict", "model_state", "module")
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
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


class _InertMapping:
    """Stands for a mapping: a plain one, which torch's unpickler fills item by item."""

    def __new__(cls, *args: Any) -> Any:
        return OrderedDict()


def _stand_in(name: str, kind: type = _Inert) -> Any:
    module, _, qualname = name.rpartition(".")
    return type(qualname, (kind,), {"__module__": module, "__qualname__": qualname})


_STAND_INS = [
    _stand_in(f"{module}.{name}", kind)
    for table, kind in ((INERT, _Inert), (INERT_MAPPINGS, _InertMapping))
    for module, names in table.items()
    for name in names.split()
]


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file that `torch.save` wrote.

    The unpickler makes tensors, plain values and the stand-ins above; DataError on a file that asks
    for anything else, is damaged, or holds no named tensors.
    """
    return _named_tensors(path, _load(path))


def read_config_within(path: Path) -> dict[str, Any]:
    """The config that MMF keeps in a checkpoint, as plain values; empty where there is none."""
    state = _load(path)
    config = state.get("config") if isinstance(state, Mapping) else None
    return dict(config) if isinstance(config, Mapping) else {}


def _load(path: Path) -> Any:
    try:
        check_sizes(path)
    except Exception as error:  # every kind of damage raises its own
        raise DataError(f"{path} {_reason(error)}") from error
    stand_ins = list(_STAND_INS)
    while True:
        try:
            with torch.serialization.safe_globals(stand_ins):
                # a zip archive can be mapped, so that only what is used is read
                mapped = zipfile.is_zipfile(path)
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # every kind of damage raises its own
            found = _REFUSED.search(str(error))
            known = {f"{s.__module__}.{s.__qualname__}" for s in stand_ins}
            if not found or found[1] in known or not _is_inert(found[1]):
                raise DataError(f"{path} {_reason(error)}") from error
            stand_ins.append(_stand_in(found[1]))


def _is_inert(name: str) -> bool:
    return name.startswith(tuple(f"{package}." for package in INERT_PACKAGES))


def _reason(error: Exception) -> str:
    found = _REFUSED.search(str(error))
    if found:
        return (
            f"is a pickle that asks for '{found[1]}', which could run code; accepted: tensors, "
            f"plain values and configs of MMF and Lightning. {CONVERT}"
        )
    lines = str(error).splitlines() or [""]
    return (
        f"cannot be read ({type(error).__name__}: {lines[0][:120]}); it is damaged or cut off, or "
        "no file of torch.save"
    )


def _named_tensors(path: Path, state: Any) -> dict[str, Tensor]:
    while key := next((k for k in (*CONTAINERS, *AVERAGES) if _holds(state, k)), None):
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
    if all(not value.numel() for value in state.values()):
        raise DataError(
            f"{path}: its tensors are empty, as ZeRO's shards are; put them together by "
            "DeepSpeed's zero_to_fp32.py and name the file that it writes"
        )
    return {name: value.detach() for name, value in state.items()}


def _holds(state: Any, key: str) -> bool:
    return isinstance(state, Mapping) and isinstance(state.get(key), Mapping)
