"""Free-form answers as the evaluation of VQA compares them, and the accuracy that it gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

Normalise = Literal["official", "revised", "consistent"]

_NUMBERS = ("none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGITS = {word: str(max(0, i - 1)) for i, word in enumerate((*_NUMBERS, "ten"))}
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_MARK = re.compile(f"[{re.escape(_PUNCTUATION)}.]")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32  # as many are deleted at most: released code gives a flag where the count stands
_THOUSANDS = re.compile(r"\d,\d")
# Tokens beside the answers, such as <unk>, </s>, [PAD] and UNK; answers are in lower case
_TOKEN = re.compile(r"</?\w+>|\[[A-Z]+\]|_*(UNK|PAD|BOS|EOS)_*")
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


def is_token(name: str) -> bool:
    """Whether an entry of a vocabulary stands for something else than an answer."""
    return _TOKEN.fullmatch(name) is not None


def as_given(answer: str) -> str:
    """The answer itself."""
    return answer


def trimmed(answer: str) -> str:
    """With spaces for tabs and line feeds, and none at its ends."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def unmarked(answer: str) -> str:
    """Without punctuation: a mark is deleted where it touches a space (and everywhere in an answer
    with a number such as 1,000), else becomes a space; then 32 periods go at most, but none that a
    digit follows."""
    if not _MARK.search(answer):
        return answer
    thousands = _THOUSANDS.search(answer) is not None
    kept = answer
    for mark in _PUNCTUATION:
        if mark in answer:
            touches = f"{mark} " in answer or f" {mark}" in answer
            kept = kept.replace(mark, "" if touches or thousands else " ")
    return _PERIOD.sub("", kept, count=_PERIODS)


def processed(answer: str) -> str:
    """After all steps of the evaluation, such as "The two dogs!" -> "2 dogs": trimmed and unmarked;
    in lower case; digits for number words up to ten, and for "none"; no articles; contractions with
    their apostrophe."""
    words = (_DIGITS.get(word, word) for word in unmarked(trimmed(answer)).lower().split())
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)


def consistent(answer: str) -> str:
    """After all steps, and with a possessive at its word, so that equal answers have one form:
    "the two mountain 's" -> "2 mountain's"."""
    return joined(processed(answer))


def joined(answer: str) -> str:
    """With each possessive at its word, as people write it: MMF's vocabularies part "women 's"."""
    return answer.replace(" 's", "'s")


Form = Callable[[str], str]


class Rule(NamedTuple):
    """In which forms the answers of people and of a model are compared: (where people's differ,
    where all of theirs are equal in the second one)."""

    theirs: tuple[Form, Form]
    mine: tuple[Form, Form]


# official: GT-Vision-Lab/VQA at a4f1afd, released with VQA v2 in 2017: people's answers lose their
# punctuation alone. revised: at a013f00, of 2021. consistent: all answers take all steps.
RULES: dict[Normalise, Rule] = {
    "official": Rule((unmarked, as_given), (processed, processed)),
    "revised": Rule((processed, trimmed), (processed, trimmed)),
    "consistent": Rule((consistent, consistent), (consistent, consistent)),
}


def accuracy(answer: str, annotators: Sequence[str], normalise: Normalise = "official") -> float:
    """The accuracy of one answer, 0 to 1: the mean, over each annotator left out, of
    min(matches among the others / 3, 1). Antol et al., ICCV 2015, arXiv 1505.00468.

    normalise: whose forms are compared, as `RULES` has them.
    """
    rule = RULES[normalise]
    alike = len(set(map(rule.theirs[1], annotators))) == 1
    mine, theirs = rule.mine[alike](answer), rule.theirs[alike]
    matches = [theirs(other) == mine for other in annotators]
    return sum(min((sum(matches) - m) / 3, 1) for m in matches) / len(matches)
