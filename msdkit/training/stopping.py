"""Stopping in good order when SIGTERM comes."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Stopped(SystemExit):
    """SIGTERM came; everything is saved. The exit code is the shell's: 128 + 15."""

    def __init__(self) -> None:
        super().__init__(143)


class StopSignal:
    """`with StopSignal() as stop`: inside, SIGTERM only makes `stop.asked` true.

    Outside of the main thread, where no signal can be caught, it stays false.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def _ask(self, *_: Any) -> None:
        self.asked = True

    def __exit__(self, *_: Any) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
