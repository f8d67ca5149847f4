"""Texts that JSON can write and UTF-8 cannot are named when a file is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from msdkit.datasets.jsonl import Jsonl, read_examples
from msdkit.errors import DataError

ROW = {"id": "a", "caption": "a dog", "label": "no"}
HALF = "a \ud800"


def load(folder: Path) -> Jsonl:
    modalities = {"text": "caption"}
    return Jsonl("test", folder=str(folder), modalities=modalities, labels=["no", "yes"])


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"caption": HALF}, "column 'caption'"),
        ({"id": HALF}, "column 'id'"),
        ({"label": HALF}, "column 'label'"),
        ({"unread": HALF}, "column 'unread'"),
        ({"tags": [1, {"a": [HALF]}]}, "column 'tags'"),
        ({"tags": {HALF: 1}}, "column 'tags'"),
        ({HALF: 1}, "the name of a column"),
    ],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_half_of_a_surrogate_pair_is_named(
    tmp_path: Path, row: dict[str, Any], column: str, escaped: bool
) -> None:
    """As JSON writes it, `\\ud800`, and as its three bytes, which JSON's reader takes, too."""
    lines = [json.dumps(ROW), json.dumps({**ROW, **row}, ensure_ascii=escaped)]
    data = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    (tmp_path / "test.jsonl").write_bytes(data)
    message = rf"test\.jsonl:2: {column}: the text is not valid Unicode: '\\ud800' at character 3"
    with pytest.raises(DataError, match=message):
        load(tmp_path)
    with pytest.raises(DataError, match=message):
        read_examples(tmp_path / "test.jsonl", {"text": {"column": "caption", "type": "text"}})


def test_whole_pairs_and_hangul_are_texts(tmp_path: Path) -> None:
    texts = ["\U0001f600", "\ud7ff\uc548", "\\ud800"]  # the last is a backslash and five letters
    rows = [{**ROW, "id": i, "caption": text} for i, text in enumerate(texts)]
    for escaped in (True, False):
        lines = [json.dumps(row, ensure_ascii=escaped) + "\n" for row in rows]
        (tmp_path / "test.jsonl").write_text("".join(lines), encoding="utf-8")
        data = load(tmp_path)
        assert [data[i].raw["text"] for i in range(3)] == texts
