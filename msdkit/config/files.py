"""Reading configs: base files, merging, overrides, and where each value came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from msdkit.config.overrides import NODES, parse_override, set_path
from msdkit.config.schema import TOP, Node
from msdkit.errors import ConfigError, listing

COMMAND_LINE = "command line"
RESOLVER = r"\$\{\s*((?:[\w.]|\$\{[^{}]*\})+)\s*:"  # its name, which may hold `${…}`
YAML = (".yaml", ".yml")


@dataclass
class Layer:
    """One source of values: a file or the command line."""

    source: str
    folder: Path
    values: Node


@dataclass
class RawConfig:
    """Merged values that nothing has checked yet, and the layers they came from."""

    values: Node
    layers: list[Layer]
    tiny: bool = False

    def source_of(self, path: str) -> str:
        """The last file that sets `path`, or else its nearest parent."""
        parts = [p for p in re.split(r"[.\[\]]+", path) if p]
        depths = [_depth(layer.values, parts) for layer in self.layers]
        best = max(depths, default=0)
        last = max((i for i, d in enumerate(depths) if d == best), default=None)
        return self.layers[last].source if last is not None else "config"

    @property
    def label(self) -> str:
        """A name for the experiment: its files' stems, `data` standing for its folder."""
        files = [Path(layer.source) for layer in self.layers if layer.source != COMMAND_LINE]
        named = [p for p in files if p.stem != "data"] or files
        return named[-1].stem if named else "experiment"


def load_raw(
    configs: str | Path | Sequence[str | Path], overrides: Sequence[str] = (), *, tiny: bool = False
) -> RawConfig:
    """Read configs (each after its `base:` files), then `key=value` overrides, merged in order.

    tiny: a trial, whose run folder is apart from the real run's.
    """
    configs = [configs] if isinstance(configs, str | Path) else configs
    layers = [layer for path in configs for layer in _read(Path(path), ())]
    if not layers:
        raise ConfigError("no config given; name a YAML file, such as configs/…/x.yaml")
    values: Node = {}
    for layer in layers:
        values = merge(values, layer.values)
    if overrides:
        changes: Node = {}
        for override in overrides:
            key, value = parse_override(override)
            if key == "base":
                raise ConfigError("override 'base': name the file as a config, before this one")
            _refuse_nul(f"override '{key}'", value)
            set_path(values, key, value)
            set_path(changes, key, value)
        layers.append(Layer(COMMAND_LINE, Path(), changes))
    return RawConfig(_interpolate(values), layers, tiny)


def _read(path: Path, above: tuple[Path, ...]) -> list[Layer]:
    if path.resolve() in above:
        raise ConfigError(f"{path}: `base` files form a circle: {' -> '.join(map(str, above))}")
    if not path.is_file():
        by = f" (named by `base` of {above[-1]})" if above else ""
        raise ConfigError(f"config file {path} does not exist{by}")
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not a YAML config: {error}") from error
    values = _parsed(text, str(path)) or {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: expected a mapping of {listing(TOP)}, got {type(values).__name__}"
        )
    _refuse_nul(str(path), values)
    values = _localise({str(k): v for k, v in values.items()}, path.parent)
    given = values.pop("base", None)
    bases = [] if given is None else [given] if isinstance(given, str) else given
    if not (isinstance(bases, list) and all(isinstance(base, str) for base in bases)):
        raise ConfigError(f"{path}: base: expected a file or a list of files, got {given!r}")
    chain = (*above, path.resolve())
    layers = [layer for b in bases for layer in _read(path.parent / b, chain)]
    return [*layers, Layer(str(path), path.parent, values)]


def _refuse_nul(where: str, value: Any) -> None:
    """ConfigError for a text with a NUL character, which no path and no name can have."""
    if isinstance(value, dict):
        for key, held in value.items():
            _refuse_nul(f"{where}: {key}", held)
    elif isinstance(value, list):
        for held in value:
            _refuse_nul(where, held)
    elif isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where}: a text with a NUL character, which none may have: {value!r}")


