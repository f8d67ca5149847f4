"""The files that a split's examples name, known by their content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.errors import DataError
from msdkit.io.arrays import ArrayWriter
from msdkit.io.digests import content_digest, contents, state_of, states_of
from msdkit.io.strings import Strings, StringsWriter, chunks
from msdkit.progress import bar


class Files:
    """The files of one modality, in the order of the examples; each is digested when it is opened.

    digests: of each one's content; "" where a value names no file that can be read.
    """

    def __init__(self, paths: Iterable[str], count: int, what: str) -> None:
        digests, states = StringsWriter(), ArrayWriter("S16")
        with bar(count, f"digests of {what}", "files") as advance:
            for part in chunks(paths):
                found = contents(part)
                digests.extend(found.digests)
                states.write(found.states.tobytes())
                advance(len(part))
        self.digests: Strings = digests.finish()
        self._states: np.ndarray = states.finish()

    def refuse_changed(self, rows: Sequence[int], paths: Sequence[str]) -> None:
        """DataError where a file is no longer as it was when it was digested."""
        changed = self._states[np.asarray(rows)] != states_of(paths)
        if changed.any():
            path = paths[int(changed.argmax())]
            raise DataError(f"the file {path} changed while the data were read; start again")


def holds_paths(declared: Any, raw: Any) -> bool:
    """Whether the strings of a modality are paths of files; beside a kind that does not tell, its
    first value does."""
    if not isinstance(raw, str) or declared in ("text", "features", "array"):
        return False
    return declared == "image" or bool(state_of(raw))


def value_bytes(raw: Any) -> bytes:
    """The content of a raw value that is neither text nor path: numbers as they lie in memory, a
    plugin's own tree of values as JSON."""
    try:
        array = np.ascontiguousarray(raw)
    except ValueError:  # lists of different lengths
        array = None
    if array is not None and not array.dtype.hasobject:
        return array.tobytes()
    return json.dumps(raw, sort_keys=True, default=_leaf).encode()


def _leaf(value: Any) -> Any:
    if isinstance(value, Path):
        return content_digest(value)
    array = np.asarray(value)
    return repr(value) if array.dtype.hasobject else [array.dtype.str, array.tolist()]
