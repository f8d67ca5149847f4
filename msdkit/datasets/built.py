"""Data sets that are built once from pinned packages, in a folder that their recipe names."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msdkit.errors import DataError
from msdkit.hub import packages as assets
from msdkit.io.files import publish, scratch_folder
from msdkit.io.locks import claimed, until
from msdkit.progress import console


@dataclass(frozen=True)
class Build:
    """One data set to build.

    name: the data set's; recipe: the parameters that decide its files; packages: its sources, by
    name; version: raised when other files are written for the same recipe; patience: how long.
    """

    name: str
    recipe: Mapping[str, Any]
    packages: tuple[str, ...]
    version: int = 1
    patience: str = "about a minute"

    @property
    def folder(self) -> Path:
        """The place in the cache, named by a fingerprint of the recipe and its sources."""
        pins = [assets.PACKAGES[name].sha256 for name in self.packages]
        text = json.dumps([self.version, dict(self.recipe), pins], sort_keys=True)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:10]
        return assets.cache_dir() / "data" / f"{self.name}-{fingerprint}"

    def make(self, folder: str | None, write: Callable[[Path], Mapping[str, int]]) -> Path:
        """The folder with the files; if it is missing, `write` fills it and tells the sizes."""
        target = Path(folder) if folder else self.folder
        if not target.exists():
            assets.prefetch(self.packages)
            target.parent.mkdir(parents=True, exist_ok=True)
            others = f"another process builds {self.name} in {target}; waiting for it"
            until(lambda: self._built(target, write), lambda: others)
        self._check(target)
        return target.resolve()

    def _built(self, target: Path, write: Callable[[Path], Mapping[str, int]]) -> bool:
        """Whether it is there, by our work or another's."""
        with claimed(target) as ours:  # processes that start together build it once
            if ours:
                self._write(target, write)
        return target.exists()

    def _write(self, target: Path, write: Callable[[Path], Mapping[str, int]]) -> None:
        console().print(f"building {self.name} in {target} (once, {self.patience})")
        with scratch_folder(target, "building") as scratch:
            unfinished = scratch / "data"
            unfinished.mkdir()
            about = {"recipe": dict(self.recipe), "examples": dict(write(unfinished))}
            about["sources"] = self._licences()
            text = json.dumps(about, indent=2) + "\n"
            (unfinished / "about.json").write_text(text, encoding="utf-8")
            publish(unfinished, target)

    def lacking(self, folder: str | None, given: Mapping[str, Any]) -> str | None:
        """What must still be made and the command for it; None when the files are there."""
        if (Path(folder) if folder else self.folder).exists():
            return None
        words = {**({"folder": folder} if folder else {}), **given}
        told = {k: json.dumps(v) if isinstance(v, Mapping) else v for k, v in words.items()}
        pairs = [shlex.quote(f"{k}={v}") for k, v in told.items()]
        command = " ".join(["msdkit data build", self.name, *pairs])
        left = assets.missing(self.packages)
        fetch = f" (fetches {assets.megabytes(left):.0f} MB)" if left else ""
        return f"data set {self.name} is not built yet{fetch}: {command}"

    def _licences(self) -> dict[str, str]:
        pinned = (assets.PACKAGES[name] for name in self.packages)
        return {f"{entry.name} {entry.version}": entry.licence for entry in pinned}

    def _check(self, folder: Path) -> None:
        """A folder may only be read with the parameters that it was built with."""
        path = folder / "about.json"
        if not path.is_file():
            raise DataError(f"{folder} exists but holds no {self.name} data (no about.json)")
        try:
            built = json.loads(path.read_text(encoding="utf-8"))["recipe"]
            pairs = [(k, built.get(k), v) for k, v in self.recipe.items()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} does not tell how the data was built: {error!r}") from error
        wrong = [f"{k}={had!r}, not {asked!r}" for k, had, asked in pairs if had != asked]
        if wrong:
            raise DataError(f"{folder} was built with {'; '.join(wrong)}: give it another folder")
