"""A file of JSON lines, read one line at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.errors import DataError, sound_text
from msdkit.io.arrays import ArrayWriter

HALVES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")  # how JSON's bytes say surrogates


class Records:
    """The objects of a `.jsonl` file by position; kept are only the places of its lines, on disk.

    Blank lines are skipped. A line is parsed when asked for, so a bad one raises then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path} does not exist (or is no file)")
        places, offset = ArrayWriter(np.int64), 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                end = offset + len(line)
                if line.strip():
                    places.write(np.array([offset, end, number]).tobytes())
                offset = end
        self._places = places.finish().reshape(-1, 3)  # (first byte, end, line number)
        if not len(self._places):
            raise DataError(f"{path} is empty: expected one JSON object a line")

    def __len__(self) -> int:
        return len(self._places)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_content"}  # mapped anew

    @cached_property
    def _content(self) -> np.ndarray:
        return np.asarray(np.memmap(self.path, np.uint8, "r"))

    def __getitem__(self, index: int) -> dict[str, Any]:
        start, end, _ = self._places[index].tolist()
        line = self._content[start:end].tobytes()
        try:
            row = json.loads(line)
        except ValueError as error:  # bad JSON or bad UTF-8
            raise DataError(f"{self.where(index)}: not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f'{self.where(index)}: expected an object {{"column": …}}, got {row!r}')
        if HALVES.search(line):
            refuse_halves(row, self.where(index))
        return row

    def number(self, index: int) -> int:
        """The line number, from 1."""
        return int(self._places[index, 2])

    def where(self, index: int) -> str:
        """`file:line`, for messages."""
        return f"{self.path}:{self.number(index)}"


def refuse_halves(row: dict[str, Any], where: str) -> None:
    """DataError that names the column of a text with half of a surrogate pair, wherever in it."""
    for column, value in row.items():
        sound_text(column, f"{where}: the name of a column")
        for text in _texts(value):
            sound_text(text, f"{where}: column '{column}'")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
