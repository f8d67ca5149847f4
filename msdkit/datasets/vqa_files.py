"""The official json files of VQA v2, read into arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from msdkit.datasets.array_cache import Arrays
from msdkit.datasets.vqa_table import Tally, VqaTable, assembled, cached_table, each_once
from msdkit.errors import DataError

T = TypeVar("T")


class _Question(msgspec.Struct, gc=False):
    question_id: int
    image_id: int
    question: str


class _Answer(msgspec.Struct, gc=False):
    answer: str


class _Annotation(msgspec.Struct, gc=False):
    question_id: int
    answers: list[_Answer]
    multiple_choice_answer: str = ""
    answer_type: str = ""


def read_official(questions: Path, annotations: Path | None) -> VqaTable:
    """The pair of json files; without annotations there are no answers."""
    files = [questions] + ([annotations] if annotations else [])
    return cached_table(files, lambda: _parse_official(questions, annotations))


def _parse_official(questions: Path, annotations: Path | None) -> Arrays:
    asked = list(_entries(questions, "questions", _Question))
    ids = np.array([q.question_id for q in asked], np.int64)
    each_once(ids, questions)
    tally, answered = Tally(), []
    for i, entry in enumerate(_entries(annotations, "annotations", _Annotation)):
        where, answers = f"{annotations}: annotations[{i}]", [a.answer for a in entry.answers]
        tally.add(answers, entry.multiple_choice_answer, entry.answer_type, where)
        answered.append(entry.question_id)
    order = _order(ids, np.array(answered, np.int64), annotations) if annotations else None
    pictures = np.array([q.image_id for q in asked], np.int64)
    return assembled(ids, pictures, [q.question for q in asked], tally, order)


def _entries(path: Path | None, name: str, kind: type[T]) -> Iterator[T]:
    """The entries of one list, each decoded by itself: little memory, and faults have a number."""
    if path is None:
        return
    head = msgspec.defstruct("File", [(name, list[msgspec.Raw])])
    decoder = msgspec.json.Decoder(kind)
    try:
        entries = getattr(msgspec.json.decode(path.read_bytes(), type=head), name)
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise DataError(f"{path}: not a readable json file of VQA: {error}") from error
    for i, raw in enumerate(entries):
        try:
            yield decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{path}: {name}[{i}]: {error}") from error


def _order(asked: np.ndarray, answered: np.ndarray, path: Path) -> np.ndarray:
    """Where each question's annotation stands; DataError unless they belong to one another."""
    each_once(answered, path)
    odd = np.setxor1d(asked, answered)
    if odd.size:
        lacks = "no annotation of" if odd[0] in asked else "an annotation without"
        raise DataError(
            f"{path}: {lacks} question {odd[0]}; do both files belong to the same split?"
        )
    order = np.empty(len(asked), np.int64)
    order[np.argsort(asked)] = np.argsort(answered)
    return order
