"""Plugins as people read them: names with one line each, or one plugin in full."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from msdkit.config.overrides import parse_override
from msdkit.errors import ConfigError, listing, suggest
from msdkit.groups import documentation
from msdkit.registry import DATASETS, REGISTRIES, Registry, load_entry_points
from msdkit.signatures import context_parameters, describe


def _registry(kind: str) -> Registry:
    for plural, registry in REGISTRIES.items():
        if kind in (plural, registry.kind):
            return registry
    raise ConfigError(
        f"unknown kind '{kind}'. {suggest(kind, REGISTRIES)}Known: {listing(REGISTRIES)}"
    )


def list_names(kind: str | None) -> Iterator[str]:
    """One line for each name, of one kind or of all."""
    chosen = REGISTRIES.values() if kind is None else [_registry(kind)]
    for registry in chosen:
        for name in registry:
            about = (inspect.getdoc(registry.get(name)) or "").partition("\n")[0]
            label = name if kind else f"{registry.kind:<10} {name}"
            yield f"{label:<30} {about}"


def describe_plugin(kind: str, name: str) -> Iterator[str]:
    """A plugin's parameters with defaults, its docstring and its source file."""
    registry = _registry(kind)
    cls = registry.get(name)
    yield f"{registry.kind} {name} ({cls.__module__}.{cls.__qualname__})"
    yield f"source: {inspect.getsourcefile(cls)}"
    handed = [p for p in context_parameters(cls) if p != "self"]
    if handed:
        yield f"handed over by the framework: {', '.join(handed)}"
    parameters = registry.parameters(name)
    yield "parameters:" if parameters else "parameters: none"
    for key, p in parameters.items():
        if p.kind is p.VAR_KEYWORD:
            yield "  any others, which it takes as they are"
            continue
        default = "required" if p.default is p.empty else f"default {p.default!r}"
        yield f"  {key}: {describe(p.annotation)} ({default})"
    yield ""
    yield documentation(cls) or "(no docstring)"


def dataset_class(name: str, parameters: list[str]) -> tuple[Any, dict[str, Any]]:
    """(class, parameters) of a data set named on the command line; ConfigError on mistakes."""
    load_entry_points()
    values = dict(map(parse_override, parameters))
    problems = DATASETS.validate({"name": name, **values})
    if problems:
        raise ConfigError("; ".join(f"{p}: {m}" if p else m for p, m in problems))
    return DATASETS.get(name), values
