"""Groups of parameters: what several plugins take alike is written once, as a dataclass.

A constructor takes a group after `*`. Who calls it, and the config, give the group's keys beside
the plugin's own; the body gets the group:

    @grouped
    def __init__(self, split: str, *, shout: bool = False, files: Group[Files]) -> None:
        lines = (Path(files.folder) / f"{split}.jsonl").read_text().splitlines()
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import partial, wraps
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from msdkit.errors import ConfigError

T = TypeVar("T")
MARK = object()
Group = Annotated[T, MARK]
Parameters = dict[str, inspect.Parameter]


def grouped(init: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a constructor with groups, which is then called with their keys.

    A group that has a default, an instance of its dataclass, takes the defaults of its keys there.
    """
    where = f"{init.__module__}.{init.__qualname__.removesuffix('.__init__')}"
    classes = {n: cls for n, hint in resolved(init, where).items() if (cls := group_of(hint))}
    plain = inspect.signature(init, eval_str=True)
    members = {n: _members(cls, plain.parameters[n], where) for n, cls in classes.items()}
    makers = {n: _maker(cls, plain.parameters[n].default) for n, cls in classes.items()}
    signature = plain.replace(parameters=_flat(plain.parameters, members, where))

    @wraps(init)
    def flat(*args: Any, **keys: Any) -> None:
        try:
            signature.bind(*args, **keys)
        except TypeError as error:
            raise TypeError(f"{init.__qualname__}() {error}") from None
        groups = {
            name: make(**{key: keys.pop(key) for key in members[name] if key in keys})
            for name, make in makers.items()
        }
        init(*args, **groups, **keys)

    flat.__signature__ = signature  # type: ignore[attr-defined]
    flat.__groups__ = tuple(classes.values())  # type: ignore[attr-defined]
    return flat


def group_of(annotation: Any) -> Any:
    """X of `Group[X]`; None for any other annotation."""
    marked = get_origin(annotation) is Annotated and MARK in get_args(annotation)
    return get_args(annotation)[0] if marked else None


def documentation(cls: type) -> str:
    """A class's docstring, then what its groups say of their keys, the titles left out."""
    groups = getattr(cls.__init__, "__groups__", ())  # type: ignore[misc]
    bases = [b for group in groups for b in reversed(group.__mro__) if is_dataclass(b)]
    shared = [inspect.cleandoc(base.__doc__ or "").partition("\n\n")[2] for base in bases]
    return "\n\n".join(filter(None, [inspect.getdoc(cls), "\n".join(filter(None, shared))]))


def resolved(thing: Any, where: str) -> dict[str, Any]:
    """The annotations of a function or class as types; ConfigError where a name is unknown."""
    try:
        return get_type_hints(thing, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{where}: {error}; annotations of a plugin's parameters "
            "must be importable when it is, not under TYPE_CHECKING alone"
        ) from error


def _members(cls: Any, taken: inspect.Parameter, where: str) -> Parameters:
    """What a constructor takes in place of the group `cls`, which it has as parameter `taken`."""
    if not is_dataclass(cls):
        raise ConfigError(f"{where}: '{taken.name}' is a group of {cls!r}; accepted: a dataclass")
    if taken.kind is not taken.KEYWORD_ONLY:
        raise ConfigError(f"{where}: the group '{taken.name}' stands before `*`; accepted: after")
    hints = resolved(cls, where)
    return {
        f.name: taken.replace(
            name=f.name, annotation=hints[f.name], default=_default(f, taken.default)
        )
        for f in fields(cls)
        if f.init
    }


def _default(field: Field, group: Any) -> Any:
    """The default of a group's key, where the group has the default `group`."""
    if group is not inspect.Parameter.empty:
        return getattr(group, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _maker(cls: Any, default: Any) -> Callable[..., Any]:
    """What makes the group of the keys that were given."""
    return cls if default is inspect.Parameter.empty else partial(replace, default)


def _flat(
    plain: Mapping[str, inspect.Parameter], members: Mapping[str, Parameters], where: str
) -> list[inspect.Parameter]:
    """All parameters, a group's where it stands; ConfigError where two have one name."""
    flat: Parameters = {}
    owners: dict[str, str] = {}
    for name, p in plain.items():
        owner = f"the group '{name}'" if name in members else "the signature"
        for key, member in members.get(name, {name: p}).items():
            if key in flat:
                raise ConfigError(
                    f"{where}: parameter '{key}' stands twice: in {owners[key]} and in {owner}"
                )
            flat[key], owners[key] = member, owner
    return list(flat.values())
