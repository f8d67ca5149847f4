"""Captions of emoji (names, keywords, definitions), and which are false of which emoji."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import chain

from msdkit.datasets.emoji.sources import Concept
from msdkit.datasets.emoji.wordnet import WordNet

KINDS = ("name", "keywords", "gloss")
_KEYWORDS = 3  # in a caption
_STRANGE = 2  # of them must not be said of the emoji that the caption is false of
_WORDS = 4  # a shorter definition says next to nothing


class Captions:
    """What may be said of each concept (by code).

    said: the name, its words, the keywords, and every noun of WordNet for the meaning and for all
    meanings above it, in lower case.
    A caption is false of an emoji if the two `differ` and: its keywords are foreign but for one; or
    the meaning that its definition (gloss) gives is neither the emoji's nor above or below it.
    """

    def __init__(self, wordnet: WordNet, concepts: Mapping[str, Concept]) -> None:
        self.concepts = dict(concepts)
        self.said: dict[str, frozenset[str]] = {}
        self._meanings: dict[str, frozenset[str]] = {}
        self._glosses: dict[str, str] = {}
        for code, concept in concepts.items():
            self._add(wordnet, code, concept)

    def differ(self, a: str, b: str) -> bool:
        """Whether neither name is true of the other emoji."""
        return not (
            plain_name(self.concepts[a]) in self.said[b]
            or plain_name(self.concepts[b]) in self.said[a]
        )

    def pair(self, a: str, b: str, rng: random.Random) -> tuple[str, str, str] | None:
        """A kind of caption, one of it for `a` and one for `b`, each false of the other; None
        where the two are too near."""
        if not self.differ(a, b):
            return None
        kind = rng.choice([k for k in KINDS if self._has(a, k) and self._has(b, k)])
        if kind == "gloss":
            near = self._related(a, b)
            return None if near else (kind, self._glosses[a], self._glosses[b])
        if kind == "name":
            return kind, self.concepts[a].name, self.concepts[b].name
        of_a, of_b = (rng.sample(self.concepts[c].tags, _KEYWORDS) for c in (a, b))
        strange = self._strange(of_a, b) and self._strange(of_b, a)
        return (kind, ", ".join(of_a), ", ".join(of_b)) if strange else None

    def one(self, code: str, rng: random.Random) -> tuple[str, str]:
        """A kind of caption, and one of it."""
        kind = rng.choice([k for k in KINDS if self._has(code, k)])
        if kind == "keywords":
            return kind, ", ".join(rng.sample(self.concepts[code].tags, _KEYWORDS))
        return kind, self._glosses[code] if kind == "gloss" else self.concepts[code].name

    def _add(self, wordnet: WordNet, code: str, concept: Concept) -> None:
        name = concept.name.lower()
        meanings = (
            {concept.sense, *wordnet.hypernyms(concept.sense)} if concept.sense else frozenset()
        )
        nouns = (word.lower() for key in meanings for word in wordnet.synsets[key].words)
        words = {name, plain_name(concept), *name.split(), *map(str.lower, concept.tags)}
        self.said[code] = frozenset(chain(words, nouns))
        self._meanings[code] = frozenset(meanings)
        gloss = wordnet.synsets[concept.sense].gloss if concept.sense else ""
        self._glosses[code] = gloss if len(gloss.split()) >= _WORDS else ""

    def _has(self, code: str, kind: str) -> bool:
        if kind == "keywords":
            return len(self.concepts[code].tags) >= _KEYWORDS
        return kind == "name" or bool(self._glosses[code])

    def _related(self, a: str, b: str) -> bool:
        senses = self.concepts[a].sense, self.concepts[b].sense
        return senses[0] in self._meanings[b] or senses[1] in self._meanings[a]

    def _strange(self, keywords: list[str], code: str) -> bool:
        return sum(word.lower() not in self.said[code] for word in keywords) >= _STRANGE


def plain_name(concept: Concept) -> str:
    """The name in lower case, without the "face" that some vendors' animals have."""
    return concept.name.lower().removesuffix(" face")
