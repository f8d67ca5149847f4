"""Feature stores: what is written comes back, damage is named, a killed build goes on."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msdkit.errors import DataError
from msdkit.store.store import FeatureStore
from msdkit.store.writer import FeatureStoreWriter


def records(n: int = 6, dim: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        f"picture {i} ü": rng.normal(size=(1 + i % 3, dim)).astype(np.float32) for i in range(n)
    }


def build(path: Path, data: dict[str, np.ndarray], dtype: str = "fp16") -> FeatureStore:
    with FeatureStoreWriter(path, 1 if dtype == "int32" else 3, dtype) as writer:  # type: ignore[arg-type]
        for key, array in data.items():
            writer.add(key, array)
    return FeatureStore(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_records_come_back(tmp_path):
    store = build(tmp_path / "s", records(), "fp32")
    assert store.keys() == list(records())
    assert (len(store), store.dim, store.dtype) == (6, 3, "fp32")
    for key, array in records().items():
        assert key in store
        np.testing.assert_array_equal(store[key], array)
    assert "no" not in store
    assert store.boxes("picture 0 ü") is None
    assert store.lengths.tolist() == [1, 2, 3, 1, 2, 3]
    assert sorted(contents(tmp_path / "s")) == [*(".msdkit", "features.bin", "index.safetensors")]
    store.verify()


def test_fp16_rounds_to_half_precision(tmp_path):
    store = build(tmp_path / "s", records())
    for key, array in records().items():
        np.testing.assert_array_equal(store[key], array.astype(np.float16))


def test_gather_pads_ragged_records(tmp_path):
    store = build(tmp_path / "s", records())
    rows = store.rows(["picture 2 ü", "picture 0 ü"])
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, 0]
    values, mask = store.gather(rows)
    assert values.dtype == np.float32
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    np.testing.assert_array_equal(values[0], store["picture 2 ü"])
    np.testing.assert_array_equal(values[1, :1], store["picture 0 ü"])
    assert not values[1, 1:].any()


def test_gather_of_equal_lengths_equals_stacking(tmp_path):
    store = build(tmp_path / "s", records())
    values, mask = store.gather(store.rows(["picture 4 ü", "picture 1 ü", "picture 4 ü"]))
    assert mask.all()
    expected = [store[f"picture {i} ü"] for i in (4, 1, 4)]
    np.testing.assert_array_equal(values, np.stack(expected))


def test_gather_of_nothing_and_of_empty_records(tmp_path):
    store = build(tmp_path / "s", {"a": np.zeros((0, 3), np.float32), **records(1)})
    assert store.gather(np.array([], np.int64))[0].shape == (0, 0, 3)
    values, mask = store.gather(np.array([0, 1]))
    assert values.shape == (2, 1, 3)
    assert mask.tolist() == [[False], [True]]


def test_token_ids_are_one_dimensional(tmp_path):
    store = build(tmp_path / "s", {"a": np.array([5, 6]), "b": np.array([7])}, "int32")
    values, mask = store.gather(store.rows("ab"))
    assert values.dtype == np.int64
    assert values.tolist() == [[5, 6], [7, 0]]
    assert mask.tolist() == [[True, True], [True, False]]


def test_boxes(tmp_path):
    places = np.arange(8, dtype=np.float32).reshape(2, 4)
    with FeatureStoreWriter(tmp_path / "s", 3, boxes=True) as writer:
        writer.add("a", np.ones((2, 3), np.float32), places)
        with pytest.raises(DataError, match="boxes must be given for every record"):
            writer.add("b", np.ones((2, 3), np.float32))
        with pytest.raises(DataError, match="1 boxes for 2 rows"):
            writer.add("b", np.ones((2, 3), np.float32), places[:1])
    store = FeatureStore(tmp_path / "s")
    np.testing.assert_array_equal(store.boxes("a"), places)
    store.verify()


def test_an_empty_store_opens(tmp_path):
    store = build(tmp_path / "s", {})
    assert len(store) == 0
    store.verify()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 4), np.float32), r"key 'k': got float32 \[2, 4\], expected floats \[L, 3\]"),
        (np.ones(3, np.float32), r"key 'k': got float32 \[3\]"),
        (np.ones((2, 3), np.int64), r"key 'k': got int64"),
        (np.full((1, 3), np.nan, np.float32), "key 'k': holds NaN or infinity"),
        (np.full((1, 3), 7e4, np.float32), "key 'k': holds values beyond fp16"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, array, message):
    with FeatureStoreWriter(tmp_path / "s", 3) as writer, pytest.raises(DataError, match=message):
        writer.add("k", array)


def test_token_ids_beyond_32_bits_are_refused(tmp_path):
    with FeatureStoreWriter(tmp_path / "s", 1, "int32") as writer:
        with pytest.raises(DataError, match="beyond 32 bits"):
            writer.add("k", np.array([2**40]))
        with pytest.raises(DataError, match=r"expected integers \[L\]"):
            writer.add("k", np.array([1.0]))


def test_duplicate_keys_and_existing_stores_are_refused(tmp_path):
    with FeatureStoreWriter(tmp_path / "s", 3) as writer:
        writer.add("k", np.ones((1, 3), np.float32))
        assert "k" in writer
        with pytest.raises(DataError, match="'k' was added twice"):
            writer.add("k", np.ones((1, 3), np.float32))
    with pytest.raises(DataError, match="exists; delete it"):
        FeatureStoreWriter(tmp_path / "s", 3)
    with pytest.raises(DataError, match="int32 with dim 1"):
        FeatureStoreWriter(tmp_path / "t", 3, "int32")
    assert not (tmp_path / "t.partial").exists()


def test_two_writers_do_not_mix(tmp_path):
    first, message = FeatureStoreWriter(tmp_path / "s", 3), "being written by another process"
    with first, pytest.raises(DataError, match=message):
        FeatureStoreWriter(tmp_path / "s", 3)


def test_damage_is_named(tmp_path):
    store = build(tmp_path / "s", records())
    data = tmp_path / "s" / "features.bin"
    blob = bytearray(data.read_bytes())
    blob[store.lengths[0] * 6 + 1] ^= 1  # inside the second record
    data.write_bytes(blob)
    with pytest.raises(DataError, match="the record 'picture 1 ü' is damaged"):
        FeatureStore(tmp_path / "s").verify()


def test_a_damaged_table_of_keys_is_found(tmp_path):
    store = build(tmp_path / "s", records())
    store._table["rows"] = store._table["rows"][::-1]  # each key would find another's record
    with pytest.raises(DataError, match=r"index\.safetensors is damaged"):
        store.verify()


def test_a_truncated_file_does_not_open(tmp_path):
    build(tmp_path / "s", records())
    data = tmp_path / "s" / "features.bin"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"has 71 bytes, expected 72"):  # 12 rows of 3 halves
        FeatureStore(tmp_path / "s")


def test_a_damaged_or_missing_index_does_not_open(tmp_path):
    build(tmp_path / "s", records())
    index = tmp_path / "s" / "index.safetensors"
    index.write_bytes(index.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"cannot read index\.safetensors"):
        FeatureStore(tmp_path / "s")
    with pytest.raises(DataError, match="is no feature store"):
        FeatureStore(tmp_path)


def test_an_unknown_key_is_named(tmp_path):
    with pytest.raises(DataError, match=r"\(6 keys\) has no key 'x'"):
        build(tmp_path / "s", records())["x"]


def test_the_fingerprint_follows_the_content(tmp_path):
    data = records()
    same = build(tmp_path / "a", data).fingerprint
    assert same == build(tmp_path / "b", data).fingerprint
    data["picture 0 ü"] = data["picture 0 ü"] + 1
    assert same != build(tmp_path / "c", data).fingerprint


def test_pickling_reopens_the_file(tmp_path):
    store = build(tmp_path / "s", {"a": np.ones((9000, 3), np.float32)})
    blob = pickle.dumps(store)
    assert len(blob) < 1000
    np.testing.assert_array_equal(pickle.loads(blob)["a"], store["a"])


BUILD = """
import os, signal, sys
import numpy as np
from msdkit.store.writer import FeatureStoreWriter
with FeatureStoreWriter(sys.argv[1], 2, boxes=True) as writer:
    for i in range(int(sys.argv[2])):
        if i == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        if str(i) not in writer:
            rows = np.full((i % 3, 2), i, np.float32)
            writer.add(str(i), rows, np.full((i % 3, 4), -i, np.float32))
