"""The longest examples of a split, which a model has to read before the work begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from msdkit.data.inputs import ModelInputs
from msdkit.errors import ConfigError, DataError, MsdkitError, first_line
from msdkit.io.strings import Strings

T = TypeVar("T")
Lengths = Mapping[str, np.ndarray]  # {modality: int64 [N]}
FEWEST = 2  # examples read at once: some models and maskings need another one


def try_longest(
    read: Callable[[list[int]], T],
    inputs: Sequence[ModelInputs],
    rows: np.ndarray | None = None,
) -> T:
    """What `read` makes of the longest examples, in one batch.

    In it every modality is as long as in any batch to come, as is the longest example as a whole.
    DataError that names them where they cannot be read while the shortest can; any other error as
    it is. inputs: all that is read of one split, by the student and by a live teacher; rows: the
    examples that are read, None for all: `read` is asked by their places among these.
    """
    each = [_of(one.lengths(), rows) for one in inputs]
    places = [place for lengths in each for place, _ in _places(lengths)]
    count = len(next(iter(each[0].values())))
    try:
        return read(_at_least_two(places, count))
    except (MsdkitError, IndexError, RuntimeError, ValueError) as error:
        if isinstance(error, ConfigError) or not _reads_shortest(read, each):
            raise
        raw = inputs[0].raw
        ids = raw.ids if rows is None else raw.ids.at(rows)
        told = error if isinstance(error, MsdkitError) else f"cannot be read: {first_line(error)}"
        raise DataError(f"split '{raw.split}': {told} ({_named(each, ids)})") from error


def _of(lengths: Lengths, rows: np.ndarray | None) -> Lengths:
    return lengths if rows is None else {m: found[rows] for m, found in lengths.items()}


def _places(lengths: Lengths) -> list[tuple[int, str]]:
    """(place, modality) of the longest in each, and "" for the longest over all."""
    whole = np.sum(list(lengths.values()), axis=0)
    return [(int(found.argmax()), m) for m, found in [*lengths.items(), ("", whole)]]


def _at_least_two(places: Sequence[int], count: int) -> list[int]:
    chosen = list(dict.fromkeys(places))
    others = (place for place in range(count) if place not in chosen)
    while len(chosen) < min(FEWEST, count):
        chosen.append(next(others))
    return chosen


def _reads_shortest(read: Callable[[list[int]], object], each: Sequence[Lengths]) -> bool:
    whole = np.sum([found for lengths in each for found in lengths.values()], axis=0)
    try:
        read(whole.argsort(kind="stable")[:FEWEST].tolist())
    except Exception:
        return False
    return True


def _named(each: Sequence[Lengths], ids: Strings) -> str:
    """What is longest in each modality, and in which example."""
    parts = [
        f"'{m}' has {lengths[m][place]} in example '{ids[place]}'"
        for lengths in each
        for place, m in _places(lengths)
        if m
    ]
    return f"the longest: {', '.join(dict.fromkeys(parts))}"
