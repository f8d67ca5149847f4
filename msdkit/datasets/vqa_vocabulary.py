"""Vocabularies of VQA models: files of others, and the frequent answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.datasets.vqa_table import VqaTable
from msdkit.errors import DataError
from msdkit.io.pickles import load_plain


def read_vocabulary(path: Path) -> list[str]:
    """The answers of a file, in the order of the logits.

    `.json`: `{answer: index}` (LXMERT's and UNITER's `ans2label.json`) or a list of answers
    (`label2ans.json`); `.pkl`: the same, pickled (bottom-up attention's `trainval_label2ans.pkl`);
    any other file: one answer a line (MMF's `answers_vqa.txt`).
    """
    try:
        names = _names(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable vocabulary: {error}") from error
    twice = len(names) - len(set(names))
    if not names or twice:
        fault = f"holds {twice} answers more than once" if twice else "holds no answer"
        raise DataError(f"{path}: {fault}; expected each class of the model once")
    return names


def _names(path: Path) -> list[str]:
    if path.suffix == ".pkl":
        return _listed(load_plain(path.read_bytes(), str(path)))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return _listed(json.loads(text))
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def _listed(found: Any) -> list[str]:
    if isinstance(found, dict) and sorted(map(str, found.values())) == sorted(
        map(str, range(len(found)))
    ):
        found = sorted(found, key=lambda answer: int(found[answer]))
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    raise ValueError("expected {answer: index}, with each index from 0 once, or a list of answers")


def frequent(tables: Iterable[VqaTable], least: int) -> list[str]:
    """The answers that are the most frequent one of at least `least` questions, the most frequent
    first, then by the alphabet."""
    total: Counter[str] = Counter()
    for table in tables:
        counts = np.bincount(table.chosen[table.chosen >= 0], minlength=len(table.answers))
        total.update({t: int(n) for t, n in zip(table.answers, counts, strict=True) if n})
    enough: Sequence[tuple[int, str]] = [(-n, answer) for answer, n in total.items() if n >= least]
    return [answer for _, answer in sorted(enough)]
