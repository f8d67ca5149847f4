"""Texts and arrays on disk: what is put in comes back, and equal texts are found."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from msdkit.errors import ConfigError
from msdkit.io import arrays as disk_arrays
from msdkit.io import strings
from msdkit.io.arrays import ArrayWriter, on_disk
from msdkit.io.owned import MARK
from msdkit.io.strings import find, first_rows, repeated, stored, table

TEXTS = ["one", "", "zwei ü", "\udce9.png", "one", "x" * 300, "", "last"]


@pytest.fixture(params=[1, 1 << 18])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with everything on disk and in the smallest portions."""
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", request.param)
    monkeypatch.setattr(strings, "CHUNK", min(request.param + 2, 1000))
    monkeypatch.setattr(strings, "BUCKET", min(request.param + 1, 1000))


@pytest.mark.usefixtures("small")
def test_texts_come_back() -> None:
    held = stored(iter(TEXTS))
    assert len(held) == len(TEXTS)
    assert list(held) == TEXTS
    assert [held[i] for i in range(-8, 8)] == TEXTS * 2
    assert (held[2:5], held[::-3], held[5:2]) == (TEXTS[2:5], TEXTS[::-3], [])
    assert "zwei ü" in held
    assert held.index("last") == 7
    with pytest.raises(IndexError):
        held[8]
    assert list(pickle.loads(pickle.dumps(held))) == TEXTS
    assert list(stored([])) == []


@pytest.mark.usefixtures("small")
def test_texts_at_rows() -> None:
    chosen = stored(TEXTS).at(np.array([7, 0, 7, 3]))
    assert list(chosen) == ["last", "one", "last", TEXTS[3]]
    assert chosen[-1] == TEXTS[3]
    assert list(chosen.at(np.array([2, 1]))) == ["last", "one"]


@pytest.mark.usefixtures("small")
def test_equal_texts_are_found() -> None:
    assert first_rows(TEXTS).tolist() == [0, 1, 2, 3, 5, 7]
    assert repeated(TEXTS) == 4
    assert repeated(["a", "b", "c", "a"]) == 3
    assert repeated(["a", "b"]) is None
    draws = [str(n) for n in np.random.default_rng(0).integers(60, size=200)]
    first = {text: row for row, text in reversed(list(enumerate(draws)))}
    assert first_rows(draws).tolist() == sorted(first.values())
    held = table(draws)
    assert find(held, [*draws, "none"]).tolist() == [*(first[d] for d in draws), -1]
    assert find(table([]), ["a"]).tolist() == [-1]


@pytest.mark.usefixtures("small")
def test_arrays_come_back() -> None:
    array = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    found = on_disk(array)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array)
    found += 1  # writable, so that torch may share it
    assert on_disk(np.zeros((0, 4))).shape == (0, 4)


def test_files_of_the_cache_have_no_name(own_cache: Path) -> None:
    writer = ArrayWriter(np.int64)
    for n in range(50_000):
        writer.write(n.to_bytes(8, "little"))
    assert writer.finish()[::9999].tolist() == [0, 9999, 19998, 29997, 39996, 49995]
    assert [file.name for file in own_cache.rglob("*") if file.is_file()] == [MARK]


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"file is a file, not a folder; .*MSDKIT_CACHE="):
        on_disk(np.zeros(100_000))
