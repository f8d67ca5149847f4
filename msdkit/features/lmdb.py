"""Region features in the LMDBs of MMF and UNITER."""

from __future__ import annotations

import io
import json
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from msdkit.errors import DataError
from msdkit.features.sources import (
    LARGEST,
    Entry,
    Regions,
    Source,
    as_text,
    checked,
    described,
    words,
)
from msdkit.io.pickles import load_plain


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """A read transaction of an LMDB, a folder or a single file; DataError on a damaged one."""
    import lmdb

    file, env = path / "data.mdb" if path.is_dir() else path, None
    try:
        env = lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False)
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if file.stat().st_size < needed:  # reading beyond the end would kill the process
            raise DataError(f"{path}: cut off: {file.stat().st_size} bytes of {needed}")
        with env.begin() as transaction:
            yield transaction
    except (lmdb.Error, OSError) as error:
        raise DataError(f"{path}: no readable LMDB: {error}") from error
    finally:
        if env is not None:
            env.close()


class _Lmdb(Source):
    """What readers of an LMDB share: the names stand under the key `listing`."""

    listing: ClassVar[bytes]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with reading(path) as transaction:
            self.names = self._names(transaction.get(self.listing) or b"")

    @property
    def total(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Entry]:
        with reading(self.path) as transaction:
            for i, name in enumerate(self.names, start=1):

                def load(name: bytes = name) -> Regions:
                    found, where = transaction.get(name), f"{self.path}, entry {as_text(name)!r}"
                    if found is None:
                        raise DataError(f"{where}: is listed but not there")
                    return self._record(found, where)

                yield Entry(self._key(as_text(name)), i, load)

    def _key(self, name: str) -> str:
        return name

    @abstractmethod
    def _names(self, data: bytes) -> list[bytes]:
        """What the listing says."""

    @abstractmethod
    def _record(self, data: bytes, where: str) -> Regions: ...


class MmfLmdb(_Lmdb):
    """MMF's `lmdb_conversion.py`: pickled {features, bbox (pixels), image_width, image_height, …}.

    Pickles are read by an unpickler that admits numpy arrays and plain containers alone. Keys are
    as in the LMDB.
    """

    listing = b"keys"

    def _names(self, data: bytes) -> list[bytes]:
        where = f"{self.path}, entry 'keys'"
        names = load_plain(data, where)
        if not isinstance(names, list) or not all(isinstance(n, str | bytes) for n in names):
            raise DataError(f"{where}: expected a list of names")
        return [name.encode() if isinstance(name, str) else name for name in names]

    def _record(self, data: bytes, where: str) -> Regions:
        item = load_plain(data, where)
        if not isinstance(item, dict) or not isinstance(item.get("features"), np.ndarray):
            raise DataError(f"{where}: expected a dictionary with `features`, an array")
        return described(where, item["features"], item)


class UniterLmdb(_Lmdb):
    """UNITER's image databases: {features `[L, D]`, norm_bb `[L, 6]`, …} as msgpack or as npz.

    norm_bb begins with the box as shares; width and height follow from it. Keys lack the `.npz` of
    the names in the LMDB.
    """

    listing = b"__keys__"

    def _key(self, name: str) -> str:
        return name.removesuffix(".npz")

    def _names(self, data: bytes) -> list[bytes]:
        try:
            return [name.encode() for name in json.loads(data)]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            where = f"{self.path}, entry '__keys__'"
            raise DataError(f"{where}: expected a json list of names: {error}") from error

    def _record(self, data: bytes, where: str) -> Regions:
        try:
            found = _npz(data) if data[:2] == b"PK" else _msgpack(data)
            features, boxes = found["features"], found["norm_bb"][:, :4]
        except KeyError as error:
            raise DataError(
                f"{where}: has no {error}, only {', '.join(map(str, found))}"
            ) from error
        except Exception as error:  # each layer of the formats has errors of its own
            raise DataError(f"{where}: damaged: {words(error)}") from error
        return checked(where, features, boxes)


def _msgpack(data: bytes) -> dict[Any, Any]:
    """A map whose arrays are written as msgpack-numpy does: {nd, type, shape, data}."""
    import msgspec

    found = msgspec.msgpack.decode(data)
    return {key: _array(value) for key, value in found.items()}


def _array(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    named = {as_text(k) if isinstance(k, bytes) else k: v for k, v in value.items()}
    if not named.get("nd"):
        return value
    return np.frombuffer(named["data"], np.dtype(named["type"])).reshape(named["shape"])


def _npz(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST:
            raise ValueError(f"unpacks to more than {LARGEST >> 20} MB")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("features", "norm_bb") if name in arrays}
