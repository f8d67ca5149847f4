"""Pythia's and MMF's imdb of VQA v2: pickled rows, read into arrays."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.datasets.array_cache import Arrays
from msdkit.datasets.vqa_answers import is_token
from msdkit.datasets.vqa_table import (
    ANNOTATORS,
    Tally,
    VqaTable,
    assembled,
    cached_table,
    each_once,
)
from msdkit.errors import DataError
from msdkit.io.npy import load_npy

# What the annotators said, as it was said; else what MMF reads, valid: those that are classes
_ANSWERS = ("all_answers", "answers", "valid_answers")


def read_imdb(path: Path) -> VqaTable:
    """A file `imdb_*.npy`, of which only plain containers and arrays are admitted.

    It holds dictionaries, the first of them perhaps a header, or one with `metadata` and `data`.
    """
    return cached_table([path], lambda: _parse_imdb(path))


def _parse_imdb(path: Path) -> Arrays:
    ids, pictures, texts, tally = [], [], [], Tally()
    for i, row in enumerate(_rows(path)):
        where = f"{path}: row {i}"
        try:
            ids.append(_whole(row["question_id"]))
            pictures.append(_picture(row["image_id"]))
            texts.append(_text(row["question_str"] if "question_str" in row else row["question"]))
            if answers := _annotators(row):
                tally.add(answers, "", "", where)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"{where}: no row of an imdb of VQA v2: {error!r:.200}") from error
    numbers = np.array(ids, np.int64)
    each_once(numbers, path)
    if len(tally) not in (0, len(ids)):
        raise DataError(
            f"{path}: {len(tally)} of {len(ids)} rows have answers; expected all or none"
        )
    return assembled(numbers, np.array(pictures, np.int64), texts, tally)


def _rows(path: Path) -> list[Any]:
    found: Any = load_npy(path)
    rows = found.item() if found.ndim == 0 else found.reshape(-1)
    if isinstance(rows, Mapping):
        rows = rows.get("data")
    if not isinstance(rows, list | np.ndarray):
        raise DataError(
            f"{path}: expected rows, or a dictionary with `data`, got {reprlib.repr(rows)}"
        )
    rows = list(rows)
    headed = bool(rows) and isinstance(rows[0], Mapping) and "question_id" not in rows[0]
    return rows[1:] if headed else rows


def _annotators(row: Mapping[str, Any]) -> list[str | None]:
    """Ten answers: fewer are repeated in turn, as MMF does; none where there are none. A token is
    no answer; <copy>, which MMF takes from the end, no annotator's."""
    lists = (row[name] for name in _ANSWERS if row.get(name) is not None)
    given = next((list(answers) for answers in lists if len(answers)), [])
    answers = [_text(a["answer"] if isinstance(a, Mapping) else a) for a in given]
    if answers[-1:] == ["<copy>"]:
        answers.pop()
    known = [None if is_token(answer) else answer for answer in answers]
    return known if len(known) > ANNOTATORS else list(islice(cycle(known), ANNOTATORS))


def _picture(number: Any) -> int:
    """COCO's number, of 458752, "458752" or "COCO_train2014_000000458752"."""
    if isinstance(number, str) and (found := re.fullmatch(r"(?:COCO_\w+_)?(\d+)", number)):
        return int(found[1])
    return _whole(number)


def _whole(number: Any) -> int:
    return int(np.int64(int(number)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {reprlib.repr(value)}")
    return value
