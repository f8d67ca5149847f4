"""No cell of a CSV is a formula, and each can be read again."""

from __future__ import annotations

import csv
import io

import pytest

from msdkit.io.sheets import csv_text


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+1", "-kd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", '=A1,"x"', "-", "--1"],
)
def test_what_would_be_computed_is_text(text: str) -> None:
    assert read(csv_text([[text, "a"]])) == [["'" + text, "a"]]


@pytest.mark.parametrize(
    ("value", "written"),
    [(-0.5, "-0.5"), ("-0.5", "-0.5"), ("+1e-3", "+1e-3"), ("a=b", "a=b"), ("", ""), (" ", " ")],
)
def test_numbers_and_other_texts_stay(value: object, written: str) -> None:
    assert read(csv_text([[value, 1]])) == [[written, "1"]]
