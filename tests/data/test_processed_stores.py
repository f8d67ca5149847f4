"""Processes share the processing of a split, and take over the work of the dead."""

from __future__ import annotations

import errno
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from listed_data import texts

from msdkit.data.inputs import ModelInputs
from msdkit.errors import DataError
from msdkit.processors.base import Processor
from msdkit.store.format import INDEX
from msdkit.store.shards import shards
from msdkit.store.store import FeatureStore
from msdkit.store.writer import FeatureStoreWriter
from msdkit.types import Modality

TEXTS = [f"text {i % 23}" for i in range(40)]


class Letters(Processor):
    """Letters by their code; notes what it was asked for."""

    modality = Modality("tokens", 200)
    asked: ClassVar[list[str]] = []

    def __call__(self, raw: str) -> np.ndarray:
        """text -> int64 [L]"""
        self.asked.append(raw)
        return np.array([ord(c) for c in raw])


def read_letters(cache: Path) -> list[str]:
    """What a process that opens the data reads."""
    values, mask = ModelInputs(texts(*TEXTS), {"text": Letters()}, cache).batch(range(40))["text"]
    return ["".join(map(chr, v[m].tolist())) for v, m in zip(values, mask, strict=True)]


def test_processes_share_the_work_and_take_over_that_of_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads stand for processes: the locks are those of open files."""
    for name, value in {"SHARD": 5, "CHUNK": 1}.items():
        monkeypatch.setattr(f"msdkit.data.inputs.{name}", value)
    monkeypatch.setattr("msdkit.io.locks.POLL", 0.01)
    monkeypatch.setattr(Letters, "asked", [])
    assert read_letters(tmp_path / "first") == TEXTS
    store = next((tmp_path / "first" / "processed").iterdir())
    folders = [shard.folder(store).name for shard in shards(5)]
    assert sorted(path.name for path in store.iterdir()) == [INDEX, *folders]

    Letters.asked.clear()
    other = FeatureStoreWriter(
        tmp_path / "second" / "processed" / store.name / folders[1], 1, "int32"
    )
    other.add("text 5", Letters()("text 5"))
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_letters, tmp_path / "second") for _ in range(2)]
        while len(Letters.asked) < 23 - 5 + 1:
            time.sleep(0.01)
        assert not any(reader.done() for reader in readers)
        other.close()  # as by a kill
        assert [reader.result() for reader in readers] == [TEXTS] * 2
    assert sorted(Letters.asked) == sorted(f"text {i}" for i in range(23))
    again = FeatureStore(tmp_path / "second" / "processed" / store.name)
    assert again.fingerprint == FeatureStore(store).fingerprint


def test_a_disk_that_cannot_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes it for another process's work waits for ever."""

    def flock(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(DataError, match=r"cannot lock files beside .*Input/output error"):
        read_letters(tmp_path)
