"""Sizes that a file states, compared with the bytes that it has before anything is built."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

EMPTY = 1 << 20  # the longest side of an array that holds nothing
DEEPEST = 50  # containers in containers
UNFOLDED = 64  # how often a file's bytes may come back, where it refers to one thing several times
_MAPPINGS = (dict, OrderedDict)
_CONTAINERS = frozenset({list, tuple, set, frozenset, *_MAPPINGS})
_TEXTS = (str, bytes, bytearray)
_SMALL = frozenset({int, float, complex, bool, type(None)})


def array_of(data: Any, dtype: Any, shape: Any, fortran: bool = False) -> np.ndarray:
    """The array, which may be written, of bytes or, if it holds objects, of a list.

    ValueError unless the data is as long as type and shape say.
    """
    count = entries(shape)
    if not isinstance(dtype, np.dtype) or not dtype.itemsize:
        raise ValueError("an array without a type")
    if dtype.hasobject:
        if type(data) is not list or len(data) != count:
            raise ValueError(f"not the objects of an array {list(shape)}")
        # In C order under either flag (findings/numpy-pickles-objects-in-c-order-under-fortran.sh)
        return np.fromiter(data, object, count).reshape(shape)
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for {dtype} {list(shape)}")
    return np.ndarray(shape, dtype, bytearray(data), order="F" if fortran else "C")


def entries(shape: Any) -> int:
    """How many entries an array has; ValueError on what is no shape."""
    if not isinstance(shape, tuple) or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError("a shape that is no tuple of whole numbers from 0")
    count = math.prod(shape)
    if not count and max(shape) > EMPTY:
        raise ValueError(f"shape {list(shape)} of nothing")
    return count


def check_plain(value: Any, size: int) -> None:
    """ValueError where the value of a file of `size` bytes holds something else than numbers,
    texts, containers and arrays, nests too deep (or in itself), or is far larger than the file.

    It would be larger where one list stands in many places: whoever walks over it meets it as often
    as that.
    """
    level, seen, most = [[value]], 0, UNFOLDED * (size + 64)
    for _ in range(DEEPEST):
        seen += sum(map(_length, level))
        if seen <= most:  # else it is not walked over
            level, weight = _sorted(chain.from_iterable(map(_held, level)))
            seen += weight
        if seen > most:
            raise ValueError(f"its {size} bytes unfold to more than {most}")
        if not level:
            return
    raise ValueError(f"nests deeper than {DEEPEST}")


def _sorted(values: Iterable[Any]) -> tuple[list[Any], int]:
    """The containers among values, and the bytes of the others."""
    containers, weight = [], 0
    for value in values:
        kind = type(value)
        if kind in _TEXTS:
            weight += len(value)
        elif kind in _SMALL:
            if kind is int and value.bit_length() > 64:
                raise ValueError("a whole number of more than 64 bits")
        elif kind in _CONTAINERS or (kind is np.ndarray and value.dtype.hasobject):
            containers.append(value)
        elif isinstance(value, np.ndarray | np.generic):
            weight += value.nbytes
        elif not isinstance(value, np.dtype):
            raise ValueError(f"an unfinished {kind.__name__.strip('_')}")
    return containers, weight


def _held(container: Any) -> Any:
    """What a container holds."""
    if type(container) in _MAPPINGS:
        return chain(container.keys(), container.values())
    return container.reshape(-1) if type(container) is np.ndarray else container


def _length(container: Any) -> int:
    return container.size if type(container) is np.ndarray else 2 * len(container)
