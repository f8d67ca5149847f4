"""A shim below msdkit that counts what changes files, and stops its process at one of them."""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Shim:
    """Counts operations on files below `root`: opening to write, each write (two moments: before
    and halfway), rename, remove, folders made and gone, fsync, and safetensors' writing.

    at: the operation at which `signal` goes to the own process, halfway through a write, of those
    called `on` where that is given; None counts alone. A file's sync to the disk is counted and
    left out: no test pulls the plug.
    """

    root: Path
    at: int | None = None
    signal: int = signal.SIGKILL
    on: str = ""
    done: list[str] = field(default_factory=list)
    counted: int = 0

    def install(self) -> None:
        """From now on, in this process."""
        import safetensors.numpy
        import safetensors.torch

        sys.addaudithook(self._audit)
        for module in (io, builtins):
            module.open = self._opened  # type: ignore[attr-defined]
        os.fsync = lambda file: self.tick("fsync")
        for module in (safetensors.torch, safetensors.numpy):
            module.serialize_file = self._serialized(module.serialize_file)

    def tick(self, what: str, half: Callable[[], Any] = lambda: None) -> None:
        """One operation, before it is done; half: does a part of it."""
        self.done.append(what)
        if self.on in ("", what):
            self.counted += 1
            if self.at == self.counted - 1:
                if self.signal == signal.SIGKILL:  # after any other the process goes on
                    half()
                os.kill(os.getpid(), self.signal)

    def watched(self, path: Any) -> bool:
        """Whether a path lies below the root."""
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return False
        return os.path.abspath(path).startswith(f"{self.root}{os.sep}")  # noqa: PTH100

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if flags & WRITES and self.watched(path):
                self.tick(f"open {Path(os.fsdecode(path)).name}")
        elif event in CHANGES:
            relative = args[-1] not in (-1, None) and event in ("os.remove", "os.rmdir")
            if relative or self.watched(args[0]):
                self.tick(f"{event[3:]} {Path(os.fsdecode(args[0])).name}")

    def _opened(self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any):
        """As `open`; what is written goes through `_Counted`."""
        if not set(mode) & set("wax+") or not self.watched(file):
            return _open(file, mode, buffering, *more, **named)
        about = dict(
            zip(("encoding", "errors", "newline", "closefd", "opener"), more, strict=False)
        )
        about |= named
        closefd, opener = about.pop("closefd", True), about.pop("opener", None)
        raw = _Counted(self, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffer = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        if "b" in mode:
            return buffer
        return io.TextIOWrapper(buffer, **about, line_buffering=buffering == 1)

    def _serialized(self, original: Callable[..., None]) -> Callable[..., None]:
        def serialize_file(tensors: Any, filename: Any, *more: Any, **named: Any) -> None:
            if not self.watched(filename):
                return original(tensors, filename, *more, **named)

            def half() -> None:
                original(tensors, filename, *more, **named)
                os.truncate(filename, Path(filename).stat().st_size // 2)

            self.tick(f"begin {Path(filename).name}")
            self.tick(f"write {Path(filename).name}", half)
            return original(tensors, filename, *more, **named)

        return serialize_file


_open = builtins.open


class _Counted(io.FileIO):
    """A file whose writes are counted; the one at which the process stops is done by half."""

    def __init__(self, shim: Shim, *about: Any) -> None:
        super().__init__(*about)
        self.shim = shim

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        name = Path(str(self.name)).name
        self.shim.tick(f"write {name}", lambda: super(_Counted, self).write(view[: len(view) // 2]))
        return super().write(view)
