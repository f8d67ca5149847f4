"""Kills: at every operation on files of a run's saves and of a cache's shards, and elsewhere."""

from __future__ import annotations

import random
import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from shim import Shim
from subject import IMPORT, LINE, METHODS, RUN, SWEEP, Subject
from trial import Category, Report, Trial, draws
from work import Bad, command, numbers, require_equal

CACHE = ("cache", "student.yaml")
ELSEWHERE = {  # command: what is deleted before it
    RUN: ("runs/student", "cache"),
    IMPORT: (),
    SWEEP: ("sweep",),
    METHODS: ("study",),
}
FINAL = {IMPORT: "imported", SWEEP: "sweep", METHODS: "study"}
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


def categories(subject: Subject, seed: int) -> list[Category]:
    """Kills in saves and shards, elsewhere, and signals that may save first."""
    saves = _places(subject.operations(*RUN, without=("runs/student",)), "environment.json")
    shards = _places(subject.operations(*CACHE, without=("cache", "runs/student")))
    return [
        Category(
            "kill: a run's files",
            "SIGKILL at each operation on files of a run, halfway through each write; same command",
            lambda: (_kill(subject, RUN, ("runs/student",), at) for at in _shuffled(saves, seed)),
            weight=6,
            total=len(saves),
        ),
        Category(
            "kill: cache and shards",
            "the same of `msdkit cache`; then the run",
            lambda: (
                _kill(subject, CACHE, ("cache", "runs/student"), at)
                for at in _shuffled(shards, seed)
            ),
            weight=4,
            total=len(shards),
        ),
        Category(
            "kill: elsewhere",
            "SIGKILL at a drawn operation of run, features import, sweep, compare; same command",
            lambda: draws(seed, "elsewhere", partial(_elsewhere, subject)),
        ),
        Category(
            "signal",
            "TERM, INT, HUP, USR1, USR2 in a drawn step: it saves; same command",
            lambda: draws(seed, "signal", partial(_signal, subject)),
        ),
    ]


def _places(done: list[str], first: str = "") -> list[int]:
    """The operations from the first of a file on; of equal ones between equal ones two."""
    names = [re.sub(r"[0-9a-f]{8,}", "*", what) for what in done]
    start = next(i for i, what in enumerate(names) if first in what)
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for i in range(start, len(names)):
        between = tuple(names[max(0, i - 1) : i + 2])
        seen[between] += 1
        if seen[between] <= 2:
            found.append(i)
    return found


def _shuffled(places: list[int], seed: int) -> Iterator[int]:
    """All of them, so that a part of them is a sample."""
    yield from random.Random(seed).sample(places, len(places))


def _kill(subject: Subject, words: tuple[str, ...], without: tuple[str, ...], at: int) -> Trial:
    def act(folder: Path, report: Report) -> str:
        work = subject.copy(folder, *without)
        _stop(work, words, at, signal.SIGKILL)
        return _goes_on(work, subject.expected["student"])

    return Trial(f"{' '.join(words)} at operation {at}", act)


def _stop(work: Path, words: tuple[str, ...], at: int, number: int) -> None:
    ended = command(work, *words, shim=Shim(work, at, number))
    if ended.outcome((number,)) == "refused":
        raise Bad("refused", ended.error[:160])


def _goes_on(work: Path, expected: dict[str, str]) -> str:
    """The run, once more, ends as if nothing had happened."""
    ended = command(work, *RUN)
    if ended.outcome() != "ok":
        raise Bad("lost", ended.error[:160])
    require_equal(numbers(work / "runs/student"), expected)
    left = sorted(p.name for p in (work / "runs/student").glob(".*") if p.name != ".msdkit")
    if left:
        raise Bad("leftovers", ", ".join(left))
    return "equal"


def _elsewhere(subject: Subject, draw: random.Random, number: int) -> Trial:
    words = draw.choice(list(ELSEWHERE))
    without = ELSEWHERE[words]
    at = draw.randrange(20 if words == IMPORT else 300)

    def act(folder: Path, report: Report) -> str:
        work = subject.copy(folder, *without)
        _stop(work, words, at, signal.SIGKILL)
        if words == RUN:
            return _goes_on(work, subject.expected["student"])
        ended = command(work, *words)
        finished = words == IMPORT and "exists" in ended.error  # it was, before the kill
        if ended.outcome() != "ok" and not finished:
            raise Bad("lost", ended.error[:160])
        if words == IMPORT:
            command(folder / "work", *IMPORT[:-1], "again").outcome()
            require_equal(numbers(work / "imported"), numbers(work / "again"))
        else:
            before = numbers(subject.base / FINAL[words])
            require_equal(numbers(work / FINAL[words]), before)
        return "equal"

    return Trial(f"#{number} {words[0]} at operation {at}", act)


def _signal(subject: Subject, draw: random.Random, number: int) -> Trial:
    """In the middle of training, so that there is something to save."""
    which, at = draw.choice(SIGNALS), draw.randrange(subject.lines)

    def act(folder: Path, report: Report) -> str:
        work = subject.copy(folder, "runs/student")
        ended = command(work, *RUN, shim=Shim(work, at, which, on=LINE))
        saved = (work / "runs/student/last").is_dir()
        if ended.outcome((which,)) != "ok" and (ended.code == -which or not saved):
            raise Bad("unsaved", f"{which.name} after step {at}: exit code {ended.code}")
        return _goes_on(work, subject.expected["student"])

    return Trial(f"#{number} {which.name} in step {at}", act)