@lru_cache(maxsize=256)
def _parsed(text: str, source: str) -> Any:
    """What a file says, as it stands there: a teacher's config is read several times in a run."""
    from msdkit.config.yaml_text import read_yaml

    return read_yaml(text, source, "a YAML config")


def _localise(values: Node, folder: Path) -> Node:
    """Write `${here}` and the files that configs name relative to themselves as paths."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: walk(v) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        return value.replace("${here}", str(folder)) if isinstance(value, str) else value

    values = walk(values)
    plugins = values.get("plugins")
    if isinstance(plugins, str):
        plugins = values["plugins"] = [plugins]
    if isinstance(plugins, list):
        values["plugins"] = [
            str((folder / p).resolve()) if isinstance(p, str) and p.endswith(".py") else p
            for p in plugins
        ]
    if "teacher" in values:
        values["teacher"] = _teacher_node(values["teacher"], folder)
    return name_nodes(values)


def _teacher_node(value: Any, folder: Path | None = None) -> Any:
    """A config's path, relative to `folder`, written out; the same for each of several teachers."""
    if isinstance(value, str) and value.endswith(YAML):
        return {"config": value if folder is None else str((folder / value).resolve())}
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict):
        return value
    several, alone = value.get("teachers"), value.get("specialists")
    out = dict(value)
    if isinstance(several, list):
        out["teachers"] = [_teacher_node(one, folder) for one in several]
    if isinstance(alone, dict):
        out["specialists"] = {view: _teacher_node(one, folder) for view, one in alone.items()}
    return out


def name_nodes(values: Node) -> Node:
    """Names that stand for `{name: …}` written out, so that they merge as nodes do."""
    out = dict(values)
    for key in NODES:
        text = out.get(key)
        if key == "teacher" and text is not None:
            out[key] = _teacher_node(text)
        elif isinstance(text, str):
            out[key] = {"name": text}
    terms = out.get("distill")
    if isinstance(terms, dict | str):
        terms = [terms]
    if isinstance(terms, list):
        out["distill"] = [{"name": t} if isinstance(t, str) else t for t in terms]
    return out


def merge(base: Node, child: Node) -> Node:
    """`child` over `base`; a node that names another plugin replaces the base's node."""
    merged = deepcopy(base)
    for key, value in child.items():
        held = merged.get(key)
        if key == "plugins" and isinstance(held, list) and isinstance(value, list):
            merged[key] = list(dict.fromkeys([*held, *value]))
        elif isinstance(held, dict) and isinstance(value, dict) and not _another(held, value):
            merged[key] = merge(held, value)
        else:
            merged[key] = deepcopy(value)
    return merged


def _another(held: Node, value: Node) -> bool:
    """Whether `value` is a different plugin, or a different kind of teacher, than `held`."""
    kinds = ("name", "run", "config")
    return any(k in value and value[k] != held.get(k) for k in kinds)


def _interpolate(values: Node) -> Node:
    """Resolve `${seed}` and `${oc.env:NAME}`; no other resolver runs."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    texts = [text for text in _texts(values) if "${" in text]
    if not texts:  # as in most
        return values
    for resolver in re.findall(RESOLVER, "\n".join(texts)):
        if resolver != "oc.env":
            raise ConfigError(f"resolver '{resolver}' is not allowed; accepted: oc.env, ${{here}}")
    try:
        config = OmegaConf.create({"seed": 0, **values})  # `${seed}` may be named where none is set
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"interpolation: {' '.join(str(error).split())}") from error
    return {str(k): v for k, v in resolved.items() if k in values}  # type: ignore[union-attr]


def _texts(values: Any) -> Iterator[str]:
    """Every text in a nested value, keys left out."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict | list):
        for held in values.values() if isinstance(values, dict) else values:
            yield from _texts(held)


def _depth(values: Any, parts: list[str]) -> int:
    """How many of the path's parts exist below `values`."""
    for depth, part in enumerate(parts):
        if isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        elif isinstance(values, dict) and part in values:
            values = values[part]
        else:
            return depth
    return len(parts)
