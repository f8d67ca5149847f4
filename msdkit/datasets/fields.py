"""Columns of a row -> raw modalities: text, pictures, keys of features, arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from msdkit.errors import ConfigError, DataError, listing, suggest
from msdkit.io.npy import load_npy

FieldType = Literal["text", "image", "features", "array"]
TYPES: tuple[FieldType, ...] = get_args(FieldType)


@dataclass(frozen=True)
class Field:
    """Where a modality stands in a row and what is found there."""

    column: str
    type: FieldType


def parse_fields(modalities: Mapping[str, str | Mapping[str, str]]) -> dict[str, Field]:
    """`{name: {column: COL, type: TYPE}}`, or for short `{name: COL}`: the type is then the
    modality's own name where that is a type (`image: path`), else text."""
    if not modalities:
        raise ConfigError("modalities: expected at least one, such as {text: caption, image: path}")
    return {name: _field(name, given) for name, given in modalities.items()}


def read_field(field: Field, row: Mapping[str, Any], folder: Path, where: str) -> Any:
    """Text, an absolute path, a key, float32 `[L, D]` or int64 `[L]`."""
    if field.column not in row:
        raise DataError(
            f"{where}: no column '{field.column}'. {suggest(field.column, row)}"
            f"Found: {listing(row)}"
        )
    value, where = row[field.column], f"{where}: column '{field.column}'"
    if field.type == "array":
        return _array(value, folder, where)
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a {field.type} (a string), got {value!r:.80}")
    return str(inside(folder, value, where)) if field.type == "image" else value


def inside(folder: Path, name: str, where: str) -> Path:
    """The file `name` of the folder; neither `..` nor a link may lead out of it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise DataError(f"{where}: '{name}' leaves the folder {folder}; files must lie inside it")
    if path.is_dir():
        raise DataError(f"{where}: '{name}' is the folder {path}; accepted: a file")
    if not path.is_file():
        raise DataError(f"{where}: the file {path} does not exist")
    return path


def _field(name: str, given: str | Mapping[str, str]) -> Field:
    if isinstance(given, str):
        return Field(given, next((t for t in TYPES if t == name), "text"))
    wrong = sorted(set(given) - {"column", "type"})
    if wrong or "column" not in given:
        raise ConfigError(
            f"modalities.{name}: expected {{column: COLUMN, type: TYPE}}, got {dict(given)}"
        )
    kind = given.get("type", name if name in TYPES else "text")
    if kind not in TYPES:
        raise ConfigError(
            f"modalities.{name}.type: unknown type '{kind}'. {suggest(kind, TYPES)}"
            f"Known: {listing(TYPES)}"
        )
    return Field(given["column"], kind)


def _array(value: Any, folder: Path, where: str) -> np.ndarray:
    """Nested lists in the row itself, or the name of an `.npy` file."""
    try:
        if isinstance(value, str):
            array = load_npy(inside(folder, value, where))
        else:
            array = np.asarray(value)
    except (ValueError, DataError) as error:  # ragged lists, or a file that is no array
        raise DataError(f"{where}: not an array: {error}") from error
    if array.ndim == 1 and array.size and array.dtype.kind in "iu":
        if array.max() > np.iinfo(np.int64).max:
            raise DataError(f"{where}: {array.max()} is too large for an int64")
        return array.astype(np.int64)
    if array.ndim == 2 and array.size and array.dtype.kind in "iuf" and np.isfinite(array).all():
        return array.astype(np.float32)
    raise DataError(
        f"{where}: expected finite numbers [L, D] or integers [L], "
        f"got {array.dtype} {list(array.shape)}"
    )
