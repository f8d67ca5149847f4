"""What a disk holds after a loss of power: what nobody waited for may be gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Tree = dict[str, Any]  # {name: bytes of a file, or the tree of a folder}


class Disk:
    """Watches a folder while something is written there; `states` are what a loss of power after
    each change of a name, and after each wait for the disk, may leave: with the names that are
    known to be there and with all of them, and of contents those that were waited for."""

    def __init__(self, root: Path) -> None:
        self.root, self.states = root, list[Tree]()
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._open: dict[int, int] = {}  # so that no number of a file is used again
        for folder, _, files in os.walk(root):
            self._synced(Path(folder))
            for name in files:
                self._synced(Path(folder, name))

    @contextmanager
    def watched(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        with patch.context() as inside:
            for name in ("replace", "rename", "unlink", "rmdir", "fsync"):
                inside.setattr(os, name, self._then_look(getattr(os, name), name == "fsync"))
            yield

    def _then_look(self, call: Callable[..., Any], syncs: bool) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            done = call(*arguments, **options)
            if syncs:
                self._synced(Path(f"/proc/self/fd/{arguments[0]}").resolve())
            self._look()
            return done

        return called

    def _synced(self, path: Path) -> None:
        number = self._number(path)
        if path.is_dir():
            self._names[number] = {child.name: self._number(child) for child in path.iterdir()}
        else:
            self._contents[number] = path.read_bytes()

    def _number(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self._open:
            self._open[number] = os.open(path, os.O_RDONLY)
        return number

    def _look(self) -> None:
        self.states += [self._known(self._number(self.root)), self._seen(self.root)]

    def _known(self, number: int) -> Tree:
        held = {}
        for name, child in self._names.get(number, {}).items():
            folder = Path(f"/proc/self/fd/{self._open[child]}").is_dir() or child in self._names
            held[name] = self._known(child) if folder else self._contents.get(child, b"")
        return held

    def _seen(self, folder: Path) -> Tree:
        return {
            path.name: self._seen(path)
            if path.is_dir()
            else self._contents.get(self._number(path), b"")
            for path in folder.iterdir()
        }

    def close(self) -> None:
        for number in self._open.values():
            os.close(number)


def restored(tree: Tree, folder: Path) -> Path:
    """The folder, as the disk shows it when power is back."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, held in tree.items():
        if isinstance(held, bytes):
            (folder / name).write_bytes(held)
        else:
            restored(held, folder / name)
    return folder
