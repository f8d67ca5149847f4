"""Pickled numpy arrays and plain containers, read without running what a file asks for."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

from msdkit.errors import DataError
from msdkit.io.bounds import check_plain
from msdkit.io.pickle_makers import ADMITTED, Makers, Pending, hashed


def load_plain(data: bytes, where: str) -> Any:
    """The value of a pickle that holds numbers, texts, containers and numpy arrays alone.

    Whatever else a pickle asks for is refused by name before anything is called, and so is one
    whose sizes are not those of its bytes. `where` names the file and the entry in messages.
    """
    try:
        value = _Plain(data, where).load()
        check_plain(value, len(data))
        return value
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{where}: not a readable pickle: {words(error)}") from error


def words(error: object) -> str:
    """What an error says, in a line."""
    return f"{' '.join(str(error).split()):.200}" or type(error).__name__


class _Memo(dict[int, Any]):
    """What a pickle may refer to again; of what was pending, what came of it."""

    def __getitem__(self, index: int) -> Any:
        found = super().__getitem__(index)
        return found.value if type(found) is Pending else found


class Reader(pickle._Unpickler):
    """An unpickler that makes nothing of a size that is not there, and hashes nothing endless.

    It is the one written in Python: in the one in C, ten bytes can ask for a memo of 64 GB.
    size: how many bytes the file has. inert: classes of objects that take any entry.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    inert: ClassVar[tuple[type, ...]] = ()
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, file: Any, size: int) -> None:
        super().__init__(file, encoding="latin1")  # latin1: arrays from Python 2
        self.size = size

    def load_long4(self) -> None:
        raise ValueError("a whole number of more than 255 bytes")

    def load_bytearray8(self) -> None:
        """The usual one makes the array before it looks how many bytes there are."""
        size = int.from_bytes(self.read(8), "little")
        data = self.read(min(size, self.size))
        if len(data) != size:
            raise EOFError(f"{size} bytes asked for, {len(data)} there")
        self.stack.append(bytearray(data))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(dict, self._pairs([key, value]))

    def load_setitems(self) -> None:
        self._fill(dict, self._pairs(self.pop_mark()))

    def load_dict(self) -> None:
        items = self.pop_mark()  # puts back the stack below
        self.stack.append(dict(self._pairs(items)))

    def load_additems(self) -> None:
        self._fill(set, hashed(self.pop_mark(), self.inert))

    def load_frozenset(self) -> None:
        items = self.pop_mark()
        self.stack.append(frozenset(hashed(items, self.inert)))

    def _fill(self, kind: Any, items: Any) -> None:
        if isinstance(self.stack[-1], kind):
            self.stack[-1].update(items)
        elif not isinstance(self.stack[-1], self.inert):
            raise ValueError(f"entries for a {type(self.stack[-1]).__name__}")

    def _pairs(self, items: list[Any]) -> Any:
        """Keys and values that follow one another, as pairs."""
        return zip(hashed(items[::2], self.inert), items[1::2], strict=True)

    for _load in (
        load_long4,
        load_bytearray8,
        load_setitem,
        load_setitems,
        load_dict,
        load_additems,
        load_frozenset,
    ):
        dispatch[getattr(pickle, _load.__name__.removeprefix("load_").upper())[0]] = _load


class _Plain(Reader):
    """Makes plain values by the functions of `Makers` and calls nothing else."""

    dispatch: ClassVar[dict[int, Any]] = dict(Reader.dispatch)

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), len(data))
        self._where, self._makers, self.memo = where, Makers(len(data)), _Memo()

    def find_class(self, module: str, name: str) -> Any:
        known = ADMITTED.get((module, name))
        if known is None:
            raise DataError(
                f"{self._where}: the pickle asks for '{words(f'{module}.{name}')}' and was "
                "refused; only numpy arrays and plain containers are admitted"
            )
        return getattr(self._makers, known)

    def persistent_load(self, pid: Any) -> Any:
        raise DataError(f"{self._where}: the pickle refers to the outside and was refused")

    def load_build(self) -> None:
        """Finish an array or a dtype; nothing else has a state."""
        state, made = self.stack.pop(), self.stack.pop()
        if type(made) is not Pending:
            raise ValueError(f"a state for a {type(made).__name__}")
        made.value = made.finish(state)
        self.stack.append(made.value)

    dispatch[pickle.BUILD[0]] = load_build
