"""Stores in shards are the same as stores from one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msdkit.errors import ConfigError, DataError
from msdkit.io.locks import StoreBusy
from msdkit.processors.regions import RegionStore
from msdkit.store.format import INDEX, read_index, write_index
from msdkit.store.shards import Shard, join, shards
from msdkit.store.store import FeatureStore
from msdkit.store.writer import FeatureStoreWriter


def records(dtype: str) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    lengths = [0, 1, 3, 2, 0, 0, 4, 4, 1, 0]
    if dtype == "int32":
        return {f"key {i}": draw.integers(99, size=n) for i, n in enumerate(lengths)}
    rows = {f"key {i}": draw.normal(size=(n, 3)) for i, n in enumerate(lengths)}
    return {key: found.astype(np.float32) for key, found in rows.items()}


def places(count: int) -> np.ndarray:
    """Boxes, x1 <= x2 and y1 <= y2."""
    return np.tile(np.linspace(0.1, 0.9, 4, dtype=np.float32), (count, 1))


def build(path: Path, data: dict[str, np.ndarray], dtype: str, boxes: bool = False) -> None:
    dim = 1 if dtype == "int32" else 3
    with FeatureStoreWriter(path, dim, dtype, boxes) as writer:  # type: ignore[arg-type]
        for key, array in data.items():
            writer.add(key, array, places(len(array)) if boxes else None)


def both(
    folder: Path, dtype: str, count: int = 4, boxes: bool = False, kind: Any = FeatureStore
) -> tuple[Any, Any]:
    """(one store, the same in shards of consecutive records; some shards may be empty)"""
    data = records(dtype)
    build(folder / "whole", data, dtype, boxes)
    for shard, keys in zip(shards(count), np.array_split(list(data), count), strict=True):
        assert not join(folder / "parts", count)
        build(shard.folder(folder / "parts"), {k: data[k] for k in keys}, dtype, boxes)
    assert join(folder / "parts", count)
    assert join(folder / "parts", count)
    return kind(folder / "whole"), kind(folder / "parts")


def plain_gather(store: Any, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Record by record."""
    found = [store[store.keys()[row]] for row in rows]
    longest = max(map(len, found), default=0)
    wide = np.int64 if found[0].dtype == np.int32 else np.float32
    values = np.zeros((len(rows), longest, *found[0].shape[1:]), wide)
    mask = np.zeros((len(rows), longest), bool)
    for i, record in enumerate(found):
        values[i, : len(record)], mask[i, : len(record)] = record, True
    return values, mask


@pytest.mark.parametrize("dtype", ["fp16", "fp32", "int32"])
@pytest.mark.parametrize("count", [2, 4, 12])
def test_shards_are_read_as_one_store(tmp_path: Path, dtype: str, count: int) -> None:
    whole, parts = both(tmp_path, dtype, count)
    assert parts.fingerprint == whole.fingerprint
    assert parts.keys() == whole.keys()
    assert parts.lengths.tolist() == whole.lengths.tolist()
    for key in whole:
        np.testing.assert_array_equal(parts[key], whole[key])
        assert parts[key].dtype == whole[key].dtype
    parts.verify()
    for rows in ([7, 2, 2, 9, 0], [4, 5], list(range(10)), [6, 7]):
        expected = plain_gather(whole, rows)
        for store in (whole, parts):
            found = store.gather(np.array(rows))
            for ours, plain in zip(found, expected, strict=True):
                assert ours.dtype == plain.dtype
                np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_regions_of_shards(tmp_path: Path, dtype: str) -> None:
    whole, parts = both(tmp_path, dtype, boxes=True, kind=RegionStore)
    np.testing.assert_array_equal(parts.boxes("key 6"), places(4))
    expected = plain_gather(whole, [7, 2, 1, 0])
    for store in (whole, parts):
        for ours, plain in zip(store.gather(np.array([7, 2, 1, 0])), expected, strict=True):
            np.testing.assert_array_equal(ours, plain)


