"""Fixtures that any test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

# Before torch is imported: on tensors this small more threads only wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")

from checked_config import checked
from packages import write_fake_assets, write_fake_emoji
from plugins import plugins_forgotten

from msdkit.config.validation import Validation


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test pulls the plug, so none waits until the disk holds what it writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def fake_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with tiny packages and encoders in place of the real ones, for who sets it."""
    cache = tmp_path_factory.mktemp("cache")
    write_fake_assets(cache)
    return cache


@pytest.fixture
def fake_assets(fake_packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as this test's cache; nothing is fetched."""
    monkeypatch.setenv("MSDKIT_CACHE", str(fake_packages))
    return fake_packages


@pytest.fixture
def fake_emoji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own cache with pictures, names and meanings alone: quick, and free to be written to."""
    cache = tmp_path / "cache"
    write_fake_emoji(cache)
    monkeypatch.setenv("MSDKIT_CACHE", str(cache))
    return cache


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Validation]:
    """check({what to change in a right config}, override, …) -> what validation finds"""
    return partial(checked, tmp_path / "mine.yaml")


@pytest.fixture(autouse=True)
def own_plugins() -> Iterator[None]:
    """No test sees the plugins of another."""
    with plugins_forgotten():
        yield


@pytest.fixture(scope="session")
def toy_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a teacher of the toy data set."""
    from toy import PLAIN, configured

    from msdkit.runs.runner import run

    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch, plugins_forgotten():
        patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
        run(configured(folder / "teacher.yaml", PLAIN, student={"hidden": 32}))
    return folder / "teacher"
