"""What lies beside a checkpoint and describes it: transformers' config.json, MMF's config.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from msdkit.errors import DataError, listing
from msdkit.models.safe_pickle import read_config_within
from msdkit.models.weights import weight_files

CONFIGS = (
    "config.json",
    "bert_config.json",
)  # the second is Google's and pytorch-pretrained-bert's


def home(place: str | Path) -> Path:
    """The folder whose files describe a checkpoint: the folder itself, or that of a file."""
    place = Path(place)
    return place.parent if place.is_file() else place


def is_foreign(place: Path) -> bool:
    """Whether a file or folder holds another program's checkpoint: ours come with model.json."""
    ours = (home(place) / "model.json").exists()
    return not ours or (place.is_file() and place.name != "model.safetensors")


def config_beside(place: Path) -> dict[str, Any]:
    """transformers' config.json as it is; empty where there is none that describes a model."""
    path = _config_of(place)
    config = _read_json(path) if path.exists() else {}
    return config if {"model_type", "hidden_size"} & config.keys() else {}


def read_config(
    place: Path, kinds: Iterable[str], fixed: Mapping[str, Any], usual: str | None = None
) -> dict[str, Any]:
    """transformers' config.json; DataError on another model_type, or another value of `fixed`.

    usual: the model_type where the file names none.
    """
    path = _config_of(place)
    config = _read_json(path)
    kind = config.get("model_type", usual)
    if kind not in (known := list(kinds)):
        raise DataError(f"{path}: model_type is '{kind}'; accepted: {listing(known)}")
    check_fixed(config, fixed, path)
    return {**config, "model_type": kind}


def check_fixed(config: Mapping[str, Any], fixed: Mapping[str, Any], where: object) -> None:
    """DataError where a config has another value of what the model does not vary."""
    for key, value in fixed.items():
        given = config.get(key, value)
        if given != value and str(given) != str(value):  # YAML reads 1e-12 as text
            raise DataError(f"{where}: {key} is {given!r}; accepted: {value!r}")


def mmf_config(place: Path, model: str) -> Mapping[str, Any]:
    """What MMF's config says of this model, in the YAML beside a checkpoint or in the file itself;
    empty where nothing does."""
    for config in mmf_configs(place):
        if found := within(config.get("model_config", config), model):
            return found
    return {}


def within(config: Any, *keys: str) -> Mapping[str, Any]:
    """What lies below these keys of nested mappings; empty where no mapping does."""
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def mmf_configs(place: Path) -> Iterator[Mapping[str, Any]]:
    """All that may be MMF's config of a checkpoint, the likeliest first.

    Checkpoints of a step lie in the folder `models` of what was saved, one below config.yaml.
    """
    folders = [home(place)]
    if folders[0].name == "models":
        folders.append(folders[0].parent)
    for folder in folders:
        usual = folder / "config.yaml"
        others = sorted(path for end in ("yaml", "yml") for path in folder.glob(f"*.{end}"))
        for path in [usual] * usual.exists() + [path for path in others if path != usual]:
            yield _read_yaml(path, strictly=path == usual)
    for file in weight_files(place):
        if file.suffix != ".safetensors":
            yield read_config_within(file)


def _read_yaml(path: Path, strictly: bool) -> Mapping[str, Any]:
    """A mapping in YAML; anything else is empty. strictly: DataError if it cannot be read."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        if strictly:
            reason = " ".join(str(error).split())
            raise DataError(f"{path} is not YAML, or cannot be read ({reason})") from error
        return {}
    return found if isinstance(found, Mapping) else {}


def _config_of(place: Path) -> Path:
    found = [home(place) / name for name in CONFIGS]
    return next((path for path in found if path.exists()), found[0])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return dict(config.items())
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not JSON, or cannot be read ({error})") from error
