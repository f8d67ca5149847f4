"""Places where nothing can be written: full disks, limits, read-only ones, odd paths."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kills import _goes_on
from subject import RUN, Subject
from trial import Category, Report, Skipped, Trial, draws
from work import Bad, Ended, command, numbers, require_equal

NEW_NAMES, PRIVATE, READ_ONLY, REMOUNT = 0x20000, 0x44000, 1, 32  # of Linux' mount(2)
ODD: dict[str, Callable[[Path], None]] = {
    "run_dir=a\x00b": lambda work: None,
    "run_dir=" + "n" * 300: lambda work: None,
    "run_dir=student.yaml": lambda work: None,
    "run_dir=student.yaml/below": lambda work: None,
    "run_dir=loop": lambda work: (work / "loop").symlink_to("loop"),
    "run_dir=nowhere": lambda work: (work / "nowhere").symlink_to("not/there"),
    "run_dir=/proc/none": lambda work: None,
    "dataset.folder=student.yaml": lambda work: None,
    "dataset.folder=rows\x00": lambda work: None,
    "teacher.run=student.yaml": lambda work: None,
    "teacher.run=/proc/self/mem": lambda work: None,
    "student.processors.region.store=rows": lambda work: None,
    "student.processors.region.store=student.yaml": lambda work: None,
}


def categories(subject: Subject, seed: int) -> list[Category]:
    """Full disks, and other places that refuse."""
    return [
        Category(
            "disk full",
            "run folder and cache on a disk of 8 KiB to nearly enough; a larger disk; same command",
            lambda: draws(seed, "disk", partial(_full, subject)),
            weight=1.5,
        ),
        Category(
            "refusing places",
            "read-only disks, file-size and memory limits, odd paths; without them: same command",
            lambda: draws(seed, "places", partial(_refusing, subject)),
        ),
    ]


class Disk:
    """A disk of its own in memory, which no other process sees; Skipped where that needs more
    rights."""

    def __init__(self, place: Path, size: int) -> None:
        self.place, self.libc = str(place).encode(), ctypes.CDLL(None, use_errno=True)
        self._call("unshare", NEW_NAMES)
        self._call("mount", b"none", b"/", None, PRIVATE, None)
        self._mount(0, size)

    def again(self, size: int, flags: int = 0) -> None:
        """The same disk with another size or other rights."""
        self._mount(REMOUNT | flags, size)

    def _mount(self, flags: int, size: int) -> None:
        self._call("mount", b"tmpfs", self.place, b"tmpfs", flags, f"size={size}".encode())

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self.libc, name)
        function.argtypes = None
        given = [
            ctypes.c_ulong(a) if name == "mount" and isinstance(a, int) else a for a in arguments
        ]
        if function(*given) != 0:
            raise Skipped(f"{name} needs rights: {os.strerror(ctypes.get_errno())}")


def _on_disk(subject: Subject, folder: Path, size: int) -> tuple[Path, Disk]:
    """A working folder whose runs and cache lie on a disk of that size."""
    work = subject.copy(folder, "runs", "cache")
    (work / "disk").mkdir()
    disk = Disk(work / "disk", 1 << 26)
    for name in ("runs", "cache"):
        (work / "disk" / name).mkdir()
        (work / name).symlink_to(f"disk/{name}")
    (work / "teacher").symlink_to(subject.base / "runs/teacher")
    disk.again(size)
    return work, disk


SAME = (*RUN, "teacher.run=teacher")


def _clear(ended: Ended, words: tuple[str, ...] = ("",)) -> str:
    """The outcome; Bad for an error of the system that has several lines, or that does not name
    the cause."""
    outcome = ended.outcome()
    if outcome == "refused" and words != ("",) and len(ended.error.splitlines()) > 1:
        raise Bad("many lines", ended.error[:160])
    if outcome == "refused" and not any(word in ended.error for word in words):
        raise Bad("unclear", ended.error[:160])
    return outcome


def _again(work: Path, subject: Subject) -> str:
    ended = command(work, *SAME)
    if ended.outcome() != "ok":
        raise Bad("lost", ended.error[:160])
    require_equal(numbers(work / "runs/student"), subject.expected["student"])
    return "equal"


def _full(subject: Subject, draw: random.Random, number: int) -> Trial:
    size = int(2 ** draw.uniform(13, 19.5))

    def act(folder: Path, report: Report) -> str:
        work, disk = _on_disk(subject, folder, size)
        _clear(command(work, *SAME), ("No space left", "disk"))
        disk.again(1 << 26)
        return _again(work, subject)

    return Trial(f"#{number} {size} bytes", act)


def _refusing(subject: Subject, draw: random.Random, number: int) -> Trial:
    kind = draw.choice(["read-only", "file size", "memory", "odd path"])
    size, late, odd = draw.randrange(20_000), draw.random() < 0.5, draw.choice(list(ODD))
    room = draw.randrange(50, 600) << 20

    def read_only(folder: Path, report: Report) -> str:
        work, disk = _on_disk(subject, folder, 1 << 26)
        if late:
            _again(work, subject)
            (work / "runs/student/results.json").unlink()
        disk.again(1 << 26, READ_ONLY)
        _clear(command(work, *SAME), ("Read-only", "read-only", "cannot"))
        disk.again(1 << 26)
        return _again(work, subject)

    def file_size(folder: Path, report: Report) -> str:
        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        work = subject.copy(folder, "runs/student")
        _clear(command(work, *RUN, before=limit), ("File too large", "limit"))
        return _goes_on(work, subject.expected["student"])

    def memory(folder: Path, report: Report) -> str:
        def limit() -> None:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))

        work = subject.copy(folder)
        words = ("student.hidden=4096", "run_dir=runs/large", "--tiny")
        return _clear(command(work, *RUN, *words, before=limit), ("emory",))

    def odd_path(folder: Path, report: Report) -> str:
        work = subject.copy(folder)
        ODD[odd](work)
        before = numbers(work)
        outcome = _clear(command(work, *RUN, odd))
        require_equal({k: numbers(work).get(k) for k in before}, before)
        return "equal" if outcome == "ok" else outcome

    acts = {"read-only": read_only, "file size": file_size, "memory": memory}
    word = {"file size": f"{size}", "memory": f"{room >> 20} MiB", "odd path": odd[:40]}
    act = acts.get(kind, odd_path)
    return Trial(f"#{number} {kind} {word.get(kind, '')!r}", act_ok(act))


def act_ok(act: Callable[[Path, Report], str]) -> Callable[[Path, Report], str]:
    """A command that ends well where it may: that is as good as a refusal."""
    return lambda folder, report: {"ok": "equal"}.get(found := act(folder, report), found)
