"""What can be asked about an emoji, and the right answers with their scores."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msdkit.datasets.emoji.captions import Captions, plain_name
from msdkit.datasets.emoji.pairs import with_article
from msdkit.datasets.emoji.relations import Relations
from msdkit.datasets.emoji.sources import Concept
from msdkit.datasets.emoji.wordnet import WordNet

# Scores of the grid that agreement of ten annotators has in VQA v2.
NAME, SYNONYM, PART, KEYWORD = 1.0, 0.9, 0.6, 0.3
# {kind: wordings}; those with `is_` are answered by yes or no.
WORDINGS = {
    "what": ("What is this?", "What does the picture show?"),
    "kind": ("What kind of thing is this?", "Which category is it?"),
    "animal": ("Which animal or plant is this?", "What lives here?"),
    "food": ("Which food or drink is this?", "What can one eat or drink here?"),
    "which": ("Which {} is this?", "What sort of {} is it?"),
    "color": ("What color is the {}?",),
    "direction": ("Which way does it point?", "In which direction does it point?"),
    "is_name": ("Is this {}?", "Does the picture show {}?"),
    "is_kind": ("Is it of the category {}?", "Does it belong to the category {}?"),
    "is_color": ("Is the {} {}?", "Does the {} look {}?"),
    "is_direction": ("Does it point {}?", "Is the direction {}?"),
}
_GROUPS = {"animals-nature": "animal", "food-drink": "food"}
_KINDS = {
    "av-symbol": "media button",
    "body-parts": "body part",
    "book-paper": "book or paper",
    "light-video": "light or video",
    "sky-weather": "sky or weather",
    "arts-crafts": "arts or crafts",
    "alphanum": "letters or digits",
    "animal-marine": "sea animal",
    "food-asian": "asian food",
    "food-prepared": "prepared food",
    "food-sweet": "sweets",
    "geometric": "geometric shape",
    "place-geographic": "landscape",
    "place-religious": "place of worship",
    "transport-sign": "transport sign",
}
_VAGUE = frozenset(["object", "symbol", "place", "plant", "person"])  # true of others as well
_FEWEST = 4  # concepts that a noun fits, or asking "Which …?" gives the answer away
_COMMON = 0.05  # of all concepts: a noun that fits more says too little
_PERSON = 18  # WordNet's kinds of people are full of slurs: they are never asked about
_COLOR = re.compile(
    r"(?:large |small |hollow )?(light blue|red|orange|yellow|green|blue|purple|brown|black|white"
    r"|grey|pink) (.+)"
)
_MISCOLORED = frozenset(["white flower", "white square button", "black square button"])
_WAY = re.compile(
    r"(?:(?:backhand )?index pointing |red triangle pointed |magnifying glass tilted |thumbs )?"
    r"((?:up|down)(?:-left|-right)?|left|right)"
    r"(?:wards (?:button|hand|pushing hand)|-facing fist| arrow)?"
)


class Asked(NamedTuple):
    """One question about a concept: its kind, what fills the wording, {answer: score}."""

    kind: str
    about: tuple[str, ...]
    answers: dict[str, float]


class Questions:
    """The questions about each concept (by code).

    The name of an emoji scores 1; another noun for its meaning .9; a keyword that is a word of
    the name .6; any other keyword .3. All other answers are right or wrong.
    """

    def __init__(self, wordnet: WordNet, concepts: Mapping[str, Concept]) -> None:
        self.captions = Captions(wordnet, concepts)
        self.concepts = dict(concepts)
        self._wordnet = wordnet
        self.kinds = {code: kind_of(c) for code, c in concepts.items()}
        self.colors = {c: color for c in concepts if (color := color_of(concepts[c].name))}
        self.ways = {c: way for c in concepts if (way := way_of(concepts[c].name))}
        self._nouns = self._telling_nouns()

    def open(self, code: str) -> Iterator[Asked]:
        """Questions for a name, a kind, a colour or a direction."""
        concept, names = self.concepts[code], self.names(code)
        yield Asked("what", (), names)
        yield Asked("kind", (), {self.kinds[code]: NAME})
        if concept.group in _GROUPS:
            yield Asked(_GROUPS[concept.group], (), names)
        yield from (Asked("which", (noun,), names) for noun in self._nouns[code])
        if code in self.colors:
            color, thing = self.colors[code]
            yield Asked("color", (thing,), {color: NAME})
        if code in self.ways:
            yield Asked("direction", (), {self.ways[code]: NAME})

    def closed(self, code: str) -> Iterator[Asked]:
        """Questions that are answered by "yes"."""
        yes = {"yes": NAME}
        yield Asked("is_name", (with_article(self.concepts[code].name),), yes)
        if self.kinds[code] not in _VAGUE:
            yield Asked("is_kind", (self.kinds[code],), yes)
        if code in self.colors:
            color, thing = self.colors[code]
            yield Asked("is_color", (thing, color), yes)
        if code in self.ways:
            yield Asked("is_direction", (self.ways[code],), yes)

    def denies(self, kind: str, code: str, other: str) -> bool:
        """Whether the question, with "yes" for `code`, has the answer "no" for the other."""
        if kind == "is_name":
            return self.captions.differ(code, other)
        if kind == "is_kind":
            return self.kinds[other] != self.kinds[code]
        if kind == "is_direction":
            return self.ways.get(other, self.ways[code]) != self.ways[code]
        color, thing = self.colors[code]
        found = self.colors.get(other, (color, thing))
        return found[1] == thing and found[0] != color

    def names(self, code: str) -> dict[str, float]:
        """{answer: score} to the question what it is."""
        concept = self.concepts[code]
        name, plain = concept.name.lower(), plain_name(concept)
        words = re.findall(r"[\w’'-]+", name)
        found = {t.lower(): PART if t.lower() in words else KEYWORD for t in concept.tags}
        meant = self._wordnet.synsets[concept.sense].words if concept.sense else ()
        nouns = [noun.lower() for noun in meant]
        if plain in nouns:  # else they are nouns for the head of the name
            found.update(dict.fromkeys(nouns, SYNONYM))
        return {**found, plain: SYNONYM, name: NAME}

    def _telling_nouns(self) -> dict[str, list[str]]:
        """{code: nouns above its meaning that fit neither too few concepts nor too many}."""
        named = {code: concept for code, concept in self.concepts.items() if concept.sense}
        relations = Relations(self._wordnet, named)
        above: dict[str, list[str]] = defaultdict(list)
        for code, concept in named.items():
            for key in relations.telling[code]:
                person = self._wordnet.synsets[key].lexfile == _PERSON
                if key != concept.sense and not person and relations.words[key] not in above[code]:
                    above[code].append(relations.words[key])
        count = _counted(above.values())
        most = max(_FEWEST, _COMMON * len(self.concepts))
        telling = {noun for noun, n in count.items() if _FEWEST <= n <= most}
        return {code: [n for n in above.get(code, ()) if n in telling] for code in self.concepts}


def kind_of(concept: Concept) -> str:
    """The subgroup in words: "animal-mammal" -> "mammal", "face-smiling" -> "smiling face"."""
    subgroup = concept.subgroup
    first, _, rest = subgroup.partition("-")
    if subgroup in _KINDS:
        return _KINDS[subgroup]
    if first in ("hand", "hands", "person"):
        return "hand" if first != "person" else first
    if first == "other" or rest == "other":
        return rest if first == "other" else first
    if first in ("animal", "food", "plant", "place") and rest:
        return rest.replace("-", " ")
    if first in ("face", "transport", "emotion") and rest:
        return f"{rest.replace('-', ' or ')} {first}"
    return subgroup.replace("-", " ")


def color_of(name: str) -> tuple[str, str] | None:
    """The colour in an emoji's name, and the thing that has it."""
    match = None if name.lower() in _MISCOLORED else _COLOR.fullmatch(name.lower())
    return (match[1], match[2]) if match else None


def way_of(name: str) -> str | None:
    """Where the emoji of this name points to."""
    match = _WAY.fullmatch(name.lower())
    return match[1] if match else None


def _counted(nouns: Iterable[list[str]]) -> Counter[str]:
    return Counter(noun for found in nouns for noun in found)
