"""Questions drawn over the pictures of a split; of those for yes or no, always both."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msdkit.datasets.emoji.questions import NAME, WORDINGS, Asked, Questions

# Shares of the questions, as long as there are pictures for the kind.
_SHARES = {
    "what": 0.22,
    "kind": 0.15,
    "animal": 0.04,
    "food": 0.04,
    "which": 0.13,
    "color": 0.02,
    "direction": 0.01,
    "is_name": 0.24,
    "is_kind": 0.10,
    "is_color": 0.04,
    "is_direction": 0.01,
}
_SIBLINGS = 0.6  # share of the questions answered by "no" that try a related picture first
_TRIES = 100  # concepts looked at for a "no"


@dataclass(frozen=True)
class Question:
    """One example as its line in the file: `label` is {answer: score}, `answer` the best of them,
    `kind` what is asked."""

    id: str
    text: str
    image: str
    label: dict[str, float]
    answer: str
    kind: str
    vendor: str
    concept: str


class Posed(NamedTuple):
    """A question about one vendor's drawing of the concept with this code."""

    asked: Asked
    code: str
    vendor: str


class QuestionDrawer:
    """Draws questions over the pictures of one split; none is asked twice about a picture.

    What "yes" answers is asked again, in the same words, about a picture with the answer "no": the
    question alone says nothing there. `pictures` is {concept's code: vendors that draw it}.
    """

    def __init__(
        self, questions: Questions, pictures: Mapping[str, Sequence[str]], rng: random.Random
    ) -> None:
        self._questions, self._pictures, self._rng = questions, pictures, rng
        self._codes = sorted(pictures)
        self._near: dict[str, list[str]] = defaultdict(list)
        self._decks: dict[str, list[Posed]] = defaultdict(list)
        for code in self._codes:
            for pool in self._pools(code):
                self._near[pool].append(code)
            for asked in (*questions.open(code), *questions.closed(code)):
                posed = [Posed(asked, code, vendor) for vendor in pictures[code]]
                self._decks[asked.kind].extend(posed)
        for kind in WORDINGS:
            rng.shuffle(self._decks[kind])

    def questions(self, count: int, split: str) -> Iterator[Question]:
        """So many questions, fewer if there are no more."""
        seen: set[tuple[str, tuple[str, ...], str, str]] = set()
        while len(seen) < count and any(self._decks.values()):
            posed = self._decks[self._kind()].pop()
            wording = self._rng.choice(WORDINGS[posed.asked.kind])
            posings = self._with_rival(posed)
            keys = {(one.asked.kind, one.asked.about, one.code, one.vendor) for one in posings}
            if keys & seen or len(seen) + len(keys) > count:
                continue
            for number, one in enumerate(posings, start=len(seen)):
                yield self._question(f"{split}-{number:05d}", wording, one)
            seen |= keys

    def _kind(self) -> str:
        kinds = [kind for kind in WORDINGS if self._decks[kind]]
        # a question for yes or no counts twice
        shares = [_SHARES[k] / (2 if k.startswith("is_") else 1) for k in kinds]
        return self._rng.choices(kinds, shares)[0]

    def _with_rival(self, posed: Posed) -> list[Posed]:
        """The question, and where it is for yes or no the same about a picture with a "no"."""
        if not posed.asked.kind.startswith("is_"):
            return [posed]
        code = self._rival(posed)
        if code is None:
            return []
        vendor = self._rng.choice(self._pictures[code])
        return [posed, Posed(posed.asked._replace(answers={"no": NAME}), code, vendor)]

    def _rival(self, posed: Posed) -> str | None:
        kind = posed.asked.kind
        pools = [self._codes]
        if kind in ("is_color", "is_direction"):
            pools = [self._near[kind]]
        elif self._rng.random() < _SIBLINGS:
            concept = self._questions.concepts[posed.code]
            pools.insert(0, self._near[concept.subgroup if kind == "is_name" else concept.group])
        for pool in pools:
            for code in self._rng.sample(pool, min(_TRIES, len(pool))):
                if self._questions.denies(kind, posed.code, code):
                    return code
        return None

    def _pools(self, code: str) -> list[str]:
        """What the concept is near to."""
        concept = self._questions.concepts[code]
        pools = [concept.group, concept.subgroup]
        pools += ["is_color"] if code in self._questions.colors else []
        return pools + (["is_direction"] if code in self._questions.ways else [])

    def _question(self, name: str, wording: str, posed: Posed) -> Question:
        asked = posed.asked
        image = f"images/{posed.vendor}/{posed.code}.png"
        answer = next(a for a, score in asked.answers.items() if score == NAME)
        concept = self._questions.concepts[posed.code].name
        text = wording.format(*asked.about)
        return Question(name, text, image, asked.answers, answer, asked.kind, posed.vendor, concept)
