"""Odd values: what else could stand in a tree of JSON, or in a file's bytes."""

from __future__ import annotations

import copy
import random
import string
from typing import Any

DEEP = 100  # levels
ODD: list[Any] = [None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.0, -0.5]
ODD += [1e308, 1e-320, float("nan"), float("inf"), "", " ", "0", "-1", "null", "nan", "a" * 5000]
ODD += ["\x00", "é", "😀", "\ud800", "../..", "/dev/null", "${here}", "${", "text", "kl", "1e3"]
ODD += [[], [[]], [None], [1, "a"], {}, {"": 0}, {"name": None}, {"name": "kl"}, {"a": {"a": 1}}]


def mutated(draw: random.Random, tree: Any) -> Any:
    """The tree with one to three odd places: a value, a key or a whole branch."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        places = list(_places(tree))
        if not places:
            return _odd(draw, tree)
        holder, key = draw.choice(places)
        _change(draw, holder, key, draw.choice(places))
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """(holder, key or index) of each value in a tree."""
    found: list[tuple[Any, Any]] = []
    keys: Any = []
    if isinstance(tree, dict | list):
        keys = list(_keys(tree))
    for key in keys:
        found.append((tree, key))
        if len(found) < 2000:
            found += _places(tree[key])
    return found


def _change(draw: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    way = draw.choice(["value", "value", "value", "near", "swap", "delete", "rename", "deep"])
    if way == "delete":
        del holder[key]
    elif way == "rename" and isinstance(holder, dict):
        holder[_key(draw, key)] = holder.pop(key)
    elif way == "deep":
        for _ in range(draw.choice([1, 2, DEEP])):
            holder[key] = [holder[key]] if draw.random() < 0.5 else {"a": holder[key]}
    elif way == "swap":
        holder[key] = copy.deepcopy(other[0][other[1]]) if other[1] in _keys(other[0]) else None
    elif way == "near":
        holder[key] = _near(draw, holder[key])
    else:
        holder[key] = _odd(draw, holder[key])


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _odd(draw: random.Random, value: Any) -> Any:
    return copy.deepcopy(draw.choice(ODD))


def _near(draw: random.Random, value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return draw.choice([value + 1, -value, value * 1000, value / 3, str(value)])
    if isinstance(value, str):
        at = draw.randint(0, len(value))
        return value[:at] + draw.choice(string.printable) + value[at + draw.randint(0, 1) :]
    if isinstance(value, list):
        return value + value
    return list(value.items()) if isinstance(value, dict) else value


def _key(draw: random.Random, key: str) -> Any:
    return draw.choice(
        ["", "a", f"{key} ", key.upper(), f"{key}.x", "name", "\x00", "${here}", key[:-1]]
    )


def bytes_changed(draw: random.Random, data: bytes) -> bytes:
    """The bytes with a few changed, cut, doubled or put in; most often near their beginning."""
    found = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        near = min(len(found), 64) if draw.random() < 0.5 else len(found)
        at = draw.randrange(near) if near else 0
        way = draw.choice(["byte", "byte", "bit", "cut", "put", "double", "drop", "big"])
        if way == "byte" and found:
            found[at] = draw.randrange(256)
        elif way == "bit" and found:
            found[at] ^= 1 << draw.randrange(8)
        elif way == "cut":
            del found[at + draw.randrange(64) :]
        elif way == "put":
            found[at:at] = draw.choice(
                [b"\x00", b"\xff", b"\xef\xbb\xbf", b"{", b"- ", b"\n", b"&a *a", b"[" * 3000]
            )
        elif way == "double":
            found[at:at] = found[at : at + draw.randrange(40)]
        elif way == "drop":
            del found[at : at + draw.randrange(8)]
        else:
            found[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(found)
