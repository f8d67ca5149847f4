"""Region features of each known format become the same store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from region_files import (
    DIM,
    WRITERS,
    Pictures,
    fill,
    mmf_records,
    pictures,
    write_tsv,
    write_uniter,
)
from typer.testing import CliRunner

from msdkit.cli.features import app
from msdkit.errors import ConfigError, DataError
from msdkit.features import sources as feature_sources
from msdkit.features.importing import SOURCES, detect, import_features
from msdkit.processors.regions import Regions as RegionsProcessor
from msdkit.store.shards import Shard
from msdkit.store.store import FeatureStore


@pytest.mark.parametrize(("write", "format"), WRITERS)
def test_each_format_gives_the_same_store(
    tmp_path: Path, write: Callable[[Path, Pictures], Path], format: str
) -> None:
    source = write(tmp_path, pictures())
    assert detect(source) == format
    found = import_features(source, tmp_path / "store")
    assert (found.pictures, found.regions, found.dim, found.boxes) == (3, 9, DIM, True)
    store = FeatureStore(tmp_path / "store")
    assert store.keys() == list(pictures())
    for key, (features, boxes) in pictures().items():
        assert store[key].tolist() == features.tolist()
        assert np.allclose(store.boxes(key), boxes, atol=1e-6)


def test_boxes_become_the_geometry_of_uniter(tmp_path: Path) -> None:
    import_features(write_uniter(tmp_path, pictures()), tmp_path / "store")
    row = RegionsProcessor(store=str(tmp_path / "store"))(next(iter(pictures())))[0]
    assert row[DIM:].tolist() == [0, 0.25, 0.5, 0.75, 0.5, 0.5, 0.25]


def test_an_lmdb_in_a_single_file(tmp_path: Path) -> None:
    source = fill(tmp_path / "features.lmdb", mmf_records(pictures()), subdir=False)
    assert source.is_file()
    assert import_features(source, tmp_path / "store").pictures == 3


def test_options_and_features_without_boxes(tmp_path: Path) -> None:
    (tmp_path / "grids" / "a").mkdir(parents=True)
    np.save(tmp_path / "grids" / "a" / "1.npy", np.ones((1, 2, 3, DIM), np.float32))
    np.save(tmp_path / "grids" / "a" / "2.npy", np.ones((2, 2, DIM), np.float64))
    found = import_features(
        tmp_path / "grids", tmp_path / "store", format="npy", dtype="fp32", max_regions=5
    )
    store = FeatureStore(tmp_path / "store")
    assert str(found) == "2 pictures, 9 regions of width 4, without boxes"
    assert (store.dtype, store.keys(), store.lengths.tolist()) == ("fp32", ["a/1", "a/2"], [5, 4])


def test_an_interrupted_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, calls = write_tsv(tmp_path, pictures()), []
    decode = feature_sources._decoded

    def interrupted(row: list[bytes], where: str) -> Any:
        calls.append(row[0])
        if len(calls) == 3:  # the first is read once to tell width and boxes
            raise KeyboardInterrupt
        return decode(row, where)

    monkeypatch.setattr(feature_sources, "_decoded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_features(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert import_features(source, tmp_path / "store").pictures == 3
    first, second, third = (key.encode() for key in pictures())
    assert calls == [first, first, second, first, second, third]
    with pytest.raises(DataError, match="store exists; delete it"):
        import_features(source, tmp_path / "store")


def test_repeated_keys_are_counted(tmp_path: Path) -> None:
    source = write_tsv(tmp_path, pictures())
    source.write_bytes(source.read_bytes() * 2)
    found = import_features(source, tmp_path / "store")
    assert (found.pictures, found.repeated) == (3, 3)
    assert "3 repeated keys left out" in str(found)


def test_command(tmp_path: Path) -> None:
    source, store = write_tsv(tmp_path, pictures()), tmp_path / "store"
    given = ["import", str(source), "--to", str(store), "--format", "tsv", "--max-regions", "2"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0
    assert "3 pictures, 6 regions of width 4, with boxes" in result.stdout


def test_unknown_sources(tmp_path: Path) -> None:
    write_uniter(tmp_path, pictures())
    with pytest.raises(DataError, match=r"did you mean .*feat_numbb36\?"):
        detect(tmp_path / "img")
    with pytest.raises(DataError, match="does not exist"):
        import_features(tmp_path / "none", tmp_path / "store")
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(DataError, match="set the format to force one"):
        detect(tmp_path / "x.bin")
    with pytest.raises(ConfigError, match=r"unknown format 'ts'\. Did you mean 'tsv'\?"):
        import_features(tmp_path / "x.bin", tmp_path / "store", format="ts")
    assert set(SOURCES) == {"mmf_lmdb", "npy", "tsv", "uniter_lmdb"}


def test_shards_make_the_same_store(tmp_path: Path) -> None:
    """Whichever order they are built in; a call that comes again does no harm."""
    source = write_uniter(tmp_path, pictures())
    import_features(source, tmp_path / "whole")
    found = [
        import_features(source, tmp_path / "parts", shard=Shard.parse(text)).pictures
        for text in ("2/2", "1/2", "1/2")
    ]
    assert found[0] + found[1] == 3
    assert found[1] == found[2]
    whole, parts = FeatureStore(tmp_path / "whole"), FeatureStore(tmp_path / "parts")
    parts.verify()
    assert sorted(parts) == sorted(whole)
    for key in whole:
        np.testing.assert_array_equal(parts[key], whole[key])
        np.testing.assert_array_equal(parts.boxes(key), whole.boxes(key))
