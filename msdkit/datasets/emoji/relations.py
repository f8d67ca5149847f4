"""What WordNet says about each emoji: which nouns hold, which may hold, which are false."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from msdkit.datasets.emoji.sources import Concept
from msdkit.datasets.emoji.wordnet import WordNet

_STEPS = 6  # hypernyms further above than this say next to nothing
_PERSON = 18  # WordNet's kinds of people are full of slurs: they are never asked about
_WORD = re.compile(r"[a-z][a-z'-]+( [a-z'-]+){0,2}", re.IGNORECASE)
_VAGUE = frozenset(
    [
        *("abstraction", "artifact", "attribute", "causal agent", "cognition", "entity", "event"),
        *("instrumentality", "living thing", "matter", "object", "organism", "part", "relation"),
        *("physical entity", "psychological feature", "substance", "thing", "unit", "whole"),
    ]
)


class Relations:
    """Nouns (keys of WordNet meanings) by their relation to each concept (by code).

    entailed: the concept's own meaning and all above it; telling: those of them worth saying.
    open: meanings just below, which neither follow nor contradict.
    said: every word for any of these, and the emoji's keywords. A contradiction avoids them, so
    that nobody denies a `mouse` because another meaning of the word was drawn.
    """

    def __init__(self, wordnet: WordNet, concepts: Mapping[str, Concept]) -> None:
        self.concepts = dict(concepts)
        self.words = {key: _plain(synset.words) for key, synset in wordnet.synsets.items()}
        self.entailed: dict[str, frozenset[str]] = {}
        self.telling: dict[str, list[str]] = {}
        self.open: dict[str, list[str]] = {}
        self.said: dict[str, frozenset[str]] = {}
        self._wordnet = wordnet
        for code, concept in concepts.items():
            self._add(code, concept)

    def excludes(self, code: str, noun: str) -> bool:
        """Whether the noun is false of the concept."""
        return not (
            noun in self.entailed[code]
            or noun in self.open[code]
            or self.concepts[code].sense in self._wordnet.hypernyms(noun)
            or self.words[noun].lower() in self.said[code]
        )

    def _add(self, code: str, concept: Concept) -> None:
        above = {concept.sense: 0, **self._wordnet.hypernyms(concept.sense)}
        below = [n for n in self._wordnet.hyponyms(concept.sense) if n not in above]
        name = concept.name.lower()
        true = {*self._all_words(above), name, *name.split()}
        self.entailed[code] = frozenset(above)
        self.telling[code] = [n for n, steps in above.items() if steps <= _STEPS and self._tells(n)]
        self.open[code] = [n for n in below if self._asks(n, true)]
        self.said[code] = frozenset({*true, *self._all_words(below), *map(str.lower, concept.tags)})

    def _all_words(self, nouns: Iterable[str]) -> Iterator[str]:
        return (word.lower() for n in nouns for word in self._wordnet.synsets[n].words)

    def _tells(self, noun: str) -> bool:
        return bool(self.words[noun]) and self._wordnet.synsets[noun].words[0] not in _VAGUE

    def _asks(self, noun: str, true: set[str]) -> bool:
        """No kind of person, and no word for what surely holds."""
        word = self.words[noun].lower()
        return bool(word) and word not in true and self._wordnet.synsets[noun].lexfile != _PERSON


def _plain(words: Iterable[str]) -> str:
    """The first word of a meaning without digits or signs; empty where there is none."""
    return next((word for word in words if _WORD.fullmatch(word)), "")
