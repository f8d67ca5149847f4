"""Free-form answers of VQA as its evaluation compares them: one form, vocabulary, soft targets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.errors import DataError

ANNOTATORS = 10
# Score of an answer that k of the ten annotators gave, by k (4: four or more)
SCORES = np.array([0, 0.3, 0.6, 0.9, 1], np.float32)

_NUMBERS = ("none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS = {word: str(max(0, i - 1)) for i, word in enumerate((*_NUMBERS, "ten"))}
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_THOUSANDS = re.compile(r"\d,\d")
# Contracted words that the evaluation restores where an apostrophe is missing
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't shan't she'd've should've shouldn't
    shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
    something'd something'd've something'll that's there'd there'd've there're there's they'd
    they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
    won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
    you've
"""


def _lacking_one(word: str) -> Iterator[str]:
    return (word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'")


_RESTORED = {lacking: word for word in _CONTRACTED.split() for lacking in _lacking_one(word)}
_RESTORED |= dict.fromkeys(["ow's'at", "'ows'at", "'ow'sat"], "'ow's'at")
_RESTORED |= {"somebody'd": "somebodyd"}  # as the evaluation has it


def official(answer: str) -> str:
    """An answer as the VQA evaluation compares it, such as "The two dogs!" -> "2 dogs".

    In this order: punctuation is deleted where it touches a space (and everywhere in an answer with
    a number such as 1,000), else becomes a space; periods go unless a digit follows; lower case;
    number words up to ten (and "none") become digits; articles go; contractions get back their
    apostrophe. The evaluation does this to the annotators' answers only where they differ; here it
    is always done, so that equal answers have one form.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    thousands = _THOUSANDS.search(text) is not None
    kept = text
    for mark in _PUNCTUATION:
        if mark in text:
            touches = f"{mark} " in text or f" {mark}" in text
            kept = kept.replace(mark, "" if touches or thousands else " ")
    words = (_DIGITS.get(word, word) for word in _PERIOD.sub("", kept).lower().split())
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)


def normalise(answer: str) -> str:
    """The official form with the possessive as a word of its own, as MMF's vocabulary has it:
    "the two mountain's" -> "2 mountain 's"."""
    return " ".join(official(answer).replace("'s", " 's").split())


def accuracy(answer: str, annotators: Sequence[str]) -> float:
    """The official accuracy of one answer, 0 to 1: the mean, over each annotator left out, of
    min(matches among the others / 3, 1). Antol et al., ICCV 2015, arXiv 1505.00468."""
    matches = [official(other) == official(answer) for other in annotators]
    return sum(min((sum(matches) - m) / 3, 1) for m in matches) / len(matches)


class Vocabulary:
    """The classes of a VQA model. An answer belongs to the class of its official form, else to one
    that differs by the place of a possessive at most ("women's", "women 's")."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._classes = {normalise(name): i for i, name in reversed([*enumerate(names)])}
        self._classes |= {name: i for i, name in enumerate(names)}

    def classes(self, answers: Sequence[str]) -> np.ndarray:
        """int32: the class of each answer in its official form, -1 for none."""
        known = self._classes
        found = (known.get(a, -1) if a in known else known.get(normalise(a), -1) for a in answers)
        return np.fromiter(found, np.int32, len(answers))


def targets(classes: np.ndarray, count: int) -> np.ndarray:
    """int [B, 10], the class of each annotator's answer or -1 -> float32 [B, count], the score of
    each class: 0.3 for one annotator, 0.6, 0.9, and 1 for four and more.

    These are the official accuracies of the classes, worked out for ten annotators.
    """
    matches = np.zeros((len(classes), count), np.intp)
    rows, places = np.nonzero(classes >= 0)
    np.add.at(matches, (rows, classes[rows, places]), 1)
    return SCORES.take(matches, mode="clip")


def frequent(answers: Sequence[str], counts: np.ndarray, least: int) -> list[str]:
    """The answers that occur `least` times, the most frequent first, then by the alphabet."""
    enough = [(-int(n), a) for a, n in zip(answers, counts, strict=True) if n >= least]
    return [answer for _, answer in sorted(enough)]


def read_vocabulary(path: Path) -> list[str]:
    """The answers of a file, in the order of the logits.

    `.json`: `{answer: index}` (LXMERT's and UNITER's `ans2label.json`) or a list of answers
    (`label2ans.json`); any other file: one answer a line (MMF's `answers_vqa.txt`).
    """
    try:
        text = path.read_text(encoding="utf-8")
        names = _from_json(json.loads(text)) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable vocabulary: {error}") from error
    twice = len(names) - len(set(names))
    if not names or twice:
        fault = f"holds {twice} answers more than once" if twice else "holds no answer"
        raise DataError(f"{path}: {fault}; expected each class of the model once")
    return names


def _from_json(found: Any) -> list[str]:
    if isinstance(found, dict) and sorted(map(str, found.values())) == sorted(
        map(str, range(len(found)))
    ):
        found = sorted(found, key=lambda answer: int(found[answer]))
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    raise ValueError("expected {answer: index}, with each index from 0 once, or a list of answers")