def test_damage_in_a_shard_is_named(tmp_path: Path) -> None:
    _, parts = both(tmp_path, "fp32")
    data = tmp_path / "parts" / "shard-00002-of-00004" / "features.bin"
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="the record 'key 7' is damaged"):
        parts.verify()
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"shard-00002-of-00004: features\.bin has \d+ bytes"):
        FeatureStore(tmp_path / "parts")


def test_shards_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first, second = shards(2)
    build(first.folder(tmp_path / "a"), records("fp32"), "fp32")
    with pytest.raises(DataError, match="missing; 1 of its shards are finished, not all"):
        FeatureStore(tmp_path / "a")
    build(second.folder(tmp_path / "a"), {"key 3": np.ones((1, 3))}, "fp32")
    with pytest.raises(DataError, match="the key 'key 3' stands in two of its shards"):
        join(tmp_path / "a", 2)
    build(first.folder(tmp_path / "b"), {"a": np.ones((1, 3))}, "fp32")
    build(second.folder(tmp_path / "b"), {"b": np.ones((1, 3))}, "fp16")
    with pytest.raises(DataError, match=r"its shards differ in \(dtype, dim, boxes\)"):
        join(tmp_path / "b", 2)


def test_shards_are_named_in_configs() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    for text in ("0/8", "9/8", "2", "a/b", "-1/2", "1/0", ""):
        with pytest.raises(ConfigError, match="accepted: NUMBER/COUNT, such as 2/8"):
            Shard.parse(text)
    owners = [[s.number for s in shards(3) if s.owns(f"key {i}")] for i in range(60)]
    assert {len(found) for found in owners} == {1}
    assert {found[0] for found in owners} == {1, 2, 3}


def test_an_index_without_a_table_is_read(tmp_path: Path) -> None:
    """As earlier versions wrote it."""
    build(tmp_path / "s", records("fp16"), "fp16")
    index, about = read_index(tmp_path / "s")
    old = {name: x.copy() for name, x in index.items() if name not in ("key_names", "key_rows")}
    before = FeatureStore(tmp_path / "s").rows(["key 7", "key 2"])
    write_index(tmp_path / "s" / INDEX, old, about)
    again = FeatureStore(tmp_path / "s")
    again.verify()
    assert again.rows(["key 7", "key 2"]).tolist() == before.tolist() == [7, 2]
    assert "key 9" in again
    assert "key" not in again


@pytest.mark.parametrize("dtype", ["fp16", "fp32", "int32"])
def test_records_of_one_length_are_gathered_alike(tmp_path: Path, dtype: str) -> None:
    whole = records(dtype)
    build(tmp_path / "s", {f"{k} {i}": whole[k] for k in ("key 6", "key 7") for i in "ab"}, dtype)
    store = FeatureStore(tmp_path / "s")
    for rows in ([3, 0, 0, 2], [1]):
        found = store.gather(np.array(rows))
        for ours, plain in zip(found, plain_gather(store, rows), strict=True):
            assert ours.dtype == plain.dtype
            np.testing.assert_array_equal(ours, plain)
    with pytest.raises(ValueError, match="read-only"):
        store["key 6 a"][:] = 0
    assert store.gather(np.array([], np.int64))[0].shape == (0, 0, *whole["key 0"].shape[1:])


def test_a_store_that_is_finished_at_this_moment_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its name between the look of another process and that one's first file."""
    first, original = FeatureStoreWriter(tmp_path / "s", 1, "int32"), Path.mkdir

    def mkdir(self: Path, *given: Any, **options: Any) -> None:
        original(self, *given, **options)
        monkeypatch.undo()
        first.finish()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(StoreBusy):
        FeatureStoreWriter(tmp_path / "s", 1, "int32")
    assert len(FeatureStore(tmp_path / "s")) == 0
