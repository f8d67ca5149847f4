"""Families of clip art: pictures of one series, or nearly equal ones, which share a split."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from msdkit.datasets.clipart.sources import Clip

_NEAR = 6.0  # of 255: root mean square difference of thumbnails of one drawing in two versions
_MOST = 40  # pictures of a family that are kept: more of one series teach and test little
_COLOURS = "black white grey gray red orange yellow green blue purple pink brown gold silver cyan"
_SIDES = "left right up down top bottom small big large"
_ASIDE = frozenset(f"{_COLOURS} {_SIDES}".split())  # versions of one drawing differ in these
_WORD = re.compile(r"[^\W\d_]+")


def find_families(clips: Sequence[Clip], thumbs: np.ndarray) -> list[int]:
    """A number per clip, equal within a family; thumbs: uint8 `[N, D]`.

    Two are of one family where an author's titles share a part around " - ", colours, sides,
    numbers and remarks in parentheses aside, or where the pictures are nearly equal; and so are
    those that a chain of such pairs joins.
    """
    group = _Groups(len(clips))
    first: dict[tuple[str, str], int] = {}
    for index, clip in enumerate(clips):
        for part in _parts(clip.series):
            group.join(index, first.setdefault((clip.author, part), index))
    for a, b in near_pairs(thumbs):
        group.join(a, b)
    return [group.root(index) for index in range(len(clips))]


def near_pairs(thumbs: np.ndarray, step: int = 512) -> Iterator[tuple[int, int]]:
    """Rows of uint8 `[N, D]` that differ by less than _NEAR; float64 holds the sums exactly, so
    that every machine finds the same."""
    values = thumbs.astype(np.float64)
    squares = np.square(values).sum(1)
    limit = _NEAR**2 * values.shape[1]
    for start in range(0, len(values), step):
        part = values[start : start + step]
        apart = squares[start : start + step, None] + squares - 2 * part @ values.T
        for a, b in np.argwhere(apart < limit).tolist():
            if start + a < b:
                yield start + a, b


def deal(
    families: Sequence[int],
    labels: Sequence[Sequence[str]],
    shares: Mapping[str, float],
    rng: random.Random,
) -> dict[str, list[int]]:
    """{split: positions}, families being kept whole, so that each split has about its share of each
    label's examples (iterative stratification after Sechidis et al., ECML PKDD 2011, by family).

    Large families come first, each to the split that lacks most of its labels; those of one size
    come in random order. Of a large family only _MOST pictures are dealt.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, family in enumerate(families):
        members[family].append(index)
    kept = [rng.sample(m, min(len(m), _MOST)) for m in members.values()]
    rng.shuffle(kept)
    total = Counter(label for family in kept for index in family for label in labels[index])
    lacking = {s: {label: share * n for label, n in total.items()} for s, share in shares.items()}
    dealt: dict[str, list[int]] = {split: [] for split in shares}
    for group in sorted(kept, key=len, reverse=True):
        found = Counter(label for index in group for label in labels[index])
        want = {
            s: sum(n * left[k] / total[k] for k, n in found.items()) for s, left in lacking.items()
        }
        split = max(want, key=want.__getitem__)
        dealt[split] += group
        for label, n in found.items():
            lacking[split][label] -= n
    return {split: sorted(indices) for split, indices in dealt.items()}


def _parts(title: str) -> Iterator[str]:
    title = re.sub(r"^clipart by .*? - |\(.*?\)", " ", title.lower())
    for part in title.split(" - "):
        words = [w for w in _WORD.findall(part) if w not in _ASIDE]
        if any(len(word) > 1 for word in words):
            yield " ".join(words)


class _Groups:
    """Disjoint sets of numbers."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, a: int) -> int:
        while self._parent[a] != a:
            self._parent[a] = a = self._parent[self._parent[a]]
        return a

    def join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        self._parent[max(a, b)] = min(a, b)
