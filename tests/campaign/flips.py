"""Damage: a bit, a cut, zeros or nothing at all in each file that msdkit reads again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from subject import METHODS, RUN, SWEEP, Subject
from trial import Category, Report, Trial
from work import Bad, command, numbers, require_equal, shown

NEW = (*RUN, "run_dir=runs/new")


@dataclass(frozen=True)
class Reader:
    """Who reads the files of `part` again. results: what of the folder is compared with the same
    command on undamaged files; stopped: the run is half done; cold: what else is gone."""

    part: str
    words: tuple[str, ...]
    results: tuple[str, ...] = ()
    stopped: bool = False
    cold: tuple[str, ...] = ()
    report: bool = False


READERS = [
    Reader("runs/student", RUN, ("runs/student",), stopped=True),
    Reader("runs/student", RUN),
    Reader("runs/student", ("evaluate", "runs/student"), ("runs/student/predictions-test.jsonl",)),
    Reader(
        "runs/student",
        ("report", "runs/student", "-o", "page.html"),
        ("page.html",),
        report=True,
    ),
    Reader("runs/teacher", NEW, ("runs/new",), cold=("cache",)),
    Reader("cache", NEW, ("runs/new",)),
    Reader("store", NEW, ("runs/new",), cold=("cache",)),
    Reader("rows", (*RUN, "dataset.folder=rows"), ("runs/student",), stopped=True),
    Reader("sweep", SWEEP, ("sweep/sweep.json",)),
    Reader("study", METHODS, ("study/compare.json",)),
    Reader("study", ("report", "study", "-o", "page.html"), ("page.html",), report=True),
]
KINDS = ["flip"] * 7 + ["cut", "cut", "zeros", "empty", "gone"]


def categories(subject: Subject, seed: int) -> list[Category]:
    """One category for each part of what is read again."""
    return [
        Category(
            f"damage: {reader.part}, read by {reader.words[0]}"
            + (" that goes on" if reader.stopped else ""),
            "a flipped bit, a cut, zeros, an empty or missing file: noticed, or the same numbers",
            partial(_trials, subject, reader, seed),
            weight=0.6,
        )
        for reader in READERS
    ]


def damage(path: Path, draw: random.Random, kind: str) -> str:
    """Damage a file; what was done."""
    data = bytearray(path.read_bytes())
    at = draw.randrange(len(data)) if data else 0
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    if kind == "gone":
        path.unlink()
        return "gone"
    if kind == "flip" and data:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == "zeros":
        data[at : at + 512] = bytes(len(data[at : at + 512]))
    else:
        del data[0 if kind == "empty" else at :]
    path.write_bytes(data)
    import os

    os.utime(path, ns=times)  # a disk that forgets changes no times
    return f"{kind} at {at}"


def _trials(subject: Subject, reader: Reader, seed: int) -> Iterator[Trial]:
    """Each file in turn, damaged in drawn ways."""
    base = subject.stopped if reader.stopped and reader.part == "runs/student" else None
    base = base or subject.base / reader.part
    files = sorted(
        p.relative_to(base) for p in base.rglob("*") if p.is_file() and p.suffix != ".claim"
    )
    draw = random.Random(f"{seed}/{reader}")
    number = 0
    while True:
        for file in draw.sample(files, len(files)):
            yield _trial(subject, reader, file, seed, number)
            number += 1


def _trial(subject: Subject, reader: Reader, file: Path, seed: int, number: int) -> Trial:
    draw = random.Random(f"{seed}/{reader.part}/{reader.words}/{number}")
    kind = draw.choice(KINDS)

    def act(folder: Path, report: Report) -> str:
        expected = _expected(subject, reader, folder)
        work = _place(subject, reader, folder)
        path = work / reader.part / file
        before = path.read_bytes()
        done = damage(path, draw, kind)
        if path.exists() and path.read_bytes() == before:
            return ""
        ended = command(work, *reader.words, report=reader.report)
        try:
            if ended.outcome() == "refused":
                return "refused"
            require_equal(_results(work, reader, ended.out), expected)
        except Bad as bad:
            raise Bad(bad.kind, f"{file}, {done}: {bad.word}") from None
        return "equal"

    return Trial(f"#{number} {file}, {kind}", act)


def _place(subject: Subject, reader: Reader, folder: Path) -> Path:
    if reader.part == "rows":  # a copy of the data is other data, so the run begins there
        work = subject.stop(folder, "dataset.folder=rows").parents[1]
    else:
        work = subject.copy_stopped(folder) if reader.stopped else subject.copy(folder)
    for name in reader.cold:
        shutil.rmtree(work / name)
    return work


def _expected(subject: Subject, reader: Reader, folder: Path) -> dict[str, str]:
    """What the command gives where nothing is damaged; once for each reader."""
    import json

    known = subject.folder / f"expected-{READERS.index(reader)}.json"
    if not known.exists():
        work = _place(subject, reader, folder / "undamaged")
        ended = command(work, *reader.words, report=reader.report)
        if ended.outcome() != "ok":
            raise Bad("broken", ended.told[-300:])
        own = known.with_suffix(f".{folder.name}")
        own.write_text(json.dumps(_results(work, reader, ended.out)), "utf-8")
        own.replace(known)
    return json.loads(known.read_text("utf-8"))


def _results(work: Path, reader: Reader, out: str) -> dict[str, str]:
    found = {"shown": shown(out)}
    for name in reader.results:
        path = work / name
        if path.is_dir():
            found |= numbers(path)
        elif path.suffix == ".html":
            found[name] = shown(path.read_text("utf-8"))
        else:
            found[name] = numbers(path.parent).get(path.name, "")
    return found
