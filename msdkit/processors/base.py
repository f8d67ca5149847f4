"""The base class of processors: from one raw value to what a model reads."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from msdkit.errors import DataError
from msdkit.hub.paths import fetched, local
from msdkit.io.digests import content_digest, content_digests
from msdkit.registry import code_digest
from msdkit.types import Modality


class Processor(ABC):
    """Turns raw values of one modality into int64 `[L]` or float32 `[L, D]`.

    A subclass defines `modality` and `__call__`; all else has a default. Results are computed once
    and kept on disk under `fingerprint()` and `key(raw)`, so `__call__` must be deterministic;
    random transforms of the training data go into `augment`.

    random: whether `augment` draws (from torch's generator).
    dtype: how float results are kept on disk.
    version: raise it when the same parameters come to mean other results.
    neutral: parameters that change the speed but not the results; no part of the fingerprint.
    own_key: whether `key` names files by something else than their content; true of a class that
    has a `key` of its own and does not say otherwise.
    """

    random: bool = False
    dtype: Literal["fp16", "fp32"] = "fp32"
    version: int = 1
    neutral: frozenset[str] = frozenset()
    own_key: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the constructor note its arguments, for `fingerprint()` and `repr`."""
        super().__init_subclass__(**kwargs)
        if "key" in vars(cls) and "own_key" not in vars(cls):
            cls.own_key = True
        if "__init__" in vars(cls):
            cls.__init__ = _noting(cls.__init__)  # type: ignore[method-assign]

    @classmethod
    def is_random(cls, **parameters: Any) -> bool:
        """Whether a processor with these parameters is `random`, told without building it."""
        return cls.random

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({given})"

    @property
    @abstractmethod
    def modality(self) -> Modality:
        """What the results are: token ids below `size`, or rows of width `size`."""

    @abstractmethod
    def __call__(self, raw: Any) -> np.ndarray:
        """One raw value -> int64 [L] or float32 [L, D]"""

    def batch(self, raws: Sequence[Any]) -> list[np.ndarray]:
        """Many raw values; override it where computing them together is faster."""
        return [self(raw) for raw in raws]

    def augment(self, raw: Any) -> np.ndarray:
        """One raw value as training sees it; the same as `__call__` unless `random`."""
        return self(raw)

    def fit(self, raws: Iterable[Any]) -> None:  # noqa: B027 (optional)
        """Learn from the training data; called once, unless a state was loaded."""

    def state(self) -> dict[str, Any]:
        """What `fit` learned, as JSON can hold it."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: B027 (optional)
        """Take over what `state` returned."""

    def files(self) -> list[Path]:
        """Files that the results depend on, such as weights."""
        return []

    @property
    def num_parameters(self) -> int:
        """How many weights it takes to compute the results."""
        return 0

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of the constructor, defaults included."""
        names = inspect.signature(type(self)).parameters
        return getattr(self, "_arguments", None) or {n: getattr(self, n) for n in names}

    def key(self, raw: Any) -> str:
        """The identity of a raw value: a text itself, else a digest of the file or the array."""
        if isinstance(raw, str):
            return raw
        return content_digest(raw) if isinstance(raw, Path) else _array_key(np.asarray(raw))

    def fingerprint(self) -> str:
        """A digest of all that the results depend on: class, parameters, state and files.

        The class counts by its name, its `version` and the source file that it stands in, wherever
        that lies; `files` count by their content.
        """
        cls = type(self)
        given = {k: v for k, v in self.parameters.items() if k not in self.neutral}
        name = f"{cls.__qualname__}:{cls.version}:{code_digest(cls)}"
        files = content_digests(self.files())
        parts = json.dumps(
            [name, self.placeless(given), self.state(), files], sort_keys=True, default=repr
        )
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    def placeless(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, with None for paths of `files()` and of folders above these: there the
        content counts."""
        files = [os.path.realpath(path) for path in self.files()]
        return {name: _placeless(value, files) for name, value in parameters.items()}


def _placeless(value: Any, files: Sequence[str]) -> Any:
    """A parameter as it stands, or nothing where it is the path of one of `files` or of a folder
    above."""
    if isinstance(value, Mapping):
        return {k: _placeless(v, files) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_placeless(v, files) for v in value]
    if not isinstance(value, str | Path) or not str(value) or not fetched(value):
        return value
    with suppress(ValueError):  # a text that can be no path
        place = os.path.realpath(local(value))
        if any(file == place or file.startswith(f"{place}{os.sep}") for file in files):
            return None
    return value


def _array_key(array: np.ndarray) -> str:
    if array.dtype.kind not in "biuf":
        raise DataError(f"expected a text, a path or an array of numbers, got {array.dtype}")
    about = f"{array.dtype.str} {array.shape}".encode()
    digest = hashlib.blake2b(about, digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _noting(init: Any) -> Any:
    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if "_arguments" not in vars(self):  # the outermost constructor is the one that was called
            bound = inspect.signature(init).bind(self, *args, **kwargs)
            bound.apply_defaults()
            self._arguments = dict(list(bound.arguments.items())[1:])
        init(self, *args, **kwargs)

    return wrapped
