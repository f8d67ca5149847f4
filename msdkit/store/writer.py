"""Builds feature stores record by record; a build that was interrupted goes on."""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from msdkit.errors import DataError
from msdkit.failures import writing
from msdkit.io.locks import Claim, StoreBusy, take
from msdkit.io.owned import Kind, own
from msdkit.io.strings import encode
from msdkit.store.format import (
    BOXES,
    DATA,
    FORMAT,
    INDEX,
    JOURNAL,
    TYPES,
    DType,
    checksum,
    converted,
    digest,
    entry,
    make_index,
    write_index,
)


def _from_before(folder: Path) -> bool:
    """Whether a version without marks began a folder: a store, its beginning, or its shards."""
    return any((folder / name).is_file() for name in (JOURNAL, INDEX)) or any(
        folder.glob("shard-*-of-*")
    )


STORE = Kind("feature store", "name another place for the store", _from_before)


class FeatureStoreWriter:
    """Builds a store, which appears under its name when it is finished and not before.

    A build that was killed leaves `PATH.partial`; a writer opened with the same arguments goes on
    after the last complete record. Leaving the `with` block without an error finishes the store.

    dtype: "fp16" or "fp32" for rows `[L, dim]`, "int32" for token ids `[L]` with dim = 1.
    boxes: whether each row has a box, float32 `[L, 4]`.
    """

    def __init__(
        self, path: str | Path, dim: int, dtype: DType = "fp16", boxes: bool = False
    ) -> None:
        self.path, self.dim, self.dtype = Path(path), dim, dtype
        if dtype not in TYPES or dim < 1 or (dtype == "int32" and dim != 1):
            raise DataError(
                f"feature store {path}: got dtype '{dtype}' with dim {dim}, expected fp16 or fp32 "
                "with dim >= 1, or int32 with dim 1"
            )
        self._lengths: dict[bytes, int] = {}
        self._crc: list[int] = []
        self._row_bytes = {DATA: dim * TYPES[dtype].itemsize} | ({BOXES: 16} if boxes else {})
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._files: dict[str, IO[bytes]] = {}
        self._claim: Claim | None = None
        try:
            self._open()
            self._resume([FORMAT, dtype, dim, boxes])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> FeatureStoreWriter:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.finish()
        self.close()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and encode(key) in self._lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, key: str, array: np.ndarray, boxes: np.ndarray | None = None) -> None:
        """Append one record: `[L, dim]`, or integers `[L]`; DataError when it does not fit."""
        if key in self:
            raise DataError(f"feature store {self.path}: the key '{key}' was added twice")
        where = f"feature store {self.path}, key '{key}'"
        rows = converted(where, np.asarray(array), self.dtype, self.dim)
        if (boxes is None) == (BOXES in self._files):
            raise DataError(f"{where}: boxes must be given for every record or for none")
        places = None if boxes is None else converted(f"{where}, boxes", boxes, "fp32", 4)
        if places is not None and len(places) != len(rows):
            raise DataError(f"{where}: got {len(places)} boxes for {len(rows)} rows")
        self._write(DATA, rows.tobytes())
        if places is not None:
            self._write(BOXES, places.tobytes())
        crc = checksum(rows, places)
        # last, so that what the journal names is complete
        self._write(JOURNAL, json.dumps([key, len(rows), crc]).encode() + b"\n")
        self._remember(key, len(rows), crc)

    def finish(self) -> None:
        """Write the index and give the store its name; does nothing on a finished store."""
        if not self._files:
            return
        index = make_index(self._lengths, self._crc)
        about = {
            "format": FORMAT,
            "dtype": self.dtype,
            "dim": self.dim,
            "digest": digest(self.dtype, self.dim, index),
        }
        if BOXES in self._files:
            places = (self._partial / BOXES).read_bytes()
            index["boxes"] = np.frombuffer(places, np.float32).reshape(-1, 4)
        os.fsync(self._files[DATA].fileno())
        write_index(self._partial / INDEX, index, about)
        self._partial.replace(self.path)
        for name in (JOURNAL, BOXES):  # not earlier: a kill before the rename must lose nothing
            (self.path / name).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Stop here; what was added stays in `PATH.partial` for the next writer."""
        for file in self._files.values():
            with suppress(OSError):  # what was denied is told, and would be denied again
                file.close()
        self._files = {}
        if self._claim is not None:
            self._claim.end()
            self._claim = None

    def _open(self) -> None:
        if self.path.exists():
            raise DataError(f"feature store {self.path} exists; delete it to build it again")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._claim = take(self.path.with_name(f"{self.path.name}.claim"))
        if self._claim is None:
            raise StoreBusy(f"{self._partial} is being written by another process; wait for it")
        if self.path.exists():
            raise StoreBusy(f"{self._partial} was just finished by another process")
        own(self._partial, STORE)
        for name in (JOURNAL, *self._row_bytes):
            self._files[name] = (self._partial / name).open("a+b")

    def _resume(self, header: list[Any]) -> None:
        """Take over the complete records of an interrupted build; cut off what follows them."""
        journal = self._files[JOURNAL]
        for file in self._files.values():
            file.seek(0)
        begun = entry(journal.readline())
        if begun not in (None, header):
            raise DataError(
                f"{self._partial} was begun with [format, dtype, dim, boxes] = {begun}, not "
                f"{header}; delete it to start anew"
            )
        end = journal.tell() if begun else 0
        while self._take_over(entry(journal.readline())):
            end = journal.tell()
        journal.truncate(end)
        for name, width in self._row_bytes.items():
            self._files[name].truncate(sum(self._lengths.values()) * width)
        if not begun:
            self._write(JOURNAL, json.dumps(header).encode() + b"\n")

    def _take_over(self, entry: list[Any] | None) -> bool:
        if entry is None:
            return False
        key, length, crc = entry
        found = 0
        for name, width in self._row_bytes.items():
            found = zlib.crc32(self._files[name].read(length * width), found)
        if found == crc:
            self._remember(key, length, crc)
        return found == crc

    def _write(self, name: str, data: bytes) -> None:
        with writing(self._partial / name):
            self._files[name].write(data)
            self._files[name].flush()

    def _remember(self, key: str, length: int, crc: int) -> None:
        self._lengths[encode(key)] = length
        self._crc.append(crc)
