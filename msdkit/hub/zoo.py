"""The zoo: what others publish and configs ask for, described and fetched by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from msdkit.errors import DataError, listing, suggest
from msdkit.hub.archives import is_archive, unpack
from msdkit.hub.download import download
from msdkit.hub.entries import ENTRIES, Entry, File
from msdkit.io.files import write_text

__all__ = ["describe", "entry", "get", "overview"]
DONE = ".msdkit-zoo.json"  # in the target folder: the addresses that were fetched into it
UNKNOWN = "not known"


def entry(name: str) -> Entry:
    """What the zoo knows under a name; DataError with the nearest name on a miss."""
    if name not in ENTRIES:
        raise DataError(
            f"the zoo has no '{name}'. {suggest(name, ENTRIES)}Known: {listing(ENTRIES)}"
        )
    return ENTRIES[name]


def overview() -> Iterator[str]:
    """One line for each entry: name, kind, size, how it comes, what it is."""
    width = max(map(len, ENTRIES))
    for name, one in ENTRIES.items():
        how = "by hand" if not one.files else "partly by hand" if _needs_hands(one) else "get"
        yield f"{name:{width}}  {one.kind:10}  {_total(one):>10}  {how:14}  {one.about}"


def describe(name: str) -> Iterator[str]:
    """All that is known of one entry, the steps numbered."""
    one = entry(name)
    yield f"{one.name}: {one.about}"
    yield f"  kind      {one.kind}"
    yield f"  licence   {one.licence}"
    yield f"  from      {one.source}"
    for file in one.files:
        yield f"  address   {file.address}"
        yield f"            size {_size(file.size)}, sha256 {file.sha256 or UNKNOWN}"
    if one.files:
        yield f"  fetch     msdkit zoo get {one.name} --to FOLDER"
    if one.use:
        yield f"  use       {one.use}"
    for number, step in enumerate(one.steps, start=1):
        yield f"  step {number}    {step}"


def get(name: str, to: Path, *, keep: bool = False) -> list[Path]:
    """Fetch an entry's files into a folder, verify and unpack them; what is done is not repeated.

    keep: archives stay beside what they held. Returns what each file or archive became.
    """
    one = entry(name)
    if not one.files:
        steps = " ".join(f"({i}) {step}" for i, step in enumerate(one.steps, start=1))
        raise DataError(f"'{name}' has no direct address; its licence asks for steps: {steps}")
    to.mkdir(parents=True, exist_ok=True)
    return [_get(file, to, keep) for file in one.files]


def _get(file: File, to: Path, keep: bool) -> Path:
    folder, done = to / file.into, _done(to)
    packed = is_archive(file.name)
    made = folder if packed else folder / file.name
    if file.address in done and made.exists():
        return made
    download(file.address, folder / file.name, size=file.size, sha256=file.sha256)
    if packed:
        unpack(folder / file.name, folder)
        if not keep:
            (folder / file.name).unlink()
    _note(to, [*done, file.address])
    return made


def _done(to: Path) -> list[str]:
    path = to / DONE
    if not path.exists():
        return []
    try:
        return [str(address) for address in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not msdkit's list of what was fetched ({error}); delete it"
        ) from (error)


def _note(to: Path, addresses: list[str]) -> None:
    write_text(to / DONE, json.dumps(addresses, indent=1) + "\n")


def _needs_hands(one: Entry) -> bool:
    """Whether some of it is not handed out by address."""
    return one.kind == "data set" and any("request" in step for step in one.steps)


def _total(one: Entry) -> str:
    known = [file.size for file in one.files if file.size is not None]
    return _size(sum(known) if known else None) + ("" if len(known) in (0, len(one.files)) else "+")


def _size(size: int | None) -> str:
    if size is None:
        return UNKNOWN
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
