"""The questions of VQA v2 with people's answers, as arrays, whatever files they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from msdkit.datasets.array_cache import Arrays, cached_arrays, pack, unpack
from msdkit.datasets.vqa_answers import (
    Form,
    as_given,
    consistent,
    processed,
    trimmed,
    unmarked,
)
from msdkit.errors import DataError

ANNOTATORS = 10
TYPES = ("", "yes/no", "number", "other")  # of answers; "" where the file does not say
FORMS: tuple[Form, ...] = (as_given, trimmed, unmarked, processed, consistent)
_VERSION = 2  # raise it when the same files come to mean other arrays


class VqaTable(NamedTuple):
    """The questions of one split, with the ten answers to each if they are known.

    question_ids, image_ids: int64 `[N]`; texts: the questions; answers: distinct ones, in all of
    their forms; given: int32 `[N, 10]`, numbers of answers as people gave them, -1 where one is not
    known, or `[0, 10]`; forms: int32 `[5, A + 1]`, for each of `FORMS` the number in `answers` of
    each given answer's form, and -1; chosen: int32 `[N]`, the most frequent answer, with all steps
    taken, or -1; types: uint8 `[N]`, an index of `TYPES`.
    """

    question_ids: np.ndarray
    image_ids: np.ndarray
    texts: tuple[np.ndarray, np.ndarray]
    answers: list[str]
    given: np.ndarray
    forms: np.ndarray
    chosen: np.ndarray
    types: np.ndarray

    def text(self, index: int) -> str:
        """One question."""
        blob, ends = self.texts
        return blob[ends[index] : ends[index + 1]].tobytes().decode("utf-8", "surrogatepass")

    def people(self, form: Form) -> np.ndarray:
        """int32 `[N, 10]`: the numbers of what people answered, in one of `FORMS`; -1 as there."""
        return self.forms[FORMS.index(form)][self.given]


def cached_table(files: list[Path], parse: Callable[[], Arrays]) -> VqaTable:
    """The table that `parse` gives the arrays of, from the cache while the files stay."""
    found = cached_arrays("vqa2", _VERSION, files, parse)
    texts = (found.pop("text_bytes"), found.pop("text_ends"))
    answers = unpack(found.pop("answer_bytes"), found.pop("answer_ends"))
    return VqaTable(texts=texts, answers=answers, **found)


class Tally:
    """Collects the answers of all questions; each distinct one is brought to its forms once."""

    def __init__(self) -> None:
        self._raw: dict[str, int] = {}
        self._numbers: list[int] = []
        self._chosen: list[int] = []
        self._types: list[int] = []

    def __len__(self) -> int:
        return len(self._chosen)

    def add(self, answers: Sequence[str | None], chosen: str, kind: str, where: str) -> None:
        """The answers to one question, None where one is not known; where: names it in errors."""
        if len(answers) != ANNOTATORS:
            raise DataError(f"{where}: {len(answers)} answers, expected {ANNOTATORS}")
        if kind not in TYPES:
            raise DataError(f"{where}: answer_type '{kind}'; known: {', '.join(TYPES[1:])}")
        numbers = list(map(self._number, answers))
        self._numbers += numbers
        usual = None if chosen else Counter(numbers).most_common(1)[0][0]
        self._chosen.append(self._number(chosen) if usual is None else usual)
        self._types.append(TYPES.index(kind))

    def _number(self, answer: str | None) -> int:
        return -1 if answer is None else self._raw.setdefault(answer, len(self._raw))

    def arrays(self, order: np.ndarray | None) -> Arrays:
        """The columns of a table, with the rows in this order."""
        rows: Any = slice(None) if order is None else order
        texts = dict(self._raw)
        forms = [[texts.setdefault(f(raw), len(texts)) for raw in self._raw] for f in FORMS]
        table = np.array([[*numbers, -1] for numbers in forms], np.int32)
        blob, ends = pack(list(texts))
        return {
            "given": np.array(self._numbers, np.int32).reshape(-1, ANNOTATORS)[rows],
            "forms": table,
            "chosen": table[FORMS.index(processed)][np.array(self._chosen, np.int64)][rows],
            "types": np.array(self._types, np.uint8)[rows],
            "answer_bytes": blob,
            "answer_ends": ends,
        }


def assembled(
    ids: np.ndarray,
    pictures: np.ndarray,
    texts: list[str],
    tally: Tally,
    order: np.ndarray | None = None,
) -> Arrays:
    """The arrays of a table; order: where the answers to each question stand in the tally."""
    blob, ends = pack(texts)
    named = {"question_ids": ids, "image_ids": pictures, "text_bytes": blob, "text_ends": ends}
    return {**named, **tally.arrays(order)}


def each_once(ids: np.ndarray, path: Path) -> None:
    """DataError where there is no question, or one stands twice."""
    if not ids.size:
        raise DataError(f"{path}: holds no question")
    found, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{path}: question {found[counts > 1][0]} stands there twice")
