"""Folders that are msdkit's: a mark in them says so, and nothing is written where it is missing."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msdkit.errors import ConfigError, DataError
from msdkit.io.files import write_text
from msdkit.io.locks import holder, take

MARK, CLAIM = ".msdkit", ".msdkit.claim"
HEAD = 4096  # bytes of a file in which its mark stands
SHOWN = 3  # names of what lies in a folder of others
_PASSING = re.compile(r"\..*\.[0-9a-f]{8}\.partial|.*\.claim(\.beat)?")  # of processes at work


class FolderBusy(DataError):
    """Another process writes into the folder."""


@dataclass(frozen=True)
class Kind:
    """What a folder of msdkit's holds.

    name: such as "run"; way_out: what to do about a folder that is none, such as "choose another
    with run_dir=PATH"; before: whether a folder without a mark was written by an earlier version.
    """

    name: str
    way_out: str
    before: Callable[[Path], bool] = lambda folder: False


def check_ours(folder: Path, kind: Kind) -> None:
    """ConfigError unless a folder is missing, empty, or msdkit's and of this kind."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file, not a folder; {kind.way_out}")
    if (marked := _marked(folder)) is not None:
        if marked != kind.name:
            raise ConfigError(
                f"{folder} is msdkit's folder of a {marked}, not of a {kind.name}; {kind.way_out}"
            )
    elif (found := others(folder)) and not kind.before(folder):
        shown = ", ".join(found[:SHOWN]) + (", …" if found[SHOWN:] else "")
        raise ConfigError(
            f"{folder} holds files that msdkit did not write ({shown}), which it leaves alone; "
            f"{kind.way_out}"
        )


def own(folder: Path, kind: Kind) -> None:
    """Make a folder msdkit's; ConfigError, and nothing is touched, where `check_ours` says so."""
    check_ours(folder, kind)
    if _marked(folder) is None:
        write_text(folder / MARK, json.dumps({"kind": kind.name}) + "\n")


def ours_below(folder: Path, kinds: Sequence[Kind]) -> Iterator[tuple[Path, str]]:
    """(folder, name of its kind) of the outermost folders of ours in a folder, or of itself; kinds:
    those that are known without a mark."""
    before = (kind.name for kind in kinds if kind.before(folder))
    if (name := _marked(folder) or next(before, None)) is not None:
        yield folder, name
        return
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.is_symlink():
            yield from ours_below(path, kinds)


def check_replaceable(path: Path, mark: bytes, option: str) -> None:
    """ConfigError for a file that is there and whose first bytes lack a mark of ours.

    option: what names another file, such as "-o". An empty file, and what lies in a folder of ours,
    may be replaced.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no ordinary file"
        raise ConfigError(f"{path} is {what}; name a file with {option}")
    if not path.exists() or _marked(path.parent) is not None:
        return
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head and mark not in head:
        raise ConfigError(
            f"{path} is there and msdkit did not write it; delete it, or name another with {option}"
        )


@contextmanager
def held(folder: Path, kind: Kind, doing: str) -> Iterator[None]:
    """Inside, a folder is msdkit's, and no other process writes into it; FolderBusy says who does.

    doing: what another process is told of this one. What nothing came of is gone at the end.
    """
    check_ours(folder, kind)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    claim = take(folder / CLAIM)
    if claim is None:
        who = holder(folder / CLAIM) or "another process"
        raise FolderBusy(f"{folder} is in use by {who}; wait for it, or {kind.way_out}")
    try:
        claim.say(_about(doing))
        own(folder, kind)
        yield
    finally:
        claim.end()
        _tidy(missing)


def _tidy(made: list[Path]) -> None:
    """Take away the folders that were made, innermost first, as long as they hold nothing."""
    if made and [path.name for path in made[0].glob("*")] == [MARK]:
        (made[0] / MARK).unlink()
    for place in made:
        try:
            place.rmdir()
        except OSError:  # something came of it
            return


def _about(doing: str) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return f"{doing} (process {os.getpid()} on {socket.gethostname()}, since {since})"


def _marked(folder: Path) -> str | None:
    """The kind that a folder's mark tells; None without a mark."""
    path = folder / MARK
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))["kind"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}); it says whose the folder is") from error
    return str(kind)


def others(folder: Path) -> list[str]:
    """What lies in a folder, but for a mark and what passing processes leave."""
    names = sorted(path.name for path in folder.glob("*"))
    return [name for name in names if name != MARK and not _PASSING.fullmatch(name)]
