"""Stopping in good order when a signal asks for it."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

from msdkit.parallel import is_main

# Ctrl-C, the end of a terminal, of a job, and what batch systems send before they take a job away
ASKING = ("SIGINT", "SIGHUP", "SIGTERM", "SIGUSR1", "SIGUSR2")  # Windows has two of them
SIGNALS = [getattr(signal, name) for name in ASKING if hasattr(signal, name)]
WAIT = b"\nstopping after this step; Ctrl-C again leaves at once\n"


class Stopped(SystemExit):
    """A signal came; everything is saved. The exit code is the shell's: 128 and its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class StopSignal:
    """`with StopSignal() as stop`: inside, SIGINT, SIGHUP, SIGTERM, SIGUSR1 and SIGUSR2 only make
    `stop.asked` true; a second SIGINT is a KeyboardInterrupt.

    A signal that is ignored stays so, as `nohup` wants. Outside of the main thread, where none can
    be caught, nothing is asked.
    """

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        return self.number is not None

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            caught = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._ask) for number in caught}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT:
            if self.asked:
                raise KeyboardInterrupt
            if is_main():
                with suppress(OSError):  # not by a stream, which may be at work in this thread
                    os.write(2, WAIT)
        self.number = self.number or number

    def stopped(self) -> Stopped:
        """What ends the training; where another process was asked, as SIGTERM does."""
        return Stopped(self.number or signal.SIGTERM)

    def __exit__(self, *_: Any) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
