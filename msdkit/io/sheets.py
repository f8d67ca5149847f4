"""CSV that spreadsheets take for what it is: texts stay texts, and none is a formula."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

# What begins a formula in Excel, LibreOffice or Google Sheets, some of them after white space
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV. A text that a spreadsheet would compute gets a `'` in front, by which it shows
    it as text; numbers, also those that are written as texts, stay as they are."""
    file = io.StringIO()
    csv.writer(file).writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    formula = isinstance(value, str) and (value.startswith(FORMULA) or value.lstrip()[:1] in "=+-@")
    return f"'{value}" if formula and value.strip() and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
