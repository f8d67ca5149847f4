"""Nouns of WordNet: their senses, what each is a kind of, and its kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msdkit.errors import DataError


class Synset(NamedTuple):
    """One meaning: its lexicographer file (5 animal, 6 artifact, 13 food, 18 person, ...), the
    nouns for it, the keys of the meanings next above and next below, and its first definition."""

    lexfile: int
    words: tuple[str, ...]
    above: tuple[str, ...]
    below: tuple[str, ...]
    gloss: str = ""


class WordNet:
    """The noun files of a WordNet 3 database (Princeton; Miller, CACM 38(11), 1995).

    A meaning's key is its byte offset in `data.noun`, as the database writes it.
    """

    def __init__(self, folder: Path) -> None:
        self.synsets = dict(map(_synset, _lines(folder / "data.noun")))
        self._senses = dict(map(_senses, _lines(folder / "index.noun")))

    def senses(self, noun: str) -> tuple[str, ...]:
        """Keys of a noun's meanings, the most frequent first."""
        return self._senses.get(noun.lower(), ())

    def hypernyms(self, key: str) -> dict[str, int]:
        """All meanings above, each with the number of steps to it."""
        found: dict[str, int] = {}
        level, steps = self.synsets[key].above, 1
        while level:
            new = [k for k in dict.fromkeys(level) if k not in found]
            found.update(dict.fromkeys(new, steps))
            level, steps = tuple(up for k in new for up in self.synsets[k].above), steps + 1
        return found

    def hyponyms(self, key: str, steps: int = 2) -> list[str]:
        """Meanings at most so many steps below (no individuals such as `Lassie`)."""
        found: dict[str, None] = {}
        level = self.synsets[key].below
        for _ in range(steps):
            found.update(dict.fromkeys(level))
            level = tuple(down for k in level for down in self.synsets[k].below)
        return list(found)


def _lines(path: Path) -> Iterator[str]:
    """The entries of a database file, without the licence at its head."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: it is no WordNet database")
    with path.open(encoding="latin-1") as file:
        yield from (line for line in file if not line.startswith("  "))


def _synset(line: str) -> tuple[str, Synset]:
    """`offset lexfile type words(hex) {word id}* pointers {symbol offset type ends}* | gloss`."""
    head, _, gloss = line.partition("|")
    fields = head.split()
    count = int(fields[3], 16)
    words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
    pointers = fields[5 + 2 * count :]
    nouns = [p for p in zip(*(pointers[i::4] for i in range(3)), strict=False) if p[2] == "n"]
    above = tuple(key for symbol, key, _ in nouns if symbol in ("@", "@i"))
    below = tuple(key for symbol, key, _ in nouns if symbol == "~")
    gloss = gloss.partition(";")[0].strip()
    return fields[0], Synset(int(fields[1]), words, above, below, gloss)


def _senses(line: str) -> tuple[str, tuple[str, ...]]:
    """`noun type senses pointers {symbol}* senses tagged {offset}*`."""
    fields = line.split()
    return fields[0].replace("_", " "), tuple(fields[-int(fields[2]) :])
