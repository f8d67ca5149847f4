"""Region features in the LMDBs of MMF and UNITER."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from msdkit.errors import DataError
from msdkit.features.description import SCORES, SHARES, Detected, Selection, checked, described
from msdkit.features.sources import Entry, Source, as_text
from msdkit.io.lmdb_file import reading
from msdkit.io.npy import load_npz
from msdkit.io.pickles import load_plain, words


class _Lmdb(Source):
    """What readers of an LMDB share: the names stand under the key `listing`."""

    listing: ClassVar[bytes]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with reading(path) as database:
            self.names = self._names(database.get(self.listing) or b"")

    @property
    def total(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Entry]:
        with reading(self.path) as database:
            for i, name in enumerate(self.names, start=1):

                def load(name: bytes = name) -> Detected:
                    record, where = database.get(name), f"{self.path}, entry {as_text(name)!r}"
                    if record is None:
                        raise DataError(f"{where}: is listed but not there")
                    return self._record(record, where)

                yield Entry(self._key(as_text(name)), i, load)

    def _key(self, name: str) -> str:
        return name

    @abstractmethod
    def _names(self, data: bytes) -> list[bytes]:
        """What the listing says."""

    @abstractmethod
    def _record(self, data: bytes, where: str) -> Detected: ...


class MmfLmdb(_Lmdb):
    """MMF's `lmdb_conversion.py`: pickled {features, bbox, image_width, image_height, …}; ViLBERT's
    `convert_to_lmdb.py`: {features, boxes, image_w, image_h, …}.

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

    def _record(self, data: bytes, where: str) -> Detected:
        item = load_plain(data, where)
        if not isinstance(item, dict):
            raise DataError(f"{where}: expected a dictionary with `features`, an array")
        return described(where, item)


class UniterLmdb(_Lmdb):
    """UNITER's image databases: {features `[L, D]`, norm_bb `[L, 6]`, conf, …}, msgpack or npz.

    norm_bb begins with the box as shares; width and height follow from it. Keys lack the `.npz` of
    the names in the LMDB. Of a database named `all` or `all_compressed`, which holds whatever was
    detected, UNITER chooses regions by conf when it reads (ChenRocks/UNITER 1dbfa62, data/data.py;
    these limits stand in its configs); in others scripts/convert_imgdir.py has chosen.
    """

    listing = b"__keys__"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        folder = path if path.is_dir() else path.parent
        if folder.absolute().name in ("all", "all_compressed"):
            self.selection = Selection(min_score=0.2, min_regions=10, max_regions=100)

    def _key(self, name: str) -> str:
        return name.removesuffix(".npz")

    def _names(self, data: bytes) -> list[bytes]:
        try:
            return [name.encode() for name in json.loads(data)]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            where = f"{self.path}, entry '__keys__'"
            raise DataError(f"{where}: expected a json list of names: {error}") from error

    def _record(self, data: bytes, where: str) -> Detected:
        scored = self.selection.min_score is not None
        try:
            arrays = load_npz(data, READ) if data[:2] == b"PK" else _msgpack(data)
            lacking = [name for name in READ[: 2 + scored] if name not in arrays]
            if not lacking:
                features, boxes = arrays["features"], arrays[SHARES][:, :4]
                scores = arrays[SCORES].reshape(-1) if scored else None
                return checked(where, features, boxes, scores)
        except DataError:
            raise
        except Exception as error:  # each layer of the formats has errors of its own
            raise DataError(f"{where}: damaged: {words(error)}") from error
        names = ", ".join(map(str, arrays))
        raise DataError(f"{where}: has no '{lacking[0]}', only {names:.200}")


READ = ("features", SHARES, SCORES)


def _msgpack(data: bytes) -> dict[Any, Any]:
    """A map whose arrays are written as msgpack-numpy does: {nd, type, shape, data}."""
    import msgspec

    arrays = msgspec.msgpack.decode(data)
    return {key: _array(value) for key, value in arrays.items()}


def _array(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    named = {as_text(k) if isinstance(k, bytes) else k: v for k, v in value.items()}
    if not named.get("nd"):
        return value
    return np.frombuffer(named["data"], np.dtype(named["type"])).reshape(named["shape"])
