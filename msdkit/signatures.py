"""Signatures as schemas: which parameters a class takes, and what is wrong with given values."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msdkit.errors import ConfigError, listing, suggest
from msdkit.groups import group_of, resolved

TORCH = "torch.nn.modules.module.Module"
TEXTS = (str, list[str], dict[str, str])
QUOTE = "quote what is meant as a text"
Problem = tuple[str, str]  # (path below the node, message)


@cache
def config_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a class, with resolved annotations."""
    init = cls.__init__  # type: ignore[misc]
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    # torch's constructor, which torch.compile puts another in the place of, takes any keyword and
    # refuses it later: it declares nothing
    if f"{owner.__module__}.{owner.__name__}" in ("builtins.object", TORCH):
        return {}
    where = f"{cls.__module__}.{cls.__qualname__}"
    hints, parameters = resolved(init, where), {}
    for name, p in inspect.signature(cls).parameters.items():
        if p.kind is p.KEYWORD_ONLY or p.kind is p.VAR_KEYWORD:
            usual = Any if p.annotation is p.empty else p.annotation  # of a group's key
            parameters[name] = p.replace(annotation=hints.get(name, usual))
            if group_of(parameters[name].annotation):
                raise ConfigError(
                    f"{where}: the group '{name}' needs `@grouped` on the constructor"
                )
    return parameters


@cache
def context_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The parameters before `*`, which the framework hands over."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {n: p for n, p in inspect.signature(cls).parameters.items() if p.kind in kinds}


def parameter_problems(
    where: str,
    known: Mapping[str, inspect.Parameter],
    values: Mapping[str, Any],
    noun: str = "parameter",
) -> Iterator[Problem]:
    """All that is wrong with `values` for the parameters `known`."""
    named = {n: p for n, p in known.items() if p.kind is not p.VAR_KEYWORD}
    for key, value in values.items():
        if key in named:
            for path, message in value_problems(named[key].annotation, value):
                yield _join(key, path), message
        elif len(named) == len(known):
            accepted = f"Accepted: {listing(named)}" if named else "It takes no parameters"
            yield str(key), f"{where} has no {noun} '{key}'. {suggest(key, named)}{accepted}"
    for key, p in named.items():
        if p.default is p.empty and key not in values:
            yield key, f"{where} needs '{key}' ({describe(p.annotation)})"


def value_problems(annotation: Any, value: Any) -> Iterator[Problem]:
    """All that is wrong with one value: plugin nodes and dataclasses are looked into."""
    origin, args = get_origin(annotation), get_args(annotation)
    nested = nested_registry(annotation)
    if nested is not None:
        if value is None or isinstance(value, str | int | float | list | Mapping):
            yield from nested.validate(value)  # anything else is a plugin that is built already
    elif is_dataclass(annotation) and isinstance(value, Mapping):
        known = config_parameters(annotation)  # type: ignore[arg-type]
        yield from parameter_problems("this section", known, value, "key")
    elif value is not None and inner(annotation) is not None:
        yield from value_problems(inner(annotation), value)
    elif origin is list and isinstance(value, list):
        for i, item in enumerate(value):
            yield from ((_join(str(i), p), m) for p, m in value_problems(args[0], item))
    elif origin is dict and isinstance(value, Mapping):
        for key, item in value.items():
            if args[0] is str and not isinstance(key, str):
                yield str(key), f"expected a text as key, got {key!r}; {QUOTE}"
            yield from ((_join(str(key), p), m) for p, m in value_problems(args[1], item))
    elif is_dataclass(annotation):
        if not isinstance(value, annotation):  # type: ignore[arg-type]
            yield "", f"expected a {describe(annotation)}, got {value!r}"
    else:
        yield from (("", message) for message in type_problems(annotation, value))


def inner(annotation: Any) -> Any:
    """X of `X | None`; None for any other annotation."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return None
    rest = [a for a in get_args(annotation) if a is not type(None)]
    return rest[0] if len(rest) == 1 else None


def _join(key: str, path: str) -> str:
    return f"{key}.{path}" if path else key


def type_problems(annotation: Any, value: Any) -> list[str]:
    """What keeps `value` from being an `annotation` (strict: no string becomes a number)."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    if annotation is Any:
        return []
    try:
        TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(
            value, strict=True
        )
    except PydanticUserError:  # classes with their own configuration cannot take ours
        return []
    except ValidationError:
        meant = f"; {QUOTE}" if _wants_text(annotation) and _is_bare(value) else ""
        return [f"expected {describe(annotation)}, got {value!r}{meant}"]
    return []


def _wants_text(annotation: Any) -> bool:
    union = get_origin(annotation) in (Union, types.UnionType)
    forms = get_args(annotation) if union else (annotation,)
    return any(wanted in forms for wanted in TEXTS)


def _is_bare(value: Any) -> bool:
    """Whether something in it was written without quotes: true, null, 1."""
    if isinstance(value, list | Mapping):
        return any(map(_is_bare, value.values() if isinstance(value, Mapping) else value))
    return value is None or isinstance(value, bool | int | float)


def describe(annotation: Any) -> str:
    """An annotation as a person would write it."""
    nested = nested_registry(annotation)
    if nested is not None:
        return f"a {nested.kind} node"
    if annotation in (Any, inspect.Parameter.empty):
        return "any value"
    origin, args = get_origin(annotation), get_args(annotation)
    if is_dataclass(annotation):
        return f"mapping of {listing(f.name for f in fields(annotation))}"
    if origin is Annotated:
        limits = " and ".join(filter(None, map(_limit, args[1:])))
        return f"{describe(args[0])} {limits}".strip()
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, args))
    if origin is list:
        return f"list of ({describe(args[0])})"
    if origin is dict:
        return f"mapping from {describe(args[0])} to ({describe(args[1])})"
    if annotation is dict:
        return "mapping"
    return "null" if annotation is type(None) else inspect.formatannotation(annotation)


def _limit(constraint: Any) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return next(
        (f"{s} {getattr(constraint, n)}" for n, s in signs.items() if hasattr(constraint, n)), ""
    )


def nested_registry(annotation: Any) -> Any:
    """The registry in `Annotated[Thing, REGISTRY]`: such a parameter is a plugin node itself."""
    if get_origin(annotation) is Annotated:
        return next((m for m in get_args(annotation)[1:] if hasattr(m, "validate")), None)
    return None
