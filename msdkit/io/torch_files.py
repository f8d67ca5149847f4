"""Files of `torch.save`: what they ask for is held against their bytes before torch makes it.

torch trusts a file that tells how large its tensors are, and makes room for them at once.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import zipfile
from pathlib import Path
from typing import Any, ClassVar

from msdkit.io.pickle_makers import hashed
from msdkit.io.pickles import Reader

# Bytes of an entry, by the name of the storage
_ITEM = {
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Char", "Byte", "Bool", "QInt8", "QUInt8", "Untyped"), 1),
    "ComplexDouble": 16,
}
_REBUILD = "torch._utils._rebuild_"
_TENSORS = tuple(_REBUILD + name for name in ("tensor", "tensor_v2", "tensor_v3"))
# What may be called beside them: it makes room for nothing. Of torch the rest is refused: sparse,
# quantized and empty tensors are as large as a file likes
_HARMLESS = frozenset({f"{_REBUILD}parameter", f"{_REBUILD}parameter_with_state"})
_PARAMETERS = ("torch.nn.parameter.Parameter", "torch.nn.Parameter")
LEGACY = 5  # pickles in a file that is no zip archive: magic, version, system, objects, storages


def check_sizes(path: Path) -> None:
    """ValueError where a file's storages or tensors are larger than the bytes that it has for them.

    Names that torch.load would refuse are left to it, as is what it does with them. A damaged file
    raises whatever reading it does.
    """
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, size)
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found: dict[str, int] = {}
        try:
            for _ in range(LEGACY):
                found |= _asked(data, size)
        except EOFError:
            if found:
                raise
            return  # no file of torch.save, and torch says what it asks for
        if sum(found.values()) > size - data.tell():
            raise ValueError(f"storages of {sum(found.values())} bytes in a file of {size}")


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    members = {member.filename: member for member in archive.infolist()}
    if len(members) < len(archive.infolist()):
        raise ValueError("an archive with two members of one name")
    for member in members.values():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"{member.filename:.80} is packed, which torch.save does not do")
    if sum(member.file_size for member in members.values()) > size:
        raise ValueError(f"its members are larger than its {size} bytes")
    names = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(names) != 1:
        raise ValueError(f"{len(names)} members data.pkl")
    folder = names[0].removesuffix("data.pkl")
    for key, asked in _asked(io.BytesIO(archive.read(names[0])), size).items():
        there = members.get(f"{folder}data/{key}")
        if there is None or asked > there.file_size:
            held = "nothing" if there is None else f"{there.file_size} bytes"
            raise ValueError(f"storage {key:.80} of {asked} bytes, {held} there")


def _asked(file: Any, size: int) -> dict[str, int]:
    """{key: bytes} of the storages that the next pickle of a file refers to."""
    audit = _Audit(file, size)
    audit.load()
    return audit.storages


class _Inert:
    """Whatever a pickle calls or makes, by its name; takes all and keeps nothing."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def append(self, item: Any) -> None:
        """An entry of what is no list here."""

    def extend(self, items: Any) -> None:
        """The same, several."""


class _Audit(Reader):
    """Goes through a pickle of torch, calls nothing, and notes how large all is to be."""

    dispatch: ClassVar[dict[int, Any]] = dict(Reader.dispatch)
    inert = (_Inert,)

    def __init__(self, file: Any, size: int) -> None:
        super().__init__(file, size)
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        return _Inert(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage":
            kind, key, _, count = pid[1:5]
            item = _ITEM.get(kind.name.rpartition(".")[2].removesuffix("Storage"))
            if item is None or type(count) is not int or count < 0:
                raise ValueError(f"a storage of {count!s:.40} {kind.name:.80}")
            self.storages[key] = max(count * item, self.storages.get(key, 0))
        return _Inert()

    def load_reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self.stack.append(self._made(getattr(called, "name", ""), arguments))

    def load_newobj(self) -> None:
        self.load_reduce()

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_reduce()

    def load_build(self) -> None:
        self.stack.pop()

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.stack.append(self._made(getattr(klass, "name", ""), args))

    def _made(self, name: str, arguments: Any) -> Any:
        if name in _TENSORS:
            count = math.prod(arguments[2])
            if not 0 <= count <= self.size:
                raise ValueError(f"a tensor of {count} entries in a file of {self.size} bytes")
        elif name == "torch.Size":
            return tuple(*arguments)
        elif name.endswith(".bytearray") and arguments and isinstance(arguments[0], int):
            raise ValueError(f"a bytearray of {arguments[0]} bytes")
        elif name.endswith((".set", ".Counter")) and arguments:
            hashed(list(arguments[0]), self.inert)
        elif name.endswith(".OrderedDict") and arguments:
            hashed([key for key, _ in arguments[0]], self.inert)
        elif name not in _HARMLESS and _makes_room(name):
            raise ValueError(f"a call of {name:.80}; accepted: dense tensors")
        return _Inert()

    for _load in (load_reduce, load_newobj, load_newobj_ex, load_build):
        dispatch[getattr(pickle, _load.__name__.removeprefix("load_").upper())[0]] = _load


def _makes_room(name: str) -> bool:
    """Whether torch calls this name, which makes a tensor or a storage."""
    makes = name.startswith("torch.") and name.endswith(("Tensor", "Storage"))
    return makes or name.startswith(_REBUILD) or name in _PARAMETERS
