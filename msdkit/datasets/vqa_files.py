"""Files of VQA v2, the official json or MMF's imdb, read into arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from msdkit.datasets.array_cache import Arrays, cached_arrays, pack, unpack
from msdkit.datasets.vqa_answers import ANNOTATORS, official
from msdkit.errors import DataError
from msdkit.io.pickles import load_npy

T = TypeVar("T")
_VERSION = 1  # raise it when the same files come to mean other arrays
TYPES = ("", "yes/no", "number", "other")  # of answers; "" where the file does not say


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


class VqaTable(NamedTuple):
    """The questions of one split, with the ten answers to each if they are known.

    question_ids, image_ids: int64 `[N]`; texts: the questions; answers: distinct ones in their
    official form; given: int32 `[N, 10]`, numbers of answers, or `[0, 10]`; chosen: int32 `[N]`,
    the most frequent answer; types: uint8 `[N]`, an index of `TYPES`.
    """

    question_ids: np.ndarray
    image_ids: np.ndarray
    texts: tuple[np.ndarray, np.ndarray]
    answers: list[str]
    given: np.ndarray
    chosen: np.ndarray
    types: np.ndarray

    def text(self, index: int) -> str:
        """One question."""
        blob, ends = self.texts
        return blob[ends[index] : ends[index + 1]].tobytes().decode("utf-8", "surrogatepass")


def read_official(questions: Path, annotations: Path | None) -> VqaTable:
    """The pair of json files; without annotations there are no answers."""
    files = [questions] + ([annotations] if annotations else [])
    return _cached(files, lambda: _parse_official(questions, annotations))


def read_imdb(path: Path) -> VqaTable:
    """MMF's `imdb_*.npy`: pickled rows, of which only plain containers and arrays are admitted."""
    return _cached([path], lambda: _parse_imdb(path))


def _cached(files: list[Path], parse: Any) -> VqaTable:
    found = cached_arrays("vqa2", _VERSION, files, parse)
    held = {name: found[name] for name in ("question_ids", "image_ids", "given", "chosen", "types")}
    texts = (found["text_bytes"], found["text_ends"])
    answers = unpack(found["answer_bytes"], found["answer_ends"])
    return VqaTable(texts=texts, answers=answers, **held)


def _parse_official(questions: Path, annotations: Path | None) -> Arrays:
    asked = list(_entries(questions, "questions", _Question))
    ids = np.array([q.question_id for q in asked], np.int64)
    _each_once(ids, questions)
    tally, answered = _Tally(), []
    for i, entry in enumerate(_entries(annotations, "annotations", _Annotation)):
        where, answers = f"{annotations}: annotations[{i}]", [a.answer for a in entry.answers]
        tally.add(answers, entry.multiple_choice_answer, entry.answer_type, where)
        answered.append(entry.question_id)
    order = _order(ids, np.array(answered, np.int64), annotations) if annotations else None
    pictures = np.array([q.image_id for q in asked], np.int64)
    return _arrays(ids, pictures, [q.question for q in asked], tally, order)


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


class _Tally:
    """Collects the answers of all questions; each distinct one is brought to its form once."""

    def __init__(self) -> None:
        self._raw: dict[str, int] = {}
        self._numbers: list[int] = []
        self._chosen: list[int] = []
        self._types: list[int] = []

    def __len__(self) -> int:
        return len(self._chosen)

    def add(self, answers: list[str], chosen: str, kind: str, where: str) -> None:
        if len(answers) != ANNOTATORS:
            raise DataError(f"{where}: {len(answers)} answers, expected {ANNOTATORS}")
        if kind not in TYPES:
            raise DataError(f"{where}: answer_type '{kind}'; known: {', '.join(TYPES[1:])}")
        raw = self._raw
        self._numbers += [raw.setdefault(answer, len(raw)) for answer in answers]
        chosen = chosen or Counter(answers).most_common(1)[0][0]
        self._chosen.append(raw.setdefault(chosen, len(raw)))
        self._types.append(TYPES.index(kind))

    def arrays(self, order: np.ndarray | None) -> Arrays:
        """The columns of a table, with the rows in this order."""
        rows: Any = slice(None) if order is None else order
        forms: dict[str, int] = {}
        form_of = [forms.setdefault(official(raw), len(forms)) for raw in self._raw]
        table = np.array(form_of, np.int32)
        given = np.array(self._numbers, np.int64).reshape(-1, ANNOTATORS)
        blob, ends = pack(list(forms))
        return {
            "given": table[given][rows],
            "chosen": table[np.array(self._chosen, np.int64)][rows],
            "types": np.array(self._types, np.uint8)[rows],
            "answer_bytes": blob,
            "answer_ends": ends,
        }


def _order(asked: np.ndarray, answered: np.ndarray, path: Path) -> np.ndarray:
    """Where each question's annotation stands; DataError unless they belong to one another."""
    _each_once(answered, path)
    odd = np.setxor1d(asked, answered)
    if odd.size:
        lacks = "no annotation of" if odd[0] in asked else "an annotation without"
        raise DataError(
            f"{path}: {lacks} question {odd[0]}; do both files belong to the same split?"
        )
    order = np.empty(len(asked), np.int64)
    order[np.argsort(asked)] = np.argsort(answered)
    return order


def _each_once(ids: np.ndarray, path: Path) -> None:
    if not ids.size:
        raise DataError(f"{path}: holds no question")
    found, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{path}: question {found[counts > 1][0]} stands there twice")


def _arrays(
    ids: np.ndarray,
    pictures: np.ndarray,
    texts: list[str],
    tally: _Tally,
    order: np.ndarray | None = None,
) -> Arrays:
    blob, ends = pack(texts)
    named = {"question_ids": ids, "image_ids": pictures, "text_bytes": blob, "text_ends": ends}
    return {**named, **tally.arrays(order)}


def _parse_imdb(path: Path) -> Arrays:
    rows: list[Any] = list(load_npy(path).reshape(-1))
    if rows and isinstance(rows[0], dict) and "question_id" not in rows[0]:
        rows = rows[1:]  # a header
    ids, pictures, texts, tally = [], [], [], _Tally()
    for i, row in enumerate(rows):
        where = f"{path}: row {i}"
        try:
            ids.append(int(row["question_id"]))
            pictures.append(int(row["image_id"]))
            texts.append(_text(row["question_str"]))
            answers = row.get("answers") or row.get("valid_answers")
            if answers is not None:
                tally.add(list(map(_text, answers)), "", "", where)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: no row of an imdb of VQA v2: {error!r}") from error
    numbers = np.array(ids, np.int64)
    _each_once(numbers, path)
    if len(tally) not in (0, len(ids)):
        raise DataError(
            f"{path}: {len(tally)} of {len(ids)} rows have answers; expected all or none"
        )
    return _arrays(numbers, np.array(pictures, np.int64), texts, tally)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r:.40}")
    return value


def frequencies(tables: Iterable[VqaTable]) -> tuple[list[str], np.ndarray]:
    """(answers, how many questions have each as their most frequent answer)"""
    total: Counter[str] = Counter()
    for table in tables:
        counts = np.bincount(table.chosen, minlength=len(table.answers))
        total.update({a: int(n) for a, n in zip(table.answers, counts, strict=True) if n})
    return list(total), np.array(list(total.values()), np.int64)
