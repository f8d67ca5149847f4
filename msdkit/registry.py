"""Registries of plugins whose signature is their schema.

What stands after `*` in a plugin's signature comes from the config; what stands before it is handed
over by the framework (the context).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from msdkit.errors import ConfigError, listing, suggest
from msdkit.failures import own_frame, told
from msdkit.plugins import load_entry_points as load_entry_points
from msdkit.plugins import load_plugins as load_plugins
from msdkit.signatures import (
    Problem,
    config_parameters,
    context_parameters,
    inner,
    nested_registry,
    parameter_problems,
)

T = TypeVar("T", bound=type)


class Registry:
    """Plugins of one kind by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type] = {}
        self._lazy: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Registry({self.kind!r})"

    def __contains__(self, name: object) -> bool:
        return name in self._classes or name in self._lazy

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._classes, *self._lazy}))

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator; ConfigError when another class owns the name already."""

        def add(cls: T) -> T:
            mine = f"{cls.__module__}:{cls.__qualname__}"
            owner = self._lazy.get(name)
            if name in self._classes:
                held = self._classes[name]
                owner = f"{held.__module__}:{held.__qualname__}"
            if owner not in (None, mine):
                raise ConfigError(
                    f"{self.kind} '{name}' is registered twice: by {owner} and by {mine}"
                )
            self._classes[name] = cls
            return cls

        return add

    def register_lazy(self, name: str, where: str) -> None:
        """Announce the class at `where` ("package.module:Class"), imported when first asked for."""
        self._lazy[name] = where

    def get(self, name: str) -> type:
        """The class; ConfigError with the nearest and the known names on a miss."""
        if name not in self:
            raise ConfigError(
                f"unknown {self.kind} '{name}'. {suggest(name, self)}Known: {listing(self)}"
            )
        if name not in self._classes:
            importlib.import_module(self._lazy[name].partition(":")[0])
        if name not in self._classes:
            raise ConfigError(f"{self._lazy[name]} does not register the {self.kind} '{name}'")
        return self._classes[name]

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """What the config may set: the keyword-only parameters, with resolved annotations."""
        return config_parameters(self.get(name))

    def validate(
        self, node: Any, reserved: Mapping[str, inspect.Parameter] | None = None
    ) -> list[Problem]:
        """All that is wrong with a plugin node; `reserved` are keys of the framework."""
        if isinstance(node, str):
            node = {"name": node}
        if not isinstance(node, Mapping):
            return [("", f"expected a {self.kind} node such as {{name: …}}, got {node!r}")]
        if not isinstance(node.get("name"), str):
            return [("name", f"missing the name of the {self.kind}. Known: {listing(self)}")]
        try:
            known = {**self.parameters(node["name"]), **(reserved or {})}
        except ConfigError as error:
            return [("name", str(error))]
        values = {k: v for k, v in node.items() if k != "name"}
        return list(parameter_problems(f"{self.kind} '{node['name']}'", known, values))

    def build(self, node: str | Mapping[str, Any], **context: Any) -> Any:
        """An instance from `{"name": n, **parameters}`; a class gets the context that it names.

        ConfigError also with what its constructor raises.
        """
        node = {"name": node} if isinstance(node, str) else node
        problems = self.validate(node)
        if problems:
            raise ConfigError("; ".join(f"{p}: {m}" if p else m for p, m in problems))
        cls = self.get(node["name"])
        known = self.parameters(node["name"])
        values = {
            key: _build_nested(known[key].annotation, value, context) if key in known else value
            for key, value in node.items()
            if key != "name"
        }
        where = f"{self.kind} '{node['name']}'"
        handed = _context_for(cls, where, context)
        try:
            return cls(**handed, **values)
        except Exception as error:
            if told(error) is not None:  # it says itself what is wrong, or the system does
                raise
            raise ConfigError(f"{where}: {_raised(error)}") from error


MODELS = Registry("model")
DATASETS = Registry("dataset")
PROCESSORS = Registry("processor")
LOSSES = Registry("loss")
WEIGHTINGS = Registry("weighting")
MASKINGS = Registry("masking")
METRICS = Registry("metric")
REGISTRIES = {
    "models": MODELS,
    "datasets": DATASETS,
    "processors": PROCESSORS,
    "losses": LOSSES,
    "weightings": WEIGHTINGS,
    "maskings": MASKINGS,
    "metrics": METRICS,
}


def _raised(error: Exception) -> str:
    """What a plugin's own constructor raised, and where."""
    frame = own_frame(error)
    where = f" ({frame.filename}:{frame.lineno})" if frame else ""
    return f"{type(error).__name__}: {error}{where}"


def _context_for(cls: type, where: str, context: Mapping[str, Any]) -> dict[str, Any]:
    wanted = context_parameters(cls)
    missing = [n for n, p in wanted.items() if p.default is p.empty and n not in context]
    if missing:
        raise ConfigError(
            f"{where} asks for {', '.join(missing)} before `*`, which the framework does not hand "
            f"over here (it hands over: {listing(context)}); config parameters stand after `*`"
        )
    return {n: context[n] for n in wanted if n in context}


def _build_nested(annotation: Any, value: Any, context: Mapping[str, Any]) -> Any:
    """The value with the plugin nodes in it built: one, an optional one, a list or mapping."""
    nested, args = nested_registry(annotation), get_args(annotation)
    if nested is not None:
        return nested.build(value, **context) if isinstance(value, str | Mapping) else value
    if value is not None and inner(annotation) is not None:
        return _build_nested(inner(annotation), value, context)
    if get_origin(annotation) is list and isinstance(value, list):
        return [_build_nested(args[0], item, context) for item in value]
    if get_origin(annotation) is dict and isinstance(value, Mapping):
        return {key: _build_nested(args[1], item, context) for key, item in value.items()}
    return value


def code_digest(cls: type) -> str:
    """A name for a plugin's source, so that an edited one is not taken for what it was.

    It is that of the file which defines the class, wherever that lies; of a class without a file
    (a notebook's) it changes with each definition. msdkit's own classes answer with nothing: their
    fingerprints have versions.
    """
    if cls.__module__.startswith("msdkit."):
        return ""
    try:
        source = Path(str(inspect.getsourcefile(cls))).read_bytes()
    except (OSError, TypeError):
        return _unsourced(cls)
    return hashlib.blake2b(source).hexdigest()[:16]


@cache
def _unsourced(cls: type) -> str:
    return secrets.token_hex(8)
