"""How the program ends: by one line on what kept it, never by a traceback for what a user can
mend."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from msdkit.failures import told
from msdkit.parallel import is_main
from msdkit.progress import Lasting

WRONG = 2  # the exit code of what a user can mend
GONE = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1  # nobody reads what we say


class OutputLost(OSError):
    """Standard output takes no more."""


class Output(Lasting):
    """Standard output, whose end is told from that of other files."""

    def lost(self, error: OSError) -> None:
        raise OutputLost(error.errno, error.strerror) from error


class Program(TyperGroup):
    """The commands; what they raise is told before typer sees it."""

    def invoke(self, ctx: Any) -> Any:
        with guarded():
            return super().invoke(ctx)


@contextmanager
def guarded() -> Iterator[None]:
    """Inside, what a user can mend ends the program with one line and exit code 2; a reader of
    standard output that has gone away, as `head` does, ends it in silence."""
    try:
        yield
    except OutputLost as error:
        if error.errno == errno.EPIPE:
            raise SystemExit(GONE) from None
        _end(f"writing standard output: {error.strerror}")
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        line = told(error)
        if line is None:
            raise
        _end(line)


@contextmanager
def speaking() -> Iterator[None]:
    """Inside, of several processes the main one speaks, and each tells its own mistakes; that
    nobody hears it ends no work."""
    with Path(os.devnull).open("w") as nowhere:
        out, err = sys.stdout or nowhere, sys.stderr or nowhere  # they may be closed
        heard: Any = Output(out) if is_main() else nowhere
        errors: Any = Lasting(err)
        try:
            with redirect_stdout(heard), redirect_stderr(errors):
                yield
        finally:
            for stream in (out, err):
                _drop(stream, nowhere)


def _end(line: str) -> None:
    where = "" if is_main() else f" in process {os.environ['RANK']}"
    typer.echo(f"error{where}: {line}", err=True)
    raise SystemExit(WRONG) from None


def _drop(stream: Any, nowhere: Any) -> None:
    """Let go of what a stream still holds and nobody takes: Python would fail of it at the end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere.fileno(), stream.fileno())
