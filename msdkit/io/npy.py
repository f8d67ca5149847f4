"""Numpy's files, `.npy` and `.npz`, whose headers are held against the bytes behind them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from msdkit.errors import DataError
from msdkit.io.bounds import array_of, entries
from msdkit.io.pickles import load_plain, words

LARGEST = 1 << 28  # bytes of an `.npz` file, unpacked
HEADER = 1 << 16  # bytes; numpy reads headers of 10,000 signs
PLAIN = "?biufcSUO"  # the kinds of numbers, texts and objects


def load_npy(path: str | Path) -> np.ndarray:
    """The array of a `.npy` file; one of objects may hold what `load_plain` admits.

    DataError on a file that cannot be read, holds something else, or less than its header says.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file, Path(path).stat().st_size, str(path))
    except DataError:
        raise
    except Exception as error:  # of a header numpy raises all kinds
        raise DataError(f"{path}: not a readable .npy file: {words(error)}") from error


def load_npz(data: bytes, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of these arrays that an `.npz` file has; they hold numbers or texts.

    ValueError on one that unpacks to more than 256 MB; zipfile's errors on a damaged one.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if sum(member.file_size for member in archive.infolist()) > LARGEST:
            raise ValueError(f"unpacks to more than {LARGEST >> 20} MB")
        return {name: _member(archive, members[name]) for name in names if name in members}


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is packed as numpy packs nothing")
    with archive.open(member) as file:
        data = file.read(member.file_size)  # a size: without one all would be unpacked at once
    return _read(io.BytesIO(data), len(data), None)


def _read(file: IO[bytes], size: int, where: str | None) -> np.ndarray:
    """The array of an open file; one of objects only where `where` names it."""
    head = io.BytesIO(file.read(HEADER))  # what is not there cannot be made room for
    version = np.lib.format.read_magic(head)
    header = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        header = np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(head)
    if dtype.kind not in PLAIN or dtype.fields or dtype.subdtype:
        raise ValueError(f"its header promises {dtype!s:.80}; accepted: numbers or texts")
    file.seek(head.tell())
    if dtype.hasobject:
        return _objects(file.read(), shape, where)
    promised, there = entries(shape) * dtype.itemsize, size - head.tell()
    if promised > there:
        raise ValueError(f"its header promises {dtype} {list(shape)}, beyond its {there} bytes")
    return array_of(file.read(promised), dtype, shape, fortran)


def _objects(data: bytes, shape: Any, where: str | None) -> np.ndarray:
    if where is None:
        raise ValueError("Object arrays cannot be loaded")
    array = load_plain(data, where)
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise ValueError(f"its header promises shape {list(shape)}")
    return array
