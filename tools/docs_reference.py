"""The pages of the reference: plugins, config keys and commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from typing import Any

from docs_losses import joined, kinds_of, linked, parameter_table, table

from msdkit.builtin import BUILTIN
from msdkit.config.schema import MODEL, TASK, TERM, ExperimentConfig, InitKeys
from msdkit.groups import documentation
from msdkit.registry import REGISTRIES
from msdkit.signatures import config_parameters, inner

KINDS = ("models", "datasets", "processors", "maskings", "metrics")
ITEM = re.compile(r"[a-z_]+(, [a-z_]+)*: ")  # how a docstring begins the line of a parameter
NODES = {"A term of `distill`": TERM, "The node `task`": TASK, "A model's node": MODEL}


def registry_page(kind: str) -> str:
    """An overview of a registry, then each plugin with its parameters."""
    names = list(BUILTIN[kind])
    rows = [("Name", "In one line")]
    rows += [(f"[`{n}`](#{n})", _first(REGISTRIES[kind].get(n))) for n in names]
    return "\n".join(["## Overview\n", table(rows), *(_entry(kind, n) for n in names)])


def _entry(kind: str, name: str) -> str:
    cls = REGISTRIES[kind].get(name)
    parameters = REGISTRIES[kind].parameters(name)
    served = kinds_of(kind, name)
    kinds = "" if served == "all" else f"Task kinds: {served}."
    text = markdown(documentation(cls), parameters)
    parts = [f"## {name}", text, kinds, parameter_table(parameters)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _first(cls: type) -> str:
    """The first paragraph of a docstring, as a cell of a table."""
    return linked(joined((inspect.getdoc(cls) or "").partition("\n\n")[0]).rstrip("."))


def markdown(text: str, names: Iterable[str] = ()) -> str:
    """A docstring as Markdown: what it says of a parameter becomes an item of a list."""
    for name in names:
        text = re.sub(rf"[;.]\s+({name}):\s+", r".\n\1: ", text)
    lines: list[str] = []
    inside = code = False  # of an item; of code that goes on in the next line
    for line in text.splitlines():
        begins = None if code else ITEM.match(line)
        code ^= line.count("`") % 2 == 1
        if begins and not inside and lines and lines[-1]:
            lines.append("")
        inside = bool(begins) or (inside and bool(line))
        if begins:
            label = ", ".join(f"`{n}`" for n in begins[0][:-2].split(", "))
            line = f"- {label}: {line[begins.end() :]}"
        lines.append(f"  {line}" if inside and not begins else line)
    return linked("\n".join(lines))


def config_page() -> str:
    """Every key of a config, section by section."""
    parts = [_section("The top level", ExperimentConfig)]
    parts += [_section(f"`{name}`", cls) for name, cls in _sections(ExperimentConfig)]
    parts += [_section(title, node.keys) for title, node in NODES.items()]
    parts.append(_section("A model's `init`", InitKeys))
    return "\n".join(parts)


def _sections(cls: Any) -> Iterator[tuple[str, type]]:
    """The keys that are mappings with keys of their own."""
    for key, p in config_parameters(cls).items():
        annotation = inner(p.annotation) or p.annotation
        if is_dataclass(annotation):
            yield key, annotation  # type: ignore[misc]


def _section(title: str, cls: type) -> str:
    made = {f.name: f.default_factory for f in fields(cls) if f.default_factory is not MISSING}
    parameters = {}
    for key, p in config_parameters(cls).items():
        if is_dataclass(p.annotation):  # it has a section of its own
            p = p.replace(annotation=dict, default={})
        elif key in made:
            p = p.replace(default=made[key]())
        parameters[key] = p
    text = markdown(inspect.getdoc(cls) or "", parameters)
    return f"## {title}\n\n{text}\n\n{parameter_table(parameters, 'Key')}\n"


def commands_page() -> str:
    """Every command with its arguments and options."""
    from typer.main import get_command

    from msdkit.cli.commands import app

    return "\n".join(_command(get_command(app), "msdkit", 2))


def _command(command: Any, name: str, level: int) -> Iterator[str]:
    """A command, then those below it; typer's objects, of which its releases differ in print."""
    children = getattr(command, "commands", {})
    if level > 2 or not children:
        yield f"{'#' * (level - 1)} `{name}`\n\n{inspect.cleandoc(command.help or '')}\n"
        rows = [("Argument or option", "Meaning", "Default")]
        rows += [row for row in map(_parameter, command.params) if row is not None]
        if rows[1:]:
            yield table(rows)
    for child, below in children.items():
        yield from _command(below, f"{name} {child}", level + 1)


def _parameter(parameter: Any) -> tuple[str, str, str] | None:
    """A row of a command's table; None for `--help`, which all have."""
    if "--help" in parameter.opts:
        return None
    option = parameter.param_type_name == "option"
    words = "`, `".join(parameter.opts) if option else parameter.metavar or parameter.name.upper()
    default = parameter.default
    shown = (
        "required" if parameter.required else "" if default in (None, False, [], ()) else default
    )
    return f"`{words}`", joined(parameter.help or "").replace("|", "\\|"), f"{shown}"


PAGES: dict[str, Callable[[], str]]
PAGES = {f"reference/{kind}.md": partial(registry_page, kind) for kind in KINDS}
PAGES |= {"reference/config.md": config_page, "reference/commands.md": commands_page}
