"""Region features of each known format become the same store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from region_files import (
    DIM,
    WRITERS,
    Pictures,
    fill,
    milvlg,
    mmf_records,
    pictures,
    uniter_records,
    write_npy,
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


def scored(count: int, sure: int) -> Pictures:
    """A picture of `count` regions, the first `sure` of which UNITER finds sure enough."""
    return {f"nlvr2_{count}_{sure}": (np.ones((count, DIM), np.float32), BOX.repeat(count, 0))}


BOX = np.array([[0, 0.25, 0.5, 0.75]], np.float32)
# Regions, of these surer than 0.2, and how many UNITER's compute_num_bb takes, by hand
TAKEN = [(5, 1, 5), (100, 3, 10), (100, 36, 36), (120, 119, 100), (9, 9, 9)]


@pytest.mark.parametrize("name", ["all", "all_compressed"])
def test_of_whatever_was_detected_uniter_takes_the_sure_ones(tmp_path: Path, name: str) -> None:
    """Nothing else is read of databases whose regions were chosen as they were written."""
    for i, (count, sure, taken) in enumerate(TAKEN):
        found = scored(count, sure)
        (key,) = found
        records = uniter_records(found, name.endswith("_compressed"), sure)
        for folder, expected in ((name, taken), ("feat_th0.2_max100_min10", count)):
            source = fill(tmp_path / str(i) / folder, records)
            imported = import_features(source, tmp_path / str(i) / f"{folder} store")
            assert (imported.pictures, imported.regions) == (1, expected), (key, folder)


def test_limits_of_scores_may_be_given(tmp_path: Path) -> None:
    source = fill(tmp_path / "all", uniter_records(scored(50, 20), False, 20))
    limits: list[tuple[dict[str, Any], int]] = [
        ({}, 20),
        ({"min_score": 0.95}, 10),
        ({"min_score": 0.95, "min_regions": 3}, 3),
        ({"min_score": -1}, 50),
        ({"min_regions": 30}, 30),
        ({"max_regions": 15}, 15),
        ({"min_regions": 30, "max_regions": 15}, 15),
    ]
    for i, (given, expected) in enumerate(limits):
        assert import_features(source, tmp_path / str(i), **given).regions == expected, given
    source = source.rename(tmp_path / "feat_numbb50")
    assert import_features(source, tmp_path / "x", min_score=0.2).regions == 20
    assert import_features(source, tmp_path / "y", max_regions=36).regions == 36
    with pytest.raises(ConfigError, match="min_regions: 3 needs min_score"):
        import_features(source, tmp_path / "store", min_regions=3)
    with pytest.raises(DataError, match=r"entry 'COCO_.*0': has no scores \(`conf`\)"):
        import_features(write_tsv(tmp_path, pictures()), tmp_path / "store", min_score=0.5)


def test_scores_must_be_there_where_they_choose(tmp_path: Path) -> None:
    records = uniter_records(pictures(), False)
    name = next(iter(records))
    arrays = msgspec.msgpack.decode(records[name])
    del arrays["conf"]
    source = fill(tmp_path / "all", {**records, name: msgspec.msgpack.encode(arrays)})
    with pytest.raises(DataError, match="has no 'conf', only norm_bb, features, soft_labels"):
        import_features(source, tmp_path / "store")


def test_npz_files_may_hold_columns_of_regions(tmp_path: Path) -> None:
    """mcan-vqa's data_utils.py turns x around; openvqa's CLEVR files have nothing but x."""
    (tmp_path / "mcan").mkdir()
    for key, (features, boxes) in pictures().items():
        arrays = milvlg(boxes[:3], x=features[:3].T)
        np.savez(tmp_path / "mcan" / f"{key}.jpg.npz", **arrays)
    import_features(tmp_path / "mcan", tmp_path / "store")
    store = FeatureStore(tmp_path / "store")
    for key, (features, _) in pictures().items():
        assert store[f"{key}.jpg"].tolist() == features[:3].tolist()
    (tmp_path / "clevr").mkdir()
    np.savez(tmp_path / "clevr" / "0.npz", x=np.ones((14, DIM), np.float32))
    imported = import_features(tmp_path / "clevr", tmp_path / "grid", format="npz")
    assert (imported.regions, imported.boxes) == (14, False)


def test_npz_files_of_uniters_detector(tmp_path: Path) -> None:
    """What convert_imgdir.py reads."""
    (tmp_path / "npz").mkdir()
    for name, data in uniter_records(scored(20, 12), True, 12).items():
        if name != b"__keys__":
            (tmp_path / "npz" / name.decode()).write_bytes(data)
    assert import_features(tmp_path / "npz", tmp_path / "whole").regions == 20
    import_features(tmp_path / "npz", tmp_path / "store", min_score=0.2)
    store = FeatureStore(tmp_path / "store")
    assert store.boxes("nlvr2_20_12").tolist() == BOX.repeat(12, 0).tolist()


def test_files_beside_the_features_are_passed_over(tmp_path: Path) -> None:
    """extract_features_frcnn.py writes NAME_full.npy for its pictures."""
    folder = write_npy(tmp_path, pictures())
    key = next(iter(pictures()))
    (folder / f"{key}_full.npy").write_bytes(b"what torch pickles")
    assert import_features(folder, tmp_path / "store").pictures == 3


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
    source = write_uniter(tmp_path, pictures(), "all")
    given = ["import", str(source), "--to", str(tmp_path / "all")]
    result = CliRunner().invoke(app, [*given, "--min-score", "0.4", "--min-regions", "1"])
    assert "3 pictures, 5 regions" in result.stdout  # surer than 0.4: 1 of 2, 2 of 4, 2 of 3


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
    assert set(SOURCES) == {"mmf_lmdb", "npy", "npz", "tsv", "uniter_lmdb"}


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
