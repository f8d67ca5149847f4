"""Values as JSON holds them, which has no number for what is undefined: that is null in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec


def plain(value: Any) -> Any:
    """A struct, or a tree of such, as nested dictionaries and lists of strings, numbers, truth
    values and None."""
    return msgspec.to_builtins(value, enc_hook=_base)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that every reader accepts: NaN and infinities are null."""
    return json.dumps(_each(plain(value), _null), indent=indent, allow_nan=False)


def with_nan(value: Any) -> Any:
    """What was read of a tree of numbers, with NaN again for null."""
    return _each(value, lambda leaf: math.nan if leaf is None else leaf)


def _base(value: Any) -> Any:
    """A view's name, or a number of numpy's or torch's, as the plain value that it is."""
    if getattr(value, "ndim", None) == 0:  # a scalar, or an array of one value without axes
        return value.item()
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} {value!r} stands in no file")


def _null(leaf: Any) -> Any:
    return None if isinstance(leaf, float) and not math.isfinite(leaf) else leaf


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same tree of mappings and lists, with each leaf changed."""
    if isinstance(value, Mapping):
        return {k: _each(v, change) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_each(v, change) for v in value]
    return change(value)
