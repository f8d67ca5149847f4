"""Trials in forked processes, a few at once, until all are done or the time is over."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from work import Bad

LIMIT = 400.0  # seconds, of one trial
Report = Callable[[str, str, str], None]  # (case, outcome, a word on it)


class Skipped(Exception):
    """A trial that cannot be made here, and why."""


@dataclass(frozen=True)
class Trial:
    """One trial. act: (its own folder) -> the outcome; it may report several cases before."""

    name: str
    act: Callable[[Path, Report], str]


@dataclass
class Category:
    """Trials of one kind. trials: makes them from a random generator, without end or up to
    `total`; weight: its share of the time."""

    name: str
    about: str
    trials: Callable[[], Iterator[Trial]]
    weight: float = 1.0
    total: int | None = None
    seconds: float = 0.0
    number: int = 0
    outcomes: list[tuple[str, str, str]] = field(default_factory=list)
    left: Iterator[Trial] | None = None

    def next(self) -> Trial | None:
        """The next trial; None when all were begun."""
        self.left = self.trials() if self.left is None else self.left
        return next(self.left, None)

    @property
    def failed(self) -> list[tuple[str, str, str]]:
        return [o for o in self.outcomes if o[1] not in (*GOOD, "skipped")]

    @property
    def tried(self) -> int:
        return sum(o[1] != "skipped" for o in self.outcomes)


GOOD = ("equal", "refused", "read", "untouched")


def draws(seed: int, name: str, make: Callable[[random.Random, int], Trial]) -> Iterator[Trial]:
    """Trials without end, each with a random generator of its own."""
    number = 0
    while True:
        yield make(random.Random(f"{seed}/{name}/{number}"), number)
        number += 1


@dataclass(frozen=True)
class _Running:
    category: Category
    name: str
    folder: Path
    began: float


def run_all(categories: list[Category], folder: Path, seconds: float, jobs: int) -> None:
    """Fill `outcomes` of each category; who has had the least of its share of the time is next."""
    end, running, count = time.monotonic() + seconds, dict[int, _Running](), 0
    open_ones = list(categories)
    while open_ones or running:
        while open_ones and len(running) < jobs:
            category = min(open_ones, key=lambda c: c.seconds / c.weight)
            late = time.monotonic() > end
            here = category.tried or len(category.outcomes) < 3  # it can be made here
            trial = None if late or not here else category.next()
            if trial is None:
                open_ones.remove(category)
                continue
            count += 1
            began = _Running(category, trial.name, folder / f"trial{count}", time.monotonic())
            running[_fork(trial, began.folder)] = began
        _reap(running)


def _fork(trial: Trial, folder: Path) -> int:
    folder.mkdir(parents=True)
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    os.setpgid(0, 0)
    with (folder / "outcomes.jsonl").open("a", encoding="utf-8") as file:

        def report(case: str, outcome: str, word: str = "") -> None:
            file.write(json.dumps([case, outcome, word]) + "\n")
            file.flush()

        try:
            report(trial.name, trial.act(folder, report))
        except Bad as bad:
            report(trial.name, bad.kind, bad.word)
        except Skipped as why:
            report(trial.name, "skipped", str(why))
        except BaseException:
            report(trial.name, "broken", traceback.format_exc()[-600:])
    os._exit(0)


def _reap(running: dict[int, _Running]) -> None:
    """Take in what has ended; kill what takes too long."""
    time.sleep(0.01)
    for pid, one in list(running.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        late = not done and time.monotonic() - one.began > LIMIT
        if late:
            os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        if done or late:
            del running[pid]
            one.category.seconds += time.monotonic() - one.began
            lines = (one.folder / "outcomes.jsonl").read_text("utf-8").splitlines()
            found = [json.loads(line) for line in lines]
            if status:  # it did not get to its own end: the case that was begun last is to blame
                case = found.pop()[0] if found and found[-1][1] == "begun" else one.name
                found.append([case, "hang" if late else "crash", f"wait status {status}"])
            seen = [(c, o, _line(w, one.folder)) for c, o, w in found if o != "begun" and o]
            one.category.outcomes += seen
            shutil.rmtree(one.folder, ignore_errors=True)


def _line(word: str, folder: Path) -> str:
    """A word in one line, without the trial's own folder."""
    return " ".join(word.replace(f"{folder}/", "").split())
