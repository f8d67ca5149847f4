"""Pictures with captions in blocks that no modality solves alone, or in pairs that one does."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msdkit.datasets.emoji.captions import Captions

LABELS = ("no", "yes")
CUES = ("none", "text", "image")
# Where there is a cue, it says "yes" of these groups and "no" of all others.
_FAVOURED = frozenset(["animals-nature", "food-drink", "smileys-emotion"])
_SIBLINGS = (
    0.7  # share of confounder blocks whose two concepts are of one subgroup, not only of one group
)
_PATIENCE = 5000  # draws in vain before the pictures count as exhausted


@dataclass(frozen=True)
class Line:
    """One example as its line in the file: `concept` is the picture's, `caption` the kind of text,
    `block` the number of its block or pair, `cue` the modality that alone gives the label away."""

    id: str
    text: str
    image: str
    label: str
    vendor: str
    concept: str
    caption: str
    block: int
    cue: str


class Drawn(NamedTuple):
    """A caption under the picture of the concept with this code."""

    code: str
    vendor: str
    text: str
    caption: str
    label: str


class BlockDrawer:
    """Draws over the pictures of one split; no picture has one caption twice.

    Two concepts a and b, drawn by one vendor, with captions of one kind, each false of the other:
    none    a block: a with its caption and b with its: yes; a with b's and b with a's: no.
    text    a pair, a is favoured and b is not: a with its caption: yes; a with b's: no.
    image   a pair, a is favoured and b is not: a with its caption: yes; b with a's: no.
    So what is no cue occurs as often with "yes" as with "no".
    `pictures` is {concept's code: vendors that draw it}.
    """

    def __init__(
        self, captions: Captions, pictures: Mapping[str, Sequence[str]], rng: random.Random
    ) -> None:
        self._captions, self._rng = captions, rng
        self._all = [(code, vendor) for code in sorted(pictures) for vendor in pictures[code]]
        self._pools: dict[tuple[str, str], list[str]] = defaultdict(list)
        for code, vendor in self._all:
            concept = captions.concepts[code]
            for pool in (concept.group, concept.subgroup, self._side(code)):
                self._pools[vendor, pool].append(code)
        self._favoured = [p for p in self._all if self._side(p[0]) == "favoured"]
        self._seen: set[tuple[str, str, str]] = set()  # (code, vendor, caption)

    def lines(self, count: int, bias: float, split: str) -> Iterator[Line]:
        """So many examples, rounded down to whole blocks; fewer if there are no more.

        As near to `bias` of them as can be have a cue, half in the text and half in the picture.
        """
        pairs = min(count // 4, round(bias * count / 4))
        plan = ["none"] * (count // 4 - pairs) + ["text", "image"] * pairs
        self._rng.shuffle(plan)
        number = 0
        for block, cue in enumerate(plan):
            for row in self._unseen(cue):
                yield self._line(f"{split}-{number:05d}", row, block, cue)
                number += 1

    def _line(self, name: str, row: Drawn, block: int, cue: str) -> Line:
        image = f"images/{row.vendor}/{row.code}.png"
        concept = self._captions.concepts[row.code].name
        return Line(name, row.text, image, row.label, row.vendor, concept, row.caption, block, cue)

    def _unseen(self, cue: str) -> list[Drawn]:
        """A block or pair without a repetition; empty when none is found."""
        for _ in range(_PATIENCE):
            rows = self._confounded() if cue == "none" else self._cued(cue)
            keys = {row[:3] for row in rows}
            if rows and len(keys) == len(rows) and not keys & self._seen:
                self._seen |= keys
                return rows
        return []

    def _confounded(self) -> list[Drawn]:
        a, vendor = self._rng.choice(self._all)
        concept = self._captions.concepts[a]
        near = concept.subgroup if self._rng.random() < _SIBLINGS else concept.group
        b = self._rng.choice(self._pools[vendor, near])
        captions = self._captions.pair(a, b, self._rng)
        if not captions:
            return []
        kind, of_a, of_b = captions
        return [
            Drawn(a, vendor, of_a, kind, "yes"),
            Drawn(a, vendor, of_b, kind, "no"),
            Drawn(b, vendor, of_b, kind, "yes"),
            Drawn(b, vendor, of_a, kind, "no"),
        ]

    def _cued(self, cue: str) -> list[Drawn]:
        if not self._favoured:
            return []
        a, vendor = self._rng.choice(self._favoured)
        pool = self._pools[vendor, "others"]
        b = self._rng.choice(pool) if pool else a
        captions = self._captions.pair(a, b, self._rng)
        if not captions:
            return []
        kind, of_a, of_b = captions
        false = (a, vendor, of_b) if cue == "text" else (b, vendor, of_a)
        return [Drawn(a, vendor, of_a, kind, "yes"), Drawn(*false, kind, "no")]

    def _side(self, code: str) -> str:
        """Of which sort a cue says "yes" (its pictures, or their captions)."""
        favoured = self._captions.concepts[code].group in _FAVOURED
        return "favoured" if favoured else "others"
