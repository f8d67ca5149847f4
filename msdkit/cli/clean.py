"""`msdkit clean`: what lies on the disk, and what may go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from msdkit.errors import ConfigError

DAY = 86400.0
UNITS = ("B", "kB", "MB", "GB", "TB")


def clean(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER…]", help="Where runs and stores lie; default: runs."),
    ] = None,
    caches: Annotated[
        bool, typer.Option("--caches", help="Delete what caches hold and nobody used lately.")
    ] = False,
    older_than: Annotated[
        float | None, typer.Option(help="With --caches: unused for so many days.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --caches: do it.")] = False,
) -> None:
    """Say what caches, runs and stores weigh, and take away leftovers.

    Leftovers are what dead processes were writing, an hour without a change. Caches go by
    `--caches --older-than DAYS --yes` alone, runs and stores never.

    Example: `msdkit clean --caches --older-than 30 --yes`
    """
    from msdkit.io.cache import cache_dir
    from msdkit.io.leftovers import leftovers, remove, weight
    from msdkit.io.owned import ours_below
    from msdkit.runs.folder import RUN
    from msdkit.store.writer import STORE
    from msdkit.studies.study import STUDY
    from msdkit.studies.trials import SWEEP
    from msdkit.tables import print_table

    if caches != (older_than is not None) or (yes and not caches):
        raise ConfigError("--caches and --older-than DAYS go together, and --yes with them")
    cache = cache_dir()
    given = folders or [Path("runs")]
    kinds = (STUDY, SWEEP, RUN, STORE)
    found = dict(one for place in given for one in ours_below(place, kinds) if one[0] != cache)
    gone = [path for place in (cache, *found) for path in leftovers(place)]
    freed = sum(map(weight, gone))
    for path in gone:
        remove(path)
    entries = sorted(_entries(cache))
    parts = dict.fromkeys((path.parent for path in entries), "cache")
    rows = [[str(path), kind, _bytes(weight(path))] for path, kind in {**found, **parts}.items()]
    print_table("what msdkit keeps", ["folder", "kind", "size"], rows)
    typer.echo(f"leftovers: {len(gone)}, {_bytes(freed)}; deleted")
    if older_than is not None:
        old = [path for path in entries if time.time() - _used(path) > older_than * DAY]
        size = _bytes(sum(map(weight, old)))
        for path in old if yes else []:
            remove(path)
        said = "deleted" if yes else "to delete them: --yes"
        typer.echo(f"cached and unused for {older_than:g} days: {len(old)}, {size}; {said}")


def _entries(cache: Path) -> Iterator[Path]:
    """What can be computed or fetched again, each by itself."""
    for part in cache.iterdir() if cache.is_dir() else []:
        if part.is_dir():
            yield from part.iterdir()


def _used(path: Path) -> float:
    """When anything in it was last read, as far as the disk notes that, or written."""
    files = [p.lstat() for p in (path, *path.rglob("*")) if not p.is_dir()]  # to list is no use
    return max((max(f.st_atime, f.st_mtime) for f in files), default=path.stat().st_mtime)


def _bytes(count: float) -> str:
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
