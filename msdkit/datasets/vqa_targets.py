"""Labels of VQA: for each class the accuracy of giving its answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from msdkit.datasets.vqa_answers import RULES, Form, Normalise, is_token, joined
from msdkit.datasets.vqa_table import VqaTable

# The accuracy of an answer that k of the ten annotators gave, by k (4: four or more)
SCORES = np.array([0, 0.3, 0.6, 0.9, 1], np.float32)


class SoftTargets:
    """float32 [C] for each question: the accuracy of each class's answer by a rule of `RULES`.

    A class answers by its name, with possessives joined; tokens such as <unk> are no answer and
    score 0. Who agrees with whom is found out once; `[rows]` only counts.

    given: int32 [N, 10], the first class that each annotator's answer agrees with, or -1; alike:
    bool [N], whether all of them said the same; same: int [2, C], the first class whose answer has
    the form of each one's (where people differ, where they do not).
    """

    def __init__(self, table: VqaTable, names: Sequence[str], normalise: Normalise) -> None:
        rule = RULES[normalise]
        answers = [None if is_token(name) else joined(name) for name in names]
        known, same = zip(*(_first(answers, form) for form in rule.mine), strict=True)
        differ, alike = (table.people(form) for form in rule.theirs)
        self.alike = (alike == alike[:, :1]).all(1)
        found = [_classes(table.answers, k)[t] for k, t in zip(known, (differ, alike), strict=True)]
        self.given: np.ndarray = np.where(self.alike[:, None], found[1], found[0])
        self.same = np.stack(same)
        self._twins = [np.flatnonzero(s != np.arange(len(names))) for s in self.same]

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: Sequence[int]) -> np.ndarray:
        """rows [B] -> float32 [B, C]"""
        found = targets(self.given[rows], self.same.shape[1])
        for alike, twins in enumerate(self._twins):  # classes that are one answer
            if twins.size:
                here = np.flatnonzero(self.alike[rows] == alike)[:, None]
                found[here, twins] = found[here, self.same[alike, twins]]
        return found


def _first(answers: Sequence[str | None], form: Form) -> tuple[dict[str, int], list[int]]:
    """({form: the first class of it}, for each class the first one of its form)"""
    known: dict[str, int] = {}
    forms = enumerate(answers)
    return known, [i if a is None else known.setdefault(form(a), i) for i, a in forms]


def _classes(texts: Sequence[str], known: dict[str, int]) -> np.ndarray:
    """int32 [texts + 1]: the class of each, -1 for none and for the last, which is no text"""
    return np.fromiter((*(known.get(text, -1) for text in texts), -1), np.int32)


def targets(classes: np.ndarray, count: int) -> np.ndarray:
    """int [B, 10], the class of each annotator's answer or -1 -> float32 [B, count], the score of
    each class: 0.3 for one annotator, 0.6, 0.9, and 1 for four and more.

    These are the accuracies of the classes, worked out for ten annotators.
    """
    agree = (classes[:, :, None] == classes[:, None, :]).sum(-1)
    found = np.zeros((len(classes), count), np.float32)
    rows, places = np.nonzero(classes >= 0)
    found[rows, classes[rows, places]] = SCORES.take(agree[rows, places], mode="clip")
    return found
