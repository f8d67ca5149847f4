"""Where the cache lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from msdkit.io.cache import cache_dir


def test_cache_dir_is_the_variable_or_below_iopath(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("MSDKIT_CACHE")
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path / "msdkit"
