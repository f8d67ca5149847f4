"""Two processes at once, and folders of others."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

from shim import Shim
from subject import IMPORT, METHODS, OTHER, RUN, SWEEP, Subject
from trial import Category, Report, Trial, draws
from work import Bad, command, numbers, require_equal, start

EVALUATE = ("evaluate", "runs/student")
CACHE = ("cache", "student.yaml")
PAIRS = [
    (RUN, RUN),
    (RUN, OTHER),
    (RUN, EVALUATE),
    (EVALUATE, EVALUATE),
    (CACHE, CACHE),
    (CACHE, RUN),
    (SWEEP, SWEEP),
    (METHODS, METHODS),
    (IMPORT, IMPORT),
]
OURS = ["best/model.bin", "best/model.json", "last/x", "last.old/x", "metrics.jsonl", "a.claim"]
OURS += ["predictions.jsonl", "results.json", "config.yaml", "environment.json", "report.html"]
OURS += ["sweep.json", "trials/0/x", "index.safetensors", "features.bin", "journal.jsonl"]
OURS += ["teacher/x", "processed/x", ".best.partial/x", "best.old/x", "study.json", "weights.jsonl"]
COMMANDS = [
    ("run", "student.yaml", "run_dir=theirs"),
    ("run", "student.yaml", "run_dir=theirs", "--tiny"),
    ("compare", "a.yaml", "--base", "student.yaml", "--out", "theirs"),
    ("sweep", "student.yaml", "space.yaml", "--trials", "1", "--out", "theirs"),
    ("features", "import", "regions", "--to", "theirs"),
    ("features", "import", "regions", "--to", "theirs", "--shard", "1/2"),
    ("evaluate", "theirs"),
    ("report", "runs/student", "-o", "theirs/metrics.jsonl"),
    ("predict", "runs/student", "--input", "rows/test.jsonl", "--output", "theirs/config.yaml"),
    ("clean",),
]


def categories(subject: Subject, seed: int) -> list[Category]:
    """Two at once, and folders that are not ours."""
    return [
        Category(
            "two at once",
            "two commands on one folder, some killed: each ends well or is told; same numbers",
            lambda: draws(seed, "pairs", partial(_pair, subject)),
            weight=1.5,
        ),
        Category(
            "folders of others",
            "every command that writes, into a folder with files named like ours: none changes",
            lambda: draws(seed, "others", partial(_others, subject)),
        ),
    ]


def _pair(subject: Subject, draw: random.Random, number: int) -> Trial:
    pair = list(draw.choice(PAIRS))
    draw.shuffle(pair)
    delay = draw.uniform(0, 1.2)
    at = draw.randrange(200) if draw.random() < 0.3 else None
    killed = f", the first killed at {at}" if at is not None else ""

    def act(folder: Path, report: Report) -> str:
        finished = EVALUATE in pair and RUN not in pair
        work = subject.copy(folder, *(() if finished else ("runs/student", "sweep", "study")))
        if not finished and draw.random() < 0.5:
            import shutil

            shutil.rmtree(work / "cache")
        first = start(work, *pair[0], shim=None if at is None else Shim(work, at))
        second = start(work, *pair[1], wait=delay)
        for one in (first, second):
            one.ended(120).outcome((9,) if one is first and at is not None else ())
        return _settled(work, subject, pair)

    names = " and ".join(" ".join(words)[:40] for words in pair)
    return Trial(f"#{number} {names}{killed}", act)


def _settled(work: Path, subject: Subject, pair: list[tuple[str, ...]]) -> str:
    """The same commands, one after the other, come to what they come to undisturbed."""
    student = work / "runs/student"
    if {RUN, OTHER} & set(pair):
        ended = [command(work, *words) for words in (RUN, OTHER)]
        if [one.outcome() for one in ended].count("ok") != 1:
            raise Bad("lost", f"one of both goes on: {[one.told[-120:] for one in ended]}")
        own = "student" if ended[0].code == 0 else "other"
        kept = numbers(student)
        require_equal({k: v for k, v in kept.items() if "-test" not in k}, subject.expected[own])
        return "equal"
    ended_again = command(work, *pair[0])
    if ended_again.outcome() == "refused" and "exists" not in ended_again.error:
        raise Bad("lost", ended_again.error[:160])
    for words, name in ((SWEEP, "sweep"), (METHODS, "study")):
        if words in pair:
            require_equal(numbers(work / name), numbers(subject.base / name))
    if CACHE in pair:
        command(work, *RUN).outcome()
        require_equal(numbers(student), subject.expected["student"])
    return "equal"


def _others(subject: Subject, draw: random.Random, number: int) -> Trial:
    words, names = draw.choice(COMMANDS), draw.sample(OURS, draw.randint(1, 8))
    if words[-1].startswith("theirs/"):
        names.append(words[-1].removeprefix("theirs/"))
    as_cache = draw.random() < 0.15

    def act(folder: Path, report: Report) -> str:
        work = subject.copy(folder)
        theirs = work / ("cache" if as_cache else "theirs")
        if as_cache:
            theirs.rename(work / "aside")
        for name in names:
            (theirs / name).parent.mkdir(parents=True, exist_ok=True)
            (theirs / name).write_bytes(draw.randbytes(20))
        before = _state(theirs)
        ended = command(work, *(RUN if as_cache else words))
        after = _state(theirs)
        other = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        if other:
            raise Bad("touched", f"{' '.join(words)}: {', '.join(sorted(other))[:160]}")
        ended.outcome()
        return "untouched"

    return Trial(f"#{number} {'cache' if as_cache else ' '.join(words)}", act)


def _state(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b""
        for p in folder.rglob("*")
    }
