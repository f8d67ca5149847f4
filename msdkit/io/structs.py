"""Typed values as the plain ones that JSON holds."""

from __future__ import annotations

from typing import Any

import msgspec


def plain(struct: msgspec.Struct) -> dict[str, Any]:
    """Nested dictionaries and lists of strings, numbers, truth values and None."""
    return msgspec.to_builtins(struct, enc_hook=_base)


def _base(value: Any) -> str | int | float:
    """A view's name or one of numpy's numbers as the plain value that it is."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} {value!r} stands in no file")
