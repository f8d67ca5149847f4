"""Pickled numpy arrays and plain containers, read without running what a file asks for."""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from msdkit.errors import DataError


def load_plain(data: bytes, where: str) -> Any:
    """The value of a pickle that holds numbers, texts, containers and numpy arrays alone.

    Whatever else a pickle asks for is refused by name before anything is called. `where` names the
    file and the entry in messages.
    """
    try:
        return _Plain(data, where).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{where}: not a readable pickle: {_words(error)}") from error


def load_npy(path: str | Path) -> np.ndarray:
    """The array of a `.npy` file; one of objects may hold what `load_plain` admits."""
    try:
        with Path(path).open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                header = np.lib.format.read_array_header_2_0
            shape, _, dtype = header(file)
            rest = file.read() if dtype.hasobject else b""
        array = load_plain(rest, str(path)) if rest else np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise ValueError(f"its header promises shape {list(shape)}")
        return array
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path}: not a readable .npy file: {_words(error)}") from error


class _Plain(pickle._Unpickler):
    """An unpickler that knows the names below and no other.

    It is the one written in Python: in the one in C, ten bytes can ask for a memo of 64 GB.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")  # latin1: arrays from Python 2
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        known = _ADMITTED.get((module, name))
        if known is None:
            raise DataError(
                f"{self._where}: the pickle asks for '{module}.{name}' and was refused; only numpy "
                "arrays and plain containers are admitted"
            )
        return known

    def load_build(self) -> None:
        """Give an array its content, a dtype its byte order; nothing else has a state.

        A dtype's own __setstate__ believes what it is told: to hold no objects, for one, and bytes
        of the file would then be read as addresses of objects.
        """
        state = self.stack.pop()  # type: ignore[attr-defined]
        made: Any = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(made, np.dtype):
            order = "|" if made.hasobject else state[1]
            if order not in ("<", ">", "|", "=") or any(x is not None for x in state[2:5]):
                raise ValueError(f"no state of a plain dtype: {state!r:.80}")
            sizes = made.itemsize, made.alignment, made.flags
            state = (3, order, None, None, None, *sizes)
            made.__setstate__(state)  # type: ignore[attr-defined]
        elif isinstance(made, np.ndarray):
            made.__setstate__(state)
        else:
            raise ValueError(f"a state for a {type(made).__name__}")

    dispatch[pickle.BUILD[0]] = load_build

    def persistent_load(self, pid: Any) -> Any:
        raise DataError(
            f"{self._where}: the pickle refers to the outside ({pid!r}) and was refused"
        )


def _empty_array(*_: Any) -> np.ndarray:
    """Where an array's state is put into; what class and shape the pickle wants is not asked."""
    return np.ndarray((0,), "b")


def _dtype(name: str, align: Any = False, copy: Any = True) -> np.dtype:
    """A type of its own, which may be changed: numpy's is that of all arrays."""
    if not _SIMPLE.fullmatch(name):
        raise ValueError(f"dtype {name!r:.80}")
    return np.dtype(name, False, True)


def _from_buffer(buffer: Any, dtype: np.dtype, shape: Any, order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, data: bytes | str) -> Any:
    """One number; from Python 2 its bytes come as text."""
    return np.frombuffer(data if isinstance(data, bytes) else data.encode("latin1"), dtype)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    return text.encode("utf-8" if encoding.lower() in ("utf8", "utf-8") else "latin1")


# Numbers, texts and objects; nothing with fields
_SIMPLE = re.compile(r"[<>|=]?([biufc]\d+|[SU]\d+|O[48]?|[?])")

_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",  # only an argument of _reconstruct: it need not be callable
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
}
for _builtins in ("builtins", "__builtin__"):
    for _type in (set, frozenset, list, dict, tuple, bytearray, complex):
        _ADMITTED[_builtins, _type.__name__] = _type
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _empty_array
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _scalar
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
