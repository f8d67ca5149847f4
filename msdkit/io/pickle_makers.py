"""What a pickle of plain values may call: functions that hold all sizes against the file's."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from msdkit.io.bounds import UNFOLDED, array_of


class Pending:
    """What stands for an array or a dtype until the pickle has told its state."""

    def __init__(self, finish: Callable[[Any], Any]) -> None:
        self.finish, self.value = finish, self


class Makers:
    """What a pickle may ask for. What all of it makes is held against the size of the file."""

    def __init__(self, size: int) -> None:
        self._left = UNFOLDED * (size + 64)

    def _spent(self, data: Any) -> Any:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("makes far more than the bytes that it has")
        return data

    def list(self, items: Iterable[Any] = ()) -> Any:
        return list(self._spent(items))

    def tuple(self, items: Iterable[Any] = ()) -> Any:
        return tuple(self._spent(items))

    def set(self, items: Iterable[Any] = ()) -> Any:
        return set(hashed(list(self._spent(items))))

    def frozenset(self, items: Iterable[Any] = ()) -> Any:
        return frozenset(hashed(list(self._spent(items))))

    def dict(self, items: Iterable[Any] = ()) -> Any:
        return dict(self._entries(items))

    def ordered(self, items: Iterable[Any] = ()) -> Any:
        return OrderedDict(self._entries(items))

    def _entries(self, items: Any) -> Any:
        items = list(self._spent(items))
        return zip(hashed([key for key, _ in items]), [value for _, value in items], strict=True)

    def complex(self, real: float, imaginary: float = 0.0) -> Any:
        return complex(float(real), float(imaginary))

    def bytes(self) -> Any:
        """How protocols before 3 write empty ones; `encode` makes others."""
        return b""

    def bytearray(self, data: Any = b"", encoding: str = "latin1") -> Any:
        return bytearray(self.encode(data, encoding) if isinstance(data, str) else _bytes(data))

    def encode(self, text: str, encoding: str = "latin1") -> Any:
        """How protocol 2 writes bytes."""
        return self._spent(text).encode("utf-8" if encoding in ("utf8", "utf-8") else "latin1")

    def dtype(self, name: str, align: Any = False, copy: Any = True) -> Pending:
        if not _SIMPLE.fullmatch(name):
            raise ValueError(f"dtype {name!r:.80}")
        return Pending(partial(_ordered, np.dtype(object if "O" in name else name)))

    def ndarray(self, *_: Any) -> None:
        """Only an argument of `reconstruct`."""
        raise ValueError("an array without its content")

    def reconstruct(self, *_: Any) -> Pending:
        """What class and shape the pickle wants is not asked."""
        return Pending(self._array)

    def _array(self, state: Any) -> np.ndarray:
        shape, dtype, fortran, data = state[-4:]  # before them a version
        return array_of(self._spent(_latin(data)), dtype, shape, bool(fortran))

    def from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        return array_of(self._spent(_bytes(data)), dtype, shape, order == "F")

    def scalar(self, dtype: Any, data: Any) -> Any:
        if isinstance(dtype, np.dtype) and dtype.kind in "SU" and not data:
            return dtype.type()
        return array_of(_bytes(_latin(data)), dtype, ())[()]


def _ordered(dtype: np.dtype, state: Any) -> np.dtype:
    """A type with its order of bytes, the only thing of its state that is believed."""
    order = "|" if dtype.hasobject else state[1]
    if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
        raise ValueError("no state of a plain dtype")
    return dtype.newbyteorder(order)  # type: ignore[arg-type]


def hashed(keys: list[Any], more: tuple[type, ...] = ()) -> list[Any]:
    """Keys or entries of a set; ValueError on what may take long to hash: tuples in tuples.

    more: types of keys that are admitted, too.
    """
    for key in () if _QUICK.issuperset(map(type, keys)) else keys:
        parts = key if type(key) is tuple and len(key) <= LONGEST else (key,)
        if not all(part is None or isinstance(part, (*_KEYS, *more)) for part in parts):
            raise ValueError(f"a {type(key).__name__} as a key")
    return keys


def _bytes(data: Any) -> Any:
    if not isinstance(data, bytes | bytearray):
        raise ValueError(f"a {type(data).__name__} for bytes")
    return data


def _latin(data: Any) -> Any:
    """From Python 2 bytes come as text."""
    return data.encode("latin1") if isinstance(data, str) else data


# Numbers, texts and objects; nothing with fields
_SIMPLE = re.compile(r"[<>|=]?([biufc]\d+|[SU]\d+|O[48]?|[?])")
_QUICK = frozenset({str, int})
_KEYS = (str, bytes, int, float, complex, np.generic)
LONGEST = 16  # parts of a tuple that is a key

# The names that a pickle may use, and the functions of `Makers` behind them
ADMITTED: dict[tuple[str, str], str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("collections", "OrderedDict"): "ordered",
}
for _builtins in ("builtins", "__builtin__"):
    for _type in ("set", "frozenset", "list", "dict", "tuple", "bytes", "bytearray", "complex"):
        ADMITTED[_builtins, _type] = _type
for _core in ("numpy.core", "numpy._core"):
    ADMITTED[f"{_core}.multiarray", "_reconstruct"] = "reconstruct"
    ADMITTED[f"{_core}.multiarray", "scalar"] = "scalar"
    ADMITTED[f"{_core}.numeric", "_frombuffer"] = "from_buffer"
