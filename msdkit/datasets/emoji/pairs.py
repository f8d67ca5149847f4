"""Pairs of an emoji picture and a sentence about it, with a relation drawn from WordNet."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msdkit.datasets.emoji.relations import Relations

LABELS = ("entailment", "neutral", "contradiction")
_SENTENCES = (
    "It is {}.",
    "This is {}.",
    "The picture shows {}.",
    "There is {} here.",
    "A picture of {}.",
)
_COMMON = 0.25  # nouns that fit a larger share of the concepts say next to nothing
_OWN_SHARE = 0.58  # entailed (or neutral) share of nouns that are never neutral (entailed)
_SIBLINGS = 0.6  # share of contradictions that try a picture of a related subgroup first
_PATIENCE = 20000  # draws in vain before the pictures count as exhausted


@dataclass(frozen=True)
class Pair:
    """One example as its line in the file: `label` is a name, `relation` how it came about."""

    id: str
    text: str
    image: str
    label: str
    vendor: str
    concept: str
    relation: str


class Picture(NamedTuple):
    """One vendor's drawing of the concept with this code."""

    vendor: str
    code: str


class Kind(NamedTuple):
    """Nouns that share the labels they can have: how often one of them is drawn, and its labels'
    chances (entailment, neutral, contradiction)."""

    nouns: list[str]
    share: float
    chances: tuple[float, float, float]


class PairDrawer:
    """Draws pairs over the pictures of one split.

    The noun of the hypothesis comes first and then its label, with chances that depend on nothing
    but the kind of noun: the sentence alone says little. For the same reason a noun leaves when the
    pictures that entail it (or leave it open) are used up: going on would only add contradictions.
    `pictures` is {concept's code: vendors that draw it}.
    """

    def __init__(
        self, relations: Relations, pictures: Mapping[str, Sequence[str]], rng: random.Random
    ) -> None:
        self._relations, self._pictures, self._rng = relations, pictures, rng
        self._codes = sorted(pictures)
        self._subgroups: dict[str, list[str]] = defaultdict(list)
        for code in self._codes:
            self._subgroups[relations.concepts[code].subgroup].append(code)
        true, may = self._by_noun(relations.telling), self._by_noun(relations.open)
        limit = max(1, _COMMON * len(self._codes))
        nouns = [n for n in sorted({*true, *may}) if len(true.get(n, ())) <= limit]
        self._fitting = {"entailment": true, "neutral": may}
        self._decks: dict[tuple[str, str], list[Picture]] = {}
        self._spent: set[str] = set()
        self._kinds = _kinds(nouns, true, may)

    def pairs(self, count: int, split: str) -> Iterator[Pair]:
        """Pairs of a picture and a word, each once; fewer than `count` if there are no more."""
        seen: set[tuple[str, Picture]] = set()
        vain = 0
        while len(seen) < count and vain < _PATIENCE and self._kinds:
            noun, label = self._noun_and_label()
            drawn = None if noun in self._spent else self._picture(noun, label)
            vain += 1
            if drawn and (self._relations.words[noun], drawn[0]) not in seen:
                vain = 0
                name = f"{split}-{len(seen):05d}"
                seen.add((self._relations.words[noun], drawn[0]))
                yield self._pair(name, noun, label, *drawn)

    def _pair(self, name: str, noun: str, label: str, picture: Picture, relation: str) -> Pair:
        text = self._rng.choice(_SENTENCES).format(with_article(self._relations.words[noun]))
        image = f"images/{picture.vendor}/{picture.code}.png"
        concept = self._relations.concepts[picture.code].name
        return Pair(name, text, image, label, picture.vendor, concept, relation)

    def _noun_and_label(self) -> tuple[str, str]:
        kind = self._rng.choices(self._kinds, [kind.share for kind in self._kinds])[0]
        return self._rng.choice(kind.nouns), self._rng.choices(LABELS, kind.chances)[0]

    def _picture(self, noun: str, label: str) -> tuple[Picture, str] | None:
        """A picture for which the noun has this label, and how the two are related."""
        if label == "contradiction":
            return self._excluded(noun)
        deck = self._deck(noun, label)
        picture = deck.pop()
        if not deck:
            self._spent.add(noun)
        if label == "neutral":
            return picture, "hyponym"
        own = self._relations.concepts[picture.code].sense == noun
        return picture, "self" if own else "hypernym"

    def _deck(self, noun: str, label: str) -> list[Picture]:
        """The unused pictures for this noun and label, shuffled."""
        if (noun, label) not in self._decks:
            codes = self._fitting[label][noun]
            deck = [Picture(vendor, code) for code in codes for vendor in self._pictures[code]]
            self._rng.shuffle(deck)
            self._decks[noun, label] = deck
        return self._decks[noun, label]

    def _excluded(self, noun: str) -> tuple[Picture, str] | None:
        pools = [("unrelated", self._codes)]
        if self._rng.random() < _SIBLINGS:
            related = [c for fitting in self._fitting.values() for c in fitting.get(noun, ())]
            subgroup = self._relations.concepts[self._rng.choice(related)].subgroup
            pools.insert(0, ("sibling", self._subgroups[subgroup]))
        for relation, pool in pools:
            for code in self._rng.sample(pool, min(10, len(pool))):
                if self._relations.excludes(code, noun):
                    return Picture(self._rng.choice(self._pictures[code]), code), relation
        return None

    def _by_noun(self, nouns: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """{noun: concepts of this split}."""
        found: dict[str, list[str]] = defaultdict(list)
        for code in self._codes:
            for noun in nouns[code]:
                found[noun].append(code)
        return dict(found)


def with_article(noun: str) -> str:
    """`a dog`, `an apple`, `scissors`."""
    if noun.endswith("s") and not noun.endswith(("ss", "us", "is")):
        return noun
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def _kinds(
    nouns: list[str], true: Mapping[str, list[str]], may: Mapping[str, list[str]]
) -> list[Kind]:
    own, rest = _OWN_SHARE, 1 - _OWN_SHARE
    both = [n for n in nouns if n in true and n in may]
    only_true = [n for n in nouns if n not in may]
    only_may = [n for n in nouns if n not in true]
    # Half of the draws weigh a noun by the number of concepts it fits: the ordinary ones come up.
    often = [n for n in only_true for _ in true[n]]
    kinds = [
        Kind(both, 0.3, (1.0, 1.0, 1.0)),
        Kind(only_true, 0.175, (own, 0.0, rest)),
        Kind(often, 0.175, (own, 0.0, rest)),
        Kind(only_may, 0.35, (0.0, own, rest)),
    ]
    return [kind for kind in kinds if kind.nouns]
