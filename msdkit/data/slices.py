"""The parts of a split that its data set wants reported apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from msdkit import traits
from msdkit.errors import DataError


def slices_of(dataset: Any) -> dict[str, np.ndarray]:
    """{name: int64 [rows]} of `slices()`; empty where a data set has no such method.

    DataError unless each is a flat list of rows of the data set, no row twice.
    """
    hook = traits.slices(dataset)
    found = {} if hook is None else hook()
    if not isinstance(found, Mapping):
        raise DataError(f"slices() gave {found!r:.80}; expected {{name: [rows]}}")
    return {_name(name): _rows(name, rows, len(dataset)) for name, rows in found.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise DataError(f"slice {name!r}: expected a text as its name")
    return name


def _rows(name: str, given: Any, count: int) -> np.ndarray:
    try:
        rows = np.asarray(given)
    except (TypeError, ValueError):  # lists of unequal lengths
        rows = np.empty((0, 0))
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        fault = f"got {given!r:.80}"
    elif rows.size and not 0 <= rows.min() <= rows.max() < count:
        fault = f"got {rows[(rows < 0) | (rows >= count)][0]}"
    elif len(np.unique(rows)) < len(rows):
        fault = "and none twice"
    else:
        return rows.astype(np.int64)
    raise DataError(f"slice '{name}' must hold rows from 0 to {count - 1} in a flat list, {fault}")
