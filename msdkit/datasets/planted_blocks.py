"""Pictures with captions in blocks where a known modality, both or none decides the label."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from msdkit.datasets.emoji.captions import Captions
from msdkit.datasets.emoji.sources import Concept

LABELS = ("animal", "food", "transport")
SOURCES = ("text", "image", "both", "neither")
NEUTRAL = "object"  # the kind that says nothing
_GROUPS = {
    "animals-nature": "animal",
    "food-drink": "food",
    "travel-places": "transport",
    "objects": NEUTRAL,
}
_OTHER_SUBGROUPS = ("plant-", "dishware", "place-", "sky-", "time", "hotel")
_PATIENCE = 500  # draws in vain before a source's pairs count as exhausted


@dataclass(frozen=True)
class Line:
    """One example as its line in the file: `source` decides its label, and `noisy` says that the
    label was drawn anew; `concept` is the picture's, `said` the caption's, `caption` its kind."""

    id: str
    text: str
    image: str
    label: str
    source: str
    noisy: bool
    block: int
    vendor: str
    concept: str
    said: str
    caption: str


class Drawn(NamedTuple):
    """A caption of one concept under the picture of another."""

    code: str
    vendor: str
    said: str
    caption: str
    text: str
    label: str


class Readings:
    """Of which kind a caption is; one that two kinds share has two readings and is never used."""

    def __init__(self, captions: Captions) -> None:
        self.captions = captions
        self._kinds: dict[frozenset[str], str | None] = {}

    def draw(self, code: str, rng: random.Random) -> tuple[str, str] | None:
        """A kind of caption and its text; None where the text was said of another kind."""
        found = self.captions.one(code, rng)
        words, kind = frozenset(found[1].lower().split(", ")), kind_of(self.captions.concepts[code])
        return found if self._kinds.setdefault(words, kind) == kind else None


class PlantedDrawer:
    """Draws over the pictures of one split; no picture has one caption twice.

    A block has one example of each label. Where the text decides, one neutral picture stands with
    a caption of each kind; where the image decides, one neutral caption with a picture of each.
    Where both do, picture and caption are of one kind; where neither does, both are neutral, and
    the picture is the same throughout the block. So what does not decide is with each label
    equally often. `pictures` is {concept's code: vendors that draw it}.
    """

    def __init__(
        self, readings: Readings, pictures: Mapping[str, Sequence[str]], rng: random.Random
    ) -> None:
        self._readings, self._rng = readings, rng
        self._pictures: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for code in sorted(pictures):
            if kind := kind_of(readings.captions.concepts[code]):
                self._pictures[kind] += [(code, vendor) for vendor in pictures[code]]
        self._seen: set[tuple[str, str, str]] = set()  # (code, vendor, text)

    def lines(
        self, count: int, proportions: Mapping[str, float], noise: float, split: str
    ) -> list[Line]:
        """So many examples, rounded down to whole blocks; fewer if a source has no more."""
        blocks = shared_out(count // len(LABELS), proportions)
        plan = [source for source, number in blocks.items() for _ in range(number)]
        self._rng.shuffle(plan)
        found = list(self._lines(plan, split))
        for i in self._rng.sample(range(len(found)), round(noise * len(found))):
            found[i] = replace(found[i], label=self._rng.choice(LABELS), noisy=True)
        return found

    def _lines(self, plan: Sequence[str], split: str) -> Iterator[Line]:
        number, spent = 0, set[str]()
        for block, source in enumerate(plan):
            rows = [] if source in spent else self._unseen(source)
            if not rows:
                spent.add(source)
            for row in rows:
                yield self._line(f"{split}-{number:05d}", row, source, block)
                number += 1

    def _line(self, name: str, row: Drawn, source: str, block: int) -> Line:
        image, concepts = f"images/{row.vendor}/{row.code}.png", self._readings.captions.concepts
        shown, said = concepts[row.code].name, concepts[row.said].name
        about = {"vendor": row.vendor, "concept": shown, "said": said, "caption": row.caption}
        return Line(name, row.text, image, row.label, source, False, block, **about)

    def _unseen(self, source: str) -> list[Drawn]:
        """A block without a repetition; empty when none is found."""
        for _ in range(_PATIENCE):
            rows = self._block(source)
            keys = {(row.code, row.vendor, row.text) for row in rows}
            if len(keys) == len(LABELS) and not keys & self._seen:
                self._seen |= keys
                return rows
        return []

    def _block(self, source: str) -> list[Drawn]:
        """One example of each label; fewer where a caption has two readings."""
        picture, caption = self._picture(NEUTRAL), self._caption(NEUTRAL)
        rows = []
        for label in LABELS:
            if source in ("image", "both"):
                picture = self._picture(label)
            if source != "image":
                caption = self._caption(NEUTRAL if source == "neither" else label)
            if picture and caption:
                rows.append(Drawn(*picture, *caption, label))
        return rows

    def _picture(self, kind: str) -> tuple[str, str] | None:
        """(concept's code, vendor)"""
        pool = self._pictures[kind]
        return self._rng.choice(pool) if pool else None

    def _caption(self, kind: str) -> tuple[str, str, str] | None:
        """(concept's code, kind of caption, text)"""
        picture = self._picture(kind)
        found = self._readings.draw(picture[0], self._rng) if picture else None
        return (picture[0], *found) if picture and found else None


def kind_of(concept: Concept) -> str | None:
    """A label, `NEUTRAL`, or None for what is left out."""
    other = concept.subgroup.startswith(_OTHER_SUBGROUPS)
    return None if other else _GROUPS.get(concept.group)


def shared_out(count: int, proportions: Mapping[str, float]) -> dict[str, int]:
    """How many of `count` each source gets: the largest remainders are rounded up."""
    exact = {source: count * proportions[source] for source in SOURCES}
    found = {source: int(share + 1e-9) for source, share in exact.items()}
    first = sorted(SOURCES, key=lambda source: found[source] - exact[source])
    for source in first[: count - sum(found.values())]:
        found[source] += 1
    return found
