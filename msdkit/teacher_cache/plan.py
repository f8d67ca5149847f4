"""Which examples a teacher reads for its cache, in which order and for which views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PIECES, SMALLEST, LARGEST = 64, 256, 2048  # shards wanted; bounds for the examples of one
MOST = 4096  # shards: each is a memory map, of which a process may hold some ten thousand


@dataclass(frozen=True)
class Plan:
    """The work of one build: every distinct content of every view once, in shards.

    N examples, of which P are read, V views, S shards. An example is read for a view if it is the
    first to have the view's content; answers that stand in one shard follow one another there.

    order `[P]`: the examples that are read; asked `[P]`: bit v is set where one is read for view v;
    starts `[S + 1]`: where in `order` each shard begins; entries `[V, N]`: where the answer to an
    example stands among all of the view's; bounds `[V, S + 1]`: at which of them each shard begins.
    All int64. Equal contents and lengths give equal plans.
    """

    order: np.ndarray
    asked: np.ndarray
    starts: np.ndarray
    entries: np.ndarray
    bounds: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """[S], the example-views of each shard"""
        return np.diff(self.bounds, axis=1).sum(0)

    @property
    def repeats(self) -> int:
        """The example-views whose content another one has too, so that they cost nothing."""
        return self.entries.size - int(self.sizes.sum())

    def work(self, tokens: np.ndarray) -> np.ndarray:
        """[V, N], the tokens of each example in each view -> [P], the tokens that each costs"""
        bits = 1 << np.arange(len(tokens))[:, None]
        return np.where(self.asked & bits, tokens[:, self.order], 0).sum(0)

    def batches(self, shard: int, work: np.ndarray, budget: float) -> Iterator[slice]:
        """Places in `order` that one call reads: equal views, about as much work, `budget` at most
        (but for the last example)."""
        start, end = self.starts[shard : shard + 2]
        changes = np.flatnonzero(np.diff(self.asked[start:end])) + 1 + start
        for a, b in zip([start, *changes], [*changes, end], strict=True):
            done = work[a:b].cumsum()
            count = int(np.ceil(done[-1] / budget))
            cuts = np.searchsorted(done, np.arange(1, count) * done[-1] / count) + 1
            edges = np.unique([a, *(a + cuts), b]).tolist()
            yield from map(slice, edges, edges[1:])


def make_plan(
    shown: Sequence[Sequence[str]],
    rows: Mapping[str, np.ndarray],
    lengths: Mapping[str, np.ndarray],
) -> Plan:
    """shown: for each view the modalities that its answers depend on; rows, lengths: {modality:
    [N]}, where equal rows are equal contents."""
    contents = [distinct([rows[m] for m in seen]) for seen in shown]
    asked = np.zeros(len(contents[0]), np.int64)
    for view, content in enumerate(contents):
        asked[np.unique(content, return_index=True)[1]] |= 1 << view
    order = _order(asked, [lengths[m] for m in dict.fromkeys(m for seen in shown for m in seen)])
    size = shard_size(len(order))
    starts = np.array([*range(0, len(order), size), len(order)])
    entries, bounds = [], []
    for view, content in enumerate(contents):
        first = (asked[order] >> view & 1).astype(bool)
        bounds.append(np.concatenate([[0], first.cumsum()])[starts])
        number = np.empty(first.sum(), np.int64)
        number[content[order[first]]] = np.arange(len(number))
        entries.append(number[content])
    return Plan(order, asked[order], starts, np.stack(entries), np.stack(bounds))


def shard_size(count: int) -> int:
    """How many of `count` examples a shard holds."""
    wanted = min(max(-(-count // PIECES), SMALLEST), LARGEST)
    return max(wanted, -(-count // MOST))


def distinct(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns [N] -> [N], numbers from 0 that are equal where all columns are"""
    found = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        _, values = np.unique(column, return_inverse=True)
        _, found = np.unique(found * (values.max() + 1) + values, return_inverse=True)
    return found


def _order(asked: np.ndarray, lengths: Sequence[np.ndarray]) -> np.ndarray:
    """The examples that are read, those for equal views together, the longest first.

    What varies most comes first: then a batch has next to no padding in any modality.
    """
    read = asked.nonzero()[0]
    keys = [-column[read] for column in sorted(lengths, key=np.std)]
    return read[np.lexsort([*keys, asked[read]])]
