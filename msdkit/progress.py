"""Progress bars with rates and time left for everything that may take longer than two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Advance(Protocol):
    """Moves a bar by `n`, with words such as the loss at its end."""

    def __call__(self, n: int = 1, /, text: str = "") -> None: ...


def console() -> Any:
    """The console that progress and messages go to: standard error."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


@contextmanager
def bar(total: int, what: str, unit: str = "it", done: int = 0) -> Iterator[Advance]:
    """A bar over `total` things of which `done` are done; in a log file, one closing line."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    out = console()
    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        Left(),
        TextColumn("{task.fields[text]}"),
    ]
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        task = progress.add_task(what, total=total, completed=done, rate="", text="")

        def advance(n: int = 1, /, text: str = "") -> None:
            elapsed = progress.tasks[0].elapsed or 1e-9
            rate = (progress.tasks[0].completed + n - done) / elapsed
            progress.update(task, advance=n, rate=f"{rate:,.0f} {unit}/s", text=text)

        yield advance
        seconds = progress.tasks[0].elapsed or 0.0
    if not out.is_terminal and seconds > 2:
        rate = (total - done) / seconds
        out.print(f"{what}: {total:,} {unit} in {seconds:.0f} s ({rate:,.0f} {unit}/s)")


def track(items: Iterable[T], total: int, what: str, unit: str = "it") -> Iterator[T]:
    """The items, with a bar."""
    with bar(total, what, unit) as advance:
        for item in items:
            yield item
            advance(1)
