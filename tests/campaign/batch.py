"""Many cases of odd input in one process."""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from subject import Subject
from trial import Report, Trial
from work import Bad

BATCH, PATIENCE = 25, 30  # cases in one process; seconds of one of them
MEMORY = 3 << 30  # bytes beyond what the process begins with


def batch(
    subject: Subject, case: Callable[[random.Random, Path], str], draw: random.Random, number: int
) -> Trial:
    """A trial of many cases, each made from a generator of its own, in one process whose memory is
    limited: what asks for much more than it holds gets none."""

    def act(folder: Path, report: Report) -> str:
        work = subject.copy(folder)
        os.chdir(work)
        os.environ["MSDKIT_CACHE"] = str(work / "cache")
        sys.stdout = sys.stderr = io.StringIO()
        signal.signal(signal.SIGALRM, _too_long)
        used = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
        room = used * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        for i in range(BATCH):
            name = f"#{number}.{i}"
            report(name, "begun", "")
            own = random.Random(f"{draw.random()}")
            signal.alarm(PATIENCE)
            try:
                report(name, case(own, work), "")
            except Bad as bad:
                report(name, bad.kind, bad.word)
            except Exception as error:
                report(name, "traceback", f"{type(error).__name__}: {error}"[:200])
            signal.alarm(0)
        return ""

    return Trial(f"#{number}", act)


def _too_long(_: int, frame: FrameType | None) -> None:
    while frame is not None and "/msdkit/" not in frame.f_code.co_filename:
        frame = frame.f_back
    raise Bad("hang", f"more than {PATIENCE} s in {_line(frame, frame.f_lineno) if frame else '?'}")


def place(error: BaseException) -> str:
    """An error, and the line of msdkit that it came through last."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = _line(trace.tb_frame, trace.tb_lineno) or where
        trace = trace.tb_next
    return f"{type(error).__name__} in {where}: {str(error)[:120]!r}"


def _line(frame: FrameType, number: int) -> str:
    """FILE:LINE of msdkit; empty elsewhere."""
    _, ours, name = frame.f_code.co_filename.rpartition("/msdkit/")
    return f"{name}:{number}" if ours else ""
