"""Progress with rates and time left for everything that may take longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from msdkit.parallel import is_main

T = TypeVar("T")
QUIET, EVERY = 2.0, 15.0  # seconds: shorter work leaves no line in a log; how often long work does
_shown: list[Any] = []  # the bars on screen; inner work adds a line to them


class Advance(Protocol):
    """Moves a bar by `n`, with words such as the loss at its end."""

    def __call__(self, n: int = 1, /, text: str = "") -> None: ...


class Lasting:
    """A stream whose end, that of a terminal or a full disk, ends no work."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self.lost(error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self.lost(error)

    def lost(self, error: OSError) -> None:
        """What to do about it; here nothing."""


def console() -> Any:
    """The console that progress and messages go to: standard error, of the main process alone."""
    from rich.console import Console

    quiet = not is_main()
    file: Any = Lasting(sys.stderr)
    return Console(file=file, highlight=False, soft_wrap=True, markup=False, quiet=quiet)


@contextmanager
def bar(total: int, what: str, unit: str = "it", done: int = 0) -> Iterator[Advance]:
    """Shows work on `total` things of which `done` are done: a bar, or now and then a line in logs.

    Work inside of other work adds its bar below the outer one.
    """
    import rich.style  # noqa: F401 (now, and not at some step of a training: it draws at random)

    show = _bar if is_main() and sys.stderr.isatty() else _lines
    with show(total, what, unit, done) as advance:
        yield advance


@contextmanager
def _bar(total: int, what: str, unit: str, done: int) -> Iterator[Advance]:
    with _display() as progress:
        task = progress.add_task(what, total=total, completed=done, rate="", text="")
        start, count = time.monotonic(), 0

        def advance(n: int = 1, /, text: str = "") -> None:
            nonlocal count
            count += n
            rate = count / max(time.monotonic() - start, 1e-9)
            progress.update(task, advance=n, rate=speed(rate, unit), text=text)

        yield advance
        if len(_shown) and progress.tasks[0].id != task:
            progress.remove_task(task)


@contextmanager
def _display() -> Iterator[Any]:
    from rich import progress as parts

    if _shown:
        yield _shown[-1]
        return
    columns = [
        parts.TextColumn("{task.description}"),
        parts.BarColumn(bar_width=24),
        parts.MofNCompleteColumn(),
        parts.TextColumn("{task.fields[rate]}"),
        parts.TimeElapsedColumn(),
        parts.TextColumn("left"),
        parts.TimeRemainingColumn(),
        parts.TextColumn("{task.fields[text]}"),
    ]
    with parts.Progress(*columns, console=console()) as progress:
        _shown.append(progress)
        try:
            yield progress
        finally:
            _shown.pop()


@contextmanager
def _lines(total: int, what: str, unit: str, done: int) -> Iterator[Advance]:
    start, count, said = time.monotonic(), 0, time.monotonic()

    def advance(n: int = 1, /, text: str = "") -> None:
        nonlocal count, said
        count += n
        now = time.monotonic()
        if now - said > EVERY and done + count < total:
            said, rate = now, count / (now - start)
            left = f"{(total - done - count) / rate:.0f} s left"
            where = f"{done + count:,}/{total:,} {unit}"
            console().print(f"{what}: {where}, {speed(rate, unit)}, {left} {text}".rstrip())

    yield advance
    seconds = time.monotonic() - start
    if seconds > QUIET:
        rate = speed(count / seconds, unit)
        console().print(f"{what}: {count:,} {unit} in {seconds:.0f} s ({rate})")


def speed(rate: float, unit: str) -> str:
    """A rate per second; what is slower than one is told per minute."""
    return f"{rate:,.0f} {unit}/s" if rate >= 1 else f"{60 * rate:,.1f} {unit}/min"


def track(items: Iterable[T], total: int, what: str, unit: str = "it") -> Iterator[T]:
    """The items, with a bar."""
    with bar(total, what, unit) as advance:
        for item in items:
            yield item
            advance(1)
