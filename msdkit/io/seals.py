"""Checksums of files that are read again, noted in their folder: a flipped bit is told.

XXH3 with 128 bits (xxhash), as of data files: it is faster than the page cache gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from msdkit.errors import DataError
from msdkit.io.files import whole, write_text
from msdkit.io.locks import alone

SEALS = "checksums.json"
PORTION = 1 << 24  # bytes


@contextmanager
def sealed(path: Path) -> Iterator[Path]:
    """As `whole`, and the folder notes the file's checksum, by which `check` knows it.

    It is noted before the file gets its name, beside that of the one which is there: a kill or a
    loss of power in between leaves a file that is known.
    """
    with whole(path) as partial:
        yield partial
        _note(path.parent, {path.name: checksum(partial)})


def write_sealed(path: Path, text: str) -> None:
    """Write a whole text file or nothing, and note its checksum."""
    with sealed(path) as partial:
        partial.write_text(text, encoding="utf-8")


def seal(folder: Path, *names: str) -> None:
    """Note the checksums of files as they are now: of all in the folder, unless some are named."""
    paths = [folder / name for name in names] or [p for p in folder.iterdir() if p.is_file()]
    _note(folder, {p.name: checksum(p) for p in paths if p.name != SEALS and p.exists()})


def check(path: Path) -> None:
    """DataError unless a file is as it was written; one that nothing was noted of is taken as it
    is, as those of earlier versions are."""
    known = _noted(path.parent).get(path.name)
    if known and path.exists() and checksum(path) not in known:
        raise DataError(
            f"{path} is damaged: it is not as it was written, by {path.parent / SEALS}; copy it "
            "anew, or delete it to make it anew"
        )


def checksum(path: Path) -> str:
    """The hexadecimal XXH3 of a file's bytes."""
    hashed = xxhash.xxh3_128()
    with path.open("rb") as file:
        while part := file.read(PORTION):
            hashed.update(part)
    return hashed.hexdigest()


def _note(folder: Path, new: dict[str, str]) -> None:
    with alone(folder / f".{SEALS}.claim"):  # a study's folder has several writers
        noted = _noted(folder)
        for name, value in new.items():
            there = folder / name
            before = [checksum(there)] if name in noted and there.exists() else []
            noted[name] = [value, *(b for b in before if b != value and b in noted[name])]
        write_text(folder / SEALS, json.dumps(noted, indent=1, sort_keys=True))


def _noted(folder: Path) -> dict[str, list[str]]:
    path = folder / SEALS
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(noted, dict) and all(isinstance(v, list) for v in noted.values()):
            return noted
        reason = "expected {file: [checksums]}"
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        reason = str(error)
    raise DataError(f"{path} is damaged ({reason}); delete it to do without checksums")
