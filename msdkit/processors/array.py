"""Processors of what is an array already: passed through, or looked up in a feature store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from msdkit.errors import DataError
from msdkit.hub.paths import local
from msdkit.processors.base import Processor
from msdkit.processors.tokens import vocabulary
from msdkit.registry import PROCESSORS
from msdkit.store.format import INDEX
from msdkit.store.store import FeatureStore
from msdkit.types import Modality


@PROCESSORS.register("array")
class Array(Processor):
    """Passes token ids int `[L]` and features float `[L, D]` through, and checks them.

    modality: what the data set declares. Without it the training data tell: the width of the
    features, or the largest id + 1.
    """

    def __init__(self, modality: Modality | None = None) -> None:
        if modality is not None and modality.kind == "tokens":
            modality = vocabulary(modality.size - 1)
        self._modality = modality
        self._declared = modality is not None

    @property
    def modality(self) -> Modality:
        if self._modality is None:
            raise DataError("the array processor knows no width or vocabulary before fit")
        return self._modality

    def fit(self, raws: Iterable[Any]) -> None:
        if self._declared:
            return
        self._modality = None
        for raw in raws:
            self._modality = _common(self._modality, _described(_sequence(raw)))

    def state(self) -> dict[str, Any]:
        return {} if self._declared or self._modality is None else asdict(self._modality)

    def load_state(self, state: dict[str, Any]) -> None:
        if state:
            self._modality = Modality(**state)

    def __call__(self, raw: Any) -> np.ndarray:
        """int [L] -> int64 [L], float [L, D] -> float32 [L, D]"""
        array = _sequence(raw)
        known, found = self._modality, _described(array)
        if known is not None and _common(known, found) != known:
            raise DataError(f"token id {found.size - 1} is beyond the vocabulary of {known.size}")
        return array


@PROCESSORS.register("features")
class Features(Processor):
    """Looks raw values up as keys of a feature store.

    A path that is no key stands for the key that its end is, without suffix or with it
    (`img/val/01235.png` for `val/01235`, or for `01235`), so that one model may read stored
    features of the pictures that another sees.
    store: the folder of the store.
    """

    def __init__(self, *, store: str) -> None:
        self.path = local(store)

    @cached_property
    def store(self) -> FeatureStore:
        """The store, opened when first asked for, and verified unless it is large."""
        store = FeatureStore(self.path)
        store.verify_if_small()
        return store

    @property
    def modality(self) -> Modality:
        return self._modality

    @cached_property
    def _modality(self) -> Modality:
        store = self.store
        if store.dtype != "int32":
            return Modality("features", store.dim)
        tokens = Modality("tokens", 1)
        for key in store:
            try:
                tokens = _common(tokens, vocabulary(int(store[key].max(initial=0))))
            except DataError as error:
                raise DataError(f"{store.path}, record '{key}': {error}") from error
        return tokens

    def files(self) -> list[Path]:
        return [self.path / INDEX]  # it holds the digest of the rest

    @cached_property
    def key(self) -> StoredKey:
        return StoredKey(self.store)

    def __call__(self, raw: Any) -> np.ndarray:
        """key -> int64 [L] or float32 [L, D]"""
        record = self.store[self.key(raw)]
        return record.astype(np.int64 if self.store.dtype == "int32" else np.float32)


class StoredKey:
    """raw value -> the key of a store that it stands for; the value itself where it is none.

    A path stands for the longest of its ends that is a key, without its suffix or with it.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    @cached_property
    def depth(self) -> int:
        """How many parts the longest key has; longer ends of a path need not be looked up."""
        return 1 + max((key.count("/") for key in self.store), default=0)

    def __call__(self, raw: Any) -> str:
        key = str(raw)
        if key.count("/") < self.depth and key in self.store:
            return key
        path = PurePath(key)
        parts = path.parts[-self.depth :]
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            for name in (end.removesuffix(path.suffix), end):
                if name in self.store:
                    return name
        return key


def _sequence(raw: Any) -> np.ndarray:
    """int64 [L] or float32 [L, D]; DataError on anything else."""
    try:
        array = np.asarray(raw)
    except (TypeError, ValueError) as error:
        raise DataError(f"expected int [L] or float [L, D]: {error}") from error
    tokens = array.dtype.kind in "iu" and array.ndim == 1
    if not (tokens or (array.dtype.kind == "f" and array.ndim == 2)) or array.size == 0:
        form = f"{array.dtype} {list(array.shape)}"
        ids = "; token ids are integers" if array.ndim == 1 and array.dtype.kind == "f" else ""
        raise DataError(f"expected int [L] or float [L, D] that is not empty, got {form}{ids}")
    if tokens and array.min() < 0:
        raise DataError(f"token ids must not be negative, got {array.min()}")
    if tokens:
        vocabulary(int(array.max()))  # before it is an int64, which not all numbers fit
    array = array.astype(np.int64 if tokens else np.float32)
    if not tokens and not np.isfinite(array).all():
        raise DataError(f"features {list(array.shape)} hold NaN or infinity")
    return array


def _described(array: np.ndarray) -> Modality:
    if array.ndim == 1:
        return vocabulary(int(array.max()))
    return Modality("features", array.shape[1])


def _common(known: Modality | None, found: Modality) -> Modality:
    """The modality that holds both; DataError when there is none."""
    if known is None or known == found:
        return found
    if known.kind == found.kind == "tokens":
        return Modality("tokens", max(known.size, found.size))
    raise DataError(f"expected {_form(known)}, got {_form(found)}")


def _form(modality: Modality) -> str:
    return "token ids [L]" if modality.kind == "tokens" else f"features [L, {modality.size}]"
