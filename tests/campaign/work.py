"""Commands of msdkit in forked processes, and what they came to."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shim import Shim

TIMEOUT = 120.0  # seconds, of one command
ELSE = ("examples_per_second", "seconds_this_session", "run_dir", "cost", "config", "teachers")


class Bad(Exception):
    """What should not happen: `kind`, such as "traceback", and a word on it."""

    def __init__(self, kind: str, word: str) -> None:
        super().__init__(f"{kind}: {word}")
        self.kind, self.word = kind, word


@dataclass(frozen=True)
class Ended:
    """How a command ended. code: less than 0 for a signal, None for no end; told: its errors."""

    words: tuple[str, ...]
    code: int | None
    out: str
    told: str

    @property
    def error(self) -> str:
        """What stands after `error: `."""
        return self.told.rpartition("error: ")[2].strip()

    def outcome(self, signals: tuple[int, ...] = ()) -> str:
        """ "ok", "refused" (one clear error, exit code 2), or "stopped" by one of the signals; Bad
        for any other end."""
        doing = " ".join(self.words)[:80]
        if self.code in {x for s in signals for x in (-s, 128 + s)}:
            return "stopped"
        if self.code is None:
            raise Bad("hang", doing)
        if "Traceback (most recent call last)" in self.told:
            raise Bad("traceback", f"{doing}: {self.told.strip().splitlines()[-1][:160]}")
        if self.code < 0:
            raise Bad("crash", f"{doing}: {signal.Signals(-self.code).name}")
        if self.code == 0:
            return "ok"
        if self.code == 2 and "error: " in self.told and self.error:
            return "refused"
        raise Bad("exit", f"{doing}: {self.code}: {self.told.strip()[-160:]}")


@dataclass(frozen=True)
class Started:
    """A command at work."""

    words: tuple[str, ...]
    pid: int
    files: tuple[Path, Path]

    def ended(self, timeout: float = TIMEOUT) -> Ended:
        """Its end; a process that does not end in time is killed."""
        end, code = time.monotonic() + timeout, None
        while code is None and time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if pid else None
            time.sleep(0.0 if pid else 0.004)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        out, told = (path.read_text("utf-8", "replace") for path in self.files)
        return Ended(self.words, code, out, told)


def start(
    folder: Path,
    *words: str,
    before: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
    shim: Shim | None = None,
    report: bool = False,
    wait: float = 0,
) -> Started:
    """`msdkit WORDS` in a folder that holds its cache. before, after: called in the process first,
    for instance to set limits, and last; report: whether `run` and `compare` write their pages,
    which takes longer than all else."""
    number = time.monotonic_ns()
    files = (folder.parent / f"{number}.out", folder.parent / f"{number}.err")
    for path in files:
        path.touch()
    pid = os.fork()
    if pid == 0:
        _child(folder, words, files, before, after, shim, report, wait)
    return Started(words, pid, files)


def command(folder: Path, *words: str, timeout: float = TIMEOUT, **about: Any) -> Ended:
    """As `start`, to the end."""
    return start(folder, *words, **about).ended(timeout)


def _child(folder, words, files, before, after, shim, report, wait) -> None:  # type: ignore[no-untyped-def]
    code = 1
    try:
        for place, path in enumerate(files, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), place)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ["MSDKIT_CACHE"] = str(folder / "cache")
        _quick(report)
        time.sleep(wait)
        if shim:
            shim.install()
        before()
        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        after()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def main(words: tuple[str, ...]) -> int:
    """The program in this process: its exit code."""
    from msdkit.cli import commands as cli

    try:
        cli.main(list(words))
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _quick(report: bool) -> None:
    """Leave out what only takes time: the costs, git, and the page."""
    from msdkit.runs import evaluate, folder
    from msdkit.runs.results import Cost

    cost = Cost(parameters=1, flops_per_example=1.0, examples_per_second=1.0)
    evaluate.costs = lambda *_: {"student": cost, "teacher": cost}
    folder._git = lambda *_: None
    if not report:
        import msdkit.report as pages

        pages.write_report = lambda folders, out, **_: out


def numbers(*folders: Path) -> dict[str, str]:
    """{file: a digest of the numbers in it} of what runs, sweeps and studies write."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (read := _reader(path)) is not None:
                found[str(path.relative_to(folder))] = _digest(path, read)
    return found


def _digest(path: Path, read: Callable[[Path], Any]) -> str:
    try:
        content = json.dumps(read(path), sort_keys=True).encode()
    except Exception:  # damaged: nothing of it is equal
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]


def _reader(path: Path) -> Callable[[Path], Any] | None:
    if path.name in ("metrics.jsonl", "weights.jsonl"):
        return lambda p: [_timeless(json.loads(row)) for row in p.read_text("utf-8").splitlines()]
    if path.name in ("results.json", "sweep.json", "compare.json") or "slices-" in path.name:
        return lambda p: _timeless(json.loads(p.read_text("utf-8")))
    if path.name == "model.safetensors" and path.parent.name == "best":
        return _tensors
    if path.name.startswith("predictions") or path.suffix == ".bin":
        return lambda p: hashlib.sha256(p.read_bytes()).hexdigest()
    return None


def _tensors(path: Path) -> dict[str, str]:
    from safetensors.numpy import load_file

    return {k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in load_file(path).items()}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in ELSE}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def require_equal(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Bad unless both are the same."""
    other = [k for k in sorted({*found, *expected}) if found.get(k) != expected.get(k)]
    if other:
        raise Bad("unnoticed", f"other numbers in {', '.join(other)[:120]}")


def shown(text: str) -> str:
    """What was printed, without what depends on the moment."""
    return re.sub(r"[0-9.,]+ ?(s|examples/s)\b", "", text)
