"""Long lists of texts that cost no Python objects, and where equal ones stand."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from msdkit.errors import DataError
from msdkit.io.arrays import ArrayWriter

CHUNK = 1 << 14  # texts looked at together
BUCKET = 1 << 17  # names sorted together


class Strings(Sequence[str]):
    """Texts: the bytes of all, one after the other, and where each ends; a slice is a list.

    blob: uint8; ends: int64 `[N + 1]`, beginning with 0; rows: the texts that it has, None for all.
    """

    def __init__(self, blob: np.ndarray, ends: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._blob, self._ends, self._rows = blob, ends, rows

    def __len__(self) -> int:
        return len(self._ends) - 1 if self._rows is None else len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = range(len(self))[index]  # IndexError beyond the end, which ends an iteration
        if self._rows is not None:
            row = self._rows[row]
        return decode(self._blob[self._ends[row] : self._ends[row + 1]].tobytes())

    def __iter__(self) -> Iterator[str]:
        blob, starts, stops = self._blob, self._ends[:-1], self._ends[1:]
        for at in range(0, len(self), CHUNK):
            part: Any = slice(at, at + CHUNK)
            rows = part if self._rows is None else self._rows[part]
            for start, stop in zip(starts[rows].tolist(), stops[rows].tolist(), strict=True):
                yield decode(blob[start:stop].tobytes())

    def __repr__(self) -> str:
        return f"Strings({self[:3]}{'…' if len(self) > 3 else ''}, {len(self)} texts)"

    def at(self, rows: np.ndarray) -> Strings:
        """The texts at `rows`, read when they are asked for."""
        return Strings(self._blob, self._ends, rows if self._rows is None else self._rows[rows])


class StringsWriter:
    """Builds `Strings` on disk, text after text."""

    def __init__(self) -> None:
        self._blob, self._ends, self._end = ArrayWriter(np.uint8), ArrayWriter(np.int64), 0
        self._ends.write(bytes(8))

    def add(self, text: str) -> None:
        """Append a text."""
        data = encode(text)
        self._end += len(data)
        self._blob.write(data)
        self._ends.write(self._end.to_bytes(8, sys.byteorder))

    def extend(self, texts: Sequence[str]) -> None:
        """Append several texts at once, which is quicker."""
        data = list(map(encode, texts))
        ends = self._end + np.cumsum(list(map(len, data)), dtype=np.int64)
        self._end = int(ends[-1]) if len(ends) else self._end
        self._blob.write(b"".join(data))
        self._ends.write(ends.tobytes())

    def finish(self) -> Strings:
        """All texts in the order in which they came."""
        return Strings(self._blob.finish(), self._ends.finish())


def stored(texts: Iterable[str]) -> Strings:
    """The texts of an iterable, which need not fit into memory."""
    writer = StringsWriter()
    for part in chunks(texts):
        writer.extend(part)
    return writer.finish()


def encode(text: str) -> bytes:
    """UTF-8; names of files may hold lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def decode(data: bytes) -> str:
    """What was encoded; DataError where it was damaged since."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DataError(f"a text that was stored is damaged: {error}") from error


def names(texts: Iterable[str]) -> np.ndarray:
    """S16 `[N]`: 128-bit hashes, which stand for the texts: equal ones are equal texts."""
    hashes = [hashlib.blake2b(encode(text), digest_size=16).digest() for text in texts]
    return np.frombuffer(b"".join(hashes), "S16")


def all_names(texts: Iterable[str]) -> np.ndarray:
    """The same for any number of texts, on disk."""
    found = ArrayWriter("S16")
    for part in chunks(texts):
        found.write(names(part).tobytes())
    return found.finish()


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists that are not long."""
    left = iter(texts)
    while part := list(islice(left, CHUNK)):
        yield part


def first_rows(texts: Sequence[str]) -> np.ndarray:
    """int64 `[D]`, ascending: where each of the D distinct texts stands first."""
    held = all_names(texts)
    first = np.zeros(len(held), bool)
    bucket_of, buckets = held.view(np.uint8)[::16], min(-(-len(held) // BUCKET), 256)
    for bucket in range(buckets):  # sorting all at once would take several times their memory
        rows = np.flatnonzero(bucket_of % buckets == bucket)
        first[rows[np.unique(held[rows], return_index=True)[1]]] = True
    return np.flatnonzero(first)


def repeated(texts: Sequence[str]) -> int | None:
    """The first row whose text stands earlier already; None when all differ."""
    rows = first_rows(texts)
    if len(rows) == len(texts):
        return None
    return int(np.append(rows != np.arange(len(rows)), True).argmax())


def table(texts: Iterable[str]) -> dict[str, np.ndarray]:
    """{"names": S16 `[N]`, sorted; "rows": int64 `[N]`, where each stands}"""
    held = all_names(texts)
    rows = np.argsort(held, kind="stable")
    return {"names": held[rows], "rows": rows}


def find(held: dict[str, np.ndarray], texts: Sequence[str]) -> np.ndarray:
    """int64 `[N]`: the row of each text in a table, -1 where it has none"""
    wanted, known = names(texts), held["names"]
    if not len(known):
        return np.full(len(wanted), -1)
    places = known.searchsorted(wanted)
    places[places == len(known)] = 0
    rows = held["rows"][places]
    rows[known[places] != wanted] = -1
    return rows


def digest(*parts: str) -> str:
    """A short name for the content of several strings."""
    return digest_of(parts)


def digest_of(parts: Iterable[str]) -> str:
    """The same for any number of strings."""
    state = hashlib.blake2b(digest_size=12)
    for part in parts:
        state.update(encode(part) + b"\0")
    return state.hexdigest()