"""


def run_build(path: Path, kill_at: int) -> int:
    command = [sys.executable, "-c", BUILD, str(path), "20", str(kill_at)]
    return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(tmp_path):
    assert run_build(tmp_path / "whole", -1) == 0
    assert run_build(tmp_path / "killed", 12) == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    partial = tmp_path / "killed.partial"
    with (partial / "features.bin").open("ab") as file:
        file.write(b"half a record")
    with (partial / "journal.jsonl").open("ab") as file:
        file.write(b'["12", 0')
    with FeatureStoreWriter(tmp_path / "killed", 2, boxes=True) as writer:
        assert len(writer) == 12
        writer.close()
    assert run_build(tmp_path / "killed", -1) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not partial.exists()


def test_a_journal_ahead_of_the_data_is_cut_back(tmp_path):
    writer = FeatureStoreWriter(tmp_path / "s", 3)
    for key, array in records().items():
        writer.add(key, array)
    writer.close()
    data = tmp_path / "s.partial" / "features.bin"
    data.write_bytes(data.read_bytes()[:-20])
    with FeatureStoreWriter(tmp_path / "s", 3) as writer:
        assert (
            len(writer) == 4
        )  # the last has 3 rows of 6 bytes; 2 bytes of the one before are gone too
        writer.close()


def test_a_partial_of_another_kind_is_refused(tmp_path):
    FeatureStoreWriter(tmp_path / "s", 3).close()
    with pytest.raises(DataError, match=r"\[1, 'fp16', 3, False\], not \[1, 'fp32', 3, False\]"):
        FeatureStoreWriter(tmp_path / "s", 3, "fp32")


def test_an_error_leaves_the_partial_build(tmp_path):
    def build_half() -> None:
        with FeatureStoreWriter(tmp_path / "s", 3) as writer:
            writer.add("k", np.ones((1, 3), np.float32))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build_half()
    assert not (tmp_path / "s").exists()
    with FeatureStoreWriter(tmp_path / "s", 3) as writer:
        assert "k" in writer
