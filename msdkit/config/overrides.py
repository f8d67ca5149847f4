"""Overrides on the command line: `key=value`, and where a key leads."""

from __future__ import annotations

from typing import Any

from msdkit.config.schema import Node
from msdkit.errors import ConfigError

NODES = ("dataset", "student", "teacher", "task", "weighting", "masking")


def parse_override(text: str) -> tuple[str, Any]:
    """`a.b=1e-3` -> ("a.b", 0.001); values are YAML."""
    from msdkit.config.yaml_text import Unclear, read_yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"override '{text}': expected key=value, such as train.lr=1e-3")
    try:
        return key, read_yaml(value, f"override '{text}'", key=key)
    except Unclear as error:
        raise ConfigError(
            f"{error} (a shell takes quotes away: put double ones around the whole override)"
        ) from error


def set_path(values: Node, path: str, value: Any) -> None:
    """Set `a.b.0.c` in nested dictionaries and lists; a name may stand for `{name: …}`."""
    here: Any = values
    key, rest = next_key(here, path)
    first = key
    while rest:
        part: Any = _index(here, key, path) if isinstance(here, list) else key
        held = here[part] if isinstance(here, list) else here.get(part)
        if isinstance(held, str) and (part in NODES if here is values else first == "distill"):
            held = {"name": held}
        if not isinstance(held, dict | list | None):
            raise ConfigError(f"override '{path}': '{key}' is {held!r}, not a mapping")
        here[part] = {} if held is None else held
        here = here[part]
        key, rest = next_key(here, rest)
    here[_index(here, key, path) if isinstance(here, list) else key] = value


def next_key(here: Any, path: str) -> tuple[str, str]:
    """(the key that a path begins with, the rest): the longest that is there, which may hold dots
    as modalities' names do, or else what stands before the first dot."""
    there = [k for k in here if f"{path}.".startswith(f"{k}.")] if isinstance(here, dict) else []
    key = max(map(str, there), key=len, default=path.partition(".")[0])
    return key, path[len(key) + 1 :]


def _index(items: list[Any], part: str, path: str) -> int:
    if not (part.isascii() and part.isdigit()) or int(part) >= len(items):
        raise ConfigError(f"override '{path}': expected an index below {len(items)}, got '{part}'")
    return int(part)
