"""A file of JSON lines, read one line at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msdkit.errors import DataError


class Records:
    """The objects of a `.jsonl` file by position; memory holds only where each line starts.

    Blank lines are skipped. A line is parsed when asked for, so a bad one raises then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path} does not exist (or is no file)")
        self._starts: list[tuple[int, int]] = []  # (byte offset, line number)
        offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    self._starts.append((offset, number))
                offset += len(line)
        if not self._starts:
            raise DataError(f"{path} is empty: expected one JSON object a line")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with self.path.open("rb") as file:
            file.seek(self._starts[index][0])
            line = file.readline()
        try:
            row = json.loads(line)
        except ValueError as error:  # bad JSON or bad UTF-8
            raise DataError(f"{self.where(index)}: not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f'{self.where(index)}: expected an object {{"column": …}}, got {row!r}')
        return row

    def number(self, index: int) -> int:
        """The line number, from 1."""
        return self._starts[index][1]

    def where(self, index: int) -> str:
        """`file:line`, for messages."""
        return f"{self.path}:{self.number(index)}"
