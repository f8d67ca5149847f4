"""Pickled numpy arrays and plain containers, read without running what a file asks for."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

from msdkit.errors import DataError
from msdkit.io.bounds import check_plain
from msdkit.io.pickle_makers import ADMITTED, Makers, Pending, hashed, pairs


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


class _Plain(pickle._Unpickler):
    """An unpickler that makes plain values by the functions of `Makers` and calls nothing else.

    It is the one written in Python: in the one in C, ten bytes can ask for a memo of 64 GB.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")  # latin1: arrays from Python 2
        self._where, self._size, self.memo = where, len(data), _Memo()
        self._makers = Makers(len(data))

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

    def load_long4(self) -> None:
        raise ValueError("a whole number of more than 255 bytes")

    def load_bytearray8(self) -> None:
        """The usual one makes the array before it looks how many bytes there are."""
        size = int.from_bytes(self.read(8), "little")
        data = self.read(min(size, self._size))
        if len(data) != size:
            raise EOFError(f"{size} bytes asked for, {len(data)} there")
        self.stack.append(bytearray(data))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(dict, pairs([key, value]))

    def load_setitems(self) -> None:
        self._fill(dict, pairs(self.pop_mark()))

    def load_dict(self) -> None:
        items = self.pop_mark()  # puts back the stack below
        self.stack.append(dict(pairs(items)))

    def load_additems(self) -> None:
        self._fill(set, hashed(self.pop_mark()))

    def load_frozenset(self) -> None:
        items = self.pop_mark()
        self.stack.append(frozenset(hashed(items)))

    def _fill(self, kind: Any, items: Any) -> None:
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"entries for a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(items)


for _load in (
    _Plain.load_build,
    _Plain.load_long4,
    _Plain.load_bytearray8,
    _Plain.load_setitem,
    _Plain.load_setitems,
    _Plain.load_dict,
    _Plain.load_additems,
    _Plain.load_frozenset,
):
    _opcode = getattr(pickle, _load.__name__.removeprefix("load_").upper())
    _Plain.dispatch[_opcode[0]] = _load
