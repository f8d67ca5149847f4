"""YAML as configs and overrides hold it: read by version 1.2, and refused where 1.1 differs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from msdkit.errors import ConfigError

MOST, DEEPEST = 100_000, 100  # values of a text, and inside of one another
CORE = {  # YAML 1.2.2, chapter 10.3.2; first letters, pattern
    "null": ("~nN", "~|null|Null|NULL|"),
    "bool": ("tTfF", "true|True|TRUE|false|False|FALSE"),
    "int": ("-+0123456789", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": (
        "-+.0123456789",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|"
        r"\.(nan|NaN|NAN)",
    ),
    "merge": ("<", "<<"),  # of 1.1, and asked for by its name alone
}
TAG = "tag:yaml.org,2002:"
OTHERWISE = {f"{TAG}{kind}" for kind in ("bool", "int", "float")}  # what 1.1 may see in a text


class _Loader(yaml.SafeLoader):
    """Values by YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Quotes each text that one of the versions would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class Unclear(ConfigError):
    """A value that YAML 1.1 and 1.2 read differently."""


def _int(loader: Any, node: ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


for _kind, (_first, _pattern) in CORE.items():
    for _class in (_Loader, _Dumper):
        _letters = [*_first, *([""] if _kind == "null" else [])]
        _class.add_implicit_resolver(f"{TAG}{_kind}", re.compile(f"(?:{_pattern})$"), _letters)
_Loader.add_constructor(f"{TAG}int", _int)
_Dumper.add_multi_representer(str, lambda dumper, text: dumper.represent_str(str(text)))
_Dumper.add_multi_representer(float, lambda dumper, x: dumper.represent_float(float(x)))
_OLD, _NEW = yaml.SafeLoader(""), _Loader("")  # which tell single values


def read_yaml(text: str, source: str, what: str = "YAML", key: str = "") -> Any:
    """What a text says; ConfigError, which begins with `source` and names the key, on a mistake.

    A value that YAML 1.1 reads as another number, or as true or false, is refused: 010, 1:30, no.
    what: what a text that cannot be read is not; key: where its value stands.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root, source, key, "\n" in text.strip())
        return loader.construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not {what}: {' '.join(str(error).split())}") from error


def write_yaml(values: Any) -> str:
    """The text of plain values, which both versions of YAML read as these."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _check(root: Node, source: str, key: str, lines: bool) -> None:
    """ConfigError for what is not clear, and for a key that stands twice."""
    for count, (node, path) in enumerate(_nodes(root)):
        where = f"{source}:{node.start_mark.line + 1}: " if lines else f"{source}: "
        if count > MOST or len(path) > DEEPEST:
            most = f"{MOST:,} values, each alias counted as what it names"
            raise ConfigError(f"{where}more than {most}, or {DEEPEST} inside of one another")
        where += f"{'.'.join((key, *path) if key else path)}: " if path else ""
        if isinstance(node, MappingNode):
            keys = [(key.tag, key.value) for key, _ in node.value if key.id == "scalar"]
            if twice := [key for i, key in enumerate(keys) if key in keys[:i]]:
                raise ValueError(f"{'.'.join(path) or 'it'} has the duplicate key '{twice[0][1]}'")
        elif isinstance(node, ScalarNode) and (message := _differs(node)):
            raise Unclear(where + message)


def _nodes(root: Node) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """(node, its keys), in the order of the text; what an alias names comes again."""
    left: list[tuple[Node, tuple[str, ...]]] = [(root, ())]
    while left:
        node, path = left.pop()
        yield node, path
        parts = []
        if isinstance(node, SequenceNode):
            parts = [(item, (*path, str(i))) for i, item in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            for key, value in node.value:
                parts += [(key, (*path, str(key.value))), (value, (*path, str(key.value)))]
        left += reversed(parts)


def _differs(node: ScalarNode) -> str:
    """What YAML 1.1 reads in a plain value that 1.2 does not, and what to write; empty if alike."""
    text, old, new = node.value, _tag(_OLD, node.value), _tag(_NEW, node.value)
    if node.style is not None or node.tag != new or old not in OTHERWISE:
        return ""  # quoted, or with a tag of its own
    try:
        before, now = _value(_OLD, text, old), _value(_NEW, text, new)
    except ValueError:  # 0b_, which is no number after all
        return ""
    if repr(before) == repr(now):
        return ""
    first, second = json.dumps(before), "a text" if isinstance(now, str) else json.dumps(now)
    write = first if isinstance(now, str) else f"{second} or {first}"
    return (
        f"{text} is {first} to YAML 1.1 and {second} to YAML 1.2; write {write}, or quote it where "
        f"the text is meant: '{text}'"
    )


def _tag(loader: Any, text: str) -> str:
    return str(loader.resolve(ScalarNode, text, (True, False)))


def _value(loader: Any, text: str, tag: str) -> Any:
    return loader.yaml_constructors[tag](loader, ScalarNode(tag, text))
