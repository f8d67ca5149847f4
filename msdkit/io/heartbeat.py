"""Claims on disks that know no locks: a file that its holder touches, free when it is left cold."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

BEAT, COLD = 15.0, 60.0  # seconds between touches; after how many without one a claim is free


class Heartbeat:
    """A file that this process made and touches until it is stopped or ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stopped = threading.Event()
        self._process = os.getpid()
        threading.Thread(target=self._beat, daemon=True).start()

    def stop(self) -> None:
        """Let go; a child process, which inherits nothing that beats, leaves the file."""
        self._stopped.set()
        if os.getpid() == self._process:
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT):
            try:
                os.utime(self.path)
            except OSError:  # the disk is away; it may come back
                continue


def begin(path: Path) -> Heartbeat | None:
    """A claim by the file `path`; None while another process touches it.

    Whether it does is read off the disk's own clock, so that those of hosts need not agree. A
    process that is kept from running for longer than `COLD` has lost its claim unawares.
    """
    for _ in range(2):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if not _buried(path):
                return None
        else:
            return Heartbeat(path)
    return None


def _buried(path: Path) -> bool:
    """Take a cold claim away; whether there is none now."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        seen = path.stat()
        aside.touch()
        if aside.stat().st_mtime - seen.st_mtime < COLD:
            return False
        path.replace(aside)  # of several processes one succeeds
        if (
            aside.stat().st_mtime_ns != seen.st_mtime_ns
        ):  # another was faster, and this is its new claim
            aside.replace(path)
            return False
    except FileNotFoundError:  # it ended since we looked
        return True
    finally:
        aside.unlink(missing_ok=True)
    return True
