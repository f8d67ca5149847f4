"""The files of a feature store: names, types, checksums, and the index."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from msdkit.errors import DataError
from msdkit.io.arrays import save_arrays
from msdkit.io.strings import Strings, table

DType = Literal["fp16", "fp32", "int32"]
Arrays = dict[str, np.ndarray]
FORMAT = 1
DATA, INDEX, JOURNAL, BOXES = "features.bin", "index.safetensors", "journal.jsonl", "boxes.bin"
_NAMES = {"fp16": "float16", "fp32": "float32", "int32": "int32"}
# The arrays of an index: their types, and the sizes behind the first
_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "keys": ("u1", ()),
    "key_offsets": ("i8", ()),
    "offsets": ("i8", ()),
    "crc32": ("u4", ()),
    "boxes": ("f4", (4,)),
    "key_names": ("u1", (16,)),
    "key_rows": ("i8", ()),
}
_OPTIONAL = ("boxes", "key_names", "key_rows")
TYPES: dict[str, np.dtype] = {name: np.dtype(full) for name, full in _NAMES.items()}


def entry(line: bytes) -> list[Any] | None:
    """A line of the journal, or None when it is not complete."""
    return json.loads(line) if line.endswith(b"\n") else None


def map_rows(path: Path, dtype: str, rows: int, dim: int) -> np.ndarray:
    shape = (int(rows),) if dtype == "int32" else (int(rows), dim)
    if rows == 0:  # an empty file cannot be mapped
        return np.empty(shape, TYPES[dtype])
    # asarray: slices of the subclass np.memmap cost more than the copy of a record
    # "c": torch takes only arrays that may be written; what is written stays out of the file
    return np.asarray(np.memmap(path, TYPES[dtype], mode="c", shape=shape))


def converted(where: str, array: np.ndarray, dtype: str, dim: int) -> np.ndarray:
    """The array as it is stored; DataError when it has another form or cannot be held."""
    kind, shape = ("iu", (len(array),)) if dtype == "int32" else ("f", (len(array), dim))
    if array.dtype.kind not in kind or array.shape != shape:
        wanted = "integers [L]" if dtype == "int32" else f"floats [L, {dim}]"
        raise DataError(f"{where}: got {array.dtype} {list(array.shape)}, expected {wanted}")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array, TYPES[dtype])
    if dtype == "int32" and not (stored == array).all():
        raise DataError(f"{where}: holds integers beyond 32 bits")
    if dtype != "int32" and not np.isfinite(stored).all():
        cause = "values beyond fp16; use fp32" if np.isfinite(array).all() else "NaN or infinity"
        raise DataError(f"{where}: holds {cause}")
    return stored


def checksum(rows: np.ndarray, boxes: np.ndarray | None) -> int:
    crc = zlib.crc32(rows.tobytes())
    return crc if boxes is None else zlib.crc32(boxes.tobytes(), crc)


def make_index(lengths: Mapping[bytes, int], crc: list[int]) -> Arrays:
    """The index of records in their order; lengths: {key: rows}."""
    return looked_up(
        {
            "keys": np.frombuffer(b"".join(lengths), np.uint8),
            "key_offsets": ends([len(key) for key in lengths]),
            "offsets": ends(list(lengths.values())),
            "crc32": np.array(crc, np.uint32),
        }
    )


def ends(sizes: Any) -> np.ndarray:
    """int64 `[N + 1]`: where each of N pieces ends, beginning with 0"""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def keys_of(index: Arrays) -> Strings:
    """All keys, in the order of the records."""
    return Strings(index["keys"], index["key_offsets"])


def looked_up(index: Arrays) -> Arrays:
    """The index with a table that finds keys; indices of earlier versions have none."""
    if "key_names" in index:
        return index
    found = table(keys_of(index))
    names = found["names"].view(np.uint8).reshape(-1, 16)
    return {**index, "key_names": names, "key_rows": found["rows"]}


def table_of(index: Arrays) -> Arrays:
    """What `strings.find` looks keys up in."""
    names = index["key_names"]
    return {"names": names.reshape(-1).view("S16"), "rows": index["key_rows"]}


def digest(dtype: str, dim: int, index: Arrays) -> str:
    digest = hashlib.blake2b(f"{FORMAT} {dtype} {dim}".encode(), digest_size=16)
    for name in ("keys", "key_offsets", "offsets", "crc32"):
        digest.update(index[name].data)
    return digest.hexdigest()


def write_index(path: Path, index: Arrays, about: dict[str, Any]) -> None:
    """Write an index to the disk; what stands there is replaced at once."""
    # one entry: the order of several would change from run to run
    save_arrays(path, index, {"feature_store": json.dumps(about)})


def read_index(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a store's index, memory-mapped, and what it says about the store."""
    from safetensors import SafetensorError, safe_open

    if not (path / INDEX).is_file():
        shards = len(list(path.glob(f"shard-*/{INDEX}")))
        hint = f"; {shards} of its shards are finished, not all" if shards else ""
        raise DataError(f"{path} is no feature store: {INDEX} is missing{hint}")
    try:
        with safe_open(path / INDEX, framework="pt") as file:  # numpy's would read all of it
            about = json.loads((file.metadata() or {}).get("feature_store", "{}"))
            index = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
        found = about.get("format") if isinstance(about, dict) else None
        if found == FORMAT:
            msgspec.convert(about, _About)
            _check_arrays(index)
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"feature store {path}: cannot read {INDEX}: {error}") from error
    if found != FORMAT:
        raise DataError(f"feature store {path}: format {found!r:.40}, this version reads {FORMAT}")
    return index, about


class _About(msgspec.Struct):
    """What an index says of its store; shards: {folder: rows}."""

    dtype: DType
    dim: Annotated[int, msgspec.Meta(ge=1)]
    digest: str
    shards: dict[
        Annotated[str, msgspec.Meta(pattern=r"^[\w-]*$")], Annotated[int, msgspec.Meta(ge=0)]
    ] = {}


def _check_arrays(index: Arrays) -> None:
    """ValueError unless all arrays are there, and places in them ascend from 0."""
    for name, (kind, width) in _ARRAYS.items():
        array = index.get(name)
        if array is None and name not in _OPTIONAL:
            raise ValueError(f"`{name}` is missing")
        if array is not None and (array.dtype != kind or array.shape != (len(array), *width)):
            raise ValueError(f"`{name}` is {array.dtype} {list(array.shape)}")
    for name in ("key_offsets", "offsets"):
        places = index[name]
        if not len(places) or places[0] or (np.diff(places) < 0).any():
            raise ValueError(f"`{name}` do not ascend from 0")
    if index["key_offsets"][-1] != len(index["keys"]):
        raise ValueError("`key_offsets` do not end where `keys` do")
    names, rows = index.get("key_names", ()), index.get("key_rows", np.empty(0, np.int64))
    if not len(names) == len(rows) or (rows < 0).any() or (rows >= len(index["crc32"])).any():
        raise ValueError("`key_rows` and `key_names` are no table of the keys")
