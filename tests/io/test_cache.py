"""Where the cache lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from msdkit.io.cache import CACHE, cache_dir


def test_cache_dir_is_the_variable_or_below_iopath(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("MSDKIT_CACHE")
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path / "msdkit"


@pytest.mark.parametrize("name", [".msdkit", ".msdkit.0123abcd.partial", ".msdkit.claim"])
def test_a_cache_that_another_process_is_just_marking_is_ours(tmp_path: Path, name: str) -> None:
    for part in ("processed", "teacher"):
        (tmp_path / part).mkdir()
    (tmp_path / name).touch()
    assert CACHE.before(tmp_path)
    (tmp_path / "theirs").touch()
    assert not CACHE.before(tmp_path)
