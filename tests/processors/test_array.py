"""Arrays pass through when they fit; keys are looked up in a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from msdkit.errors import DataError
from msdkit.processors.array import Array, Features
from msdkit.registry import PROCESSORS
from msdkit.store.writer import FeatureStoreWriter
from msdkit.types import Modality


@pytest.mark.parametrize(
    ("raw", "dtype"),
    [
        ([3, 1], np.int64),
        (np.array([3, 1], np.int16), np.int64),
        (np.ones((2, 3)), np.float32),
        (torch.ones(2, 3), np.float32),
        ([[1.0, 2.0]], np.float32),
    ],
)
def test_arrays_pass_through(raw, dtype):
    result = Array()(raw)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.asarray(raw))


def test_the_modality_is_declared_or_fitted():
    assert Array(Modality("features", 5)).modality == Modality("features", 5)
    assert PROCESSORS.build("array", modality=Modality("tokens", 7)).modality.size == 7
    tokens = Array()
    with pytest.raises(DataError, match="before fit"):
        _ = tokens.modality
    tokens.fit([[1, 8], [2]])
    assert tokens.modality == Modality("tokens", 9)
    features = Array()
    features.fit([np.ones((2, 3)), np.ones((1, 3))])
    assert features.modality == Modality("features", 3)


def test_the_state_comes_back():
    fitted, other = Array(), Array()
    fitted.fit([[1, 8]])
    other.load_state(fitted.state())
    assert other.modality == fitted.modality
    assert other.fingerprint() == fitted.fingerprint() != Array().fingerprint()


def test_a_declared_modality_is_not_refitted():
    declared = Array(Modality("tokens", 5))
    declared.fit([[9]])
    declared.load_state({})
    assert declared.modality.size == 5
    assert declared.state() == {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.ones((2, 4)), r"expected features \[L, 3\], got features \[L, 4\]"),
        ([1, 2], r"expected features \[L, 3\], got token ids \[L\]"),
        (np.ones(3), r"that is not empty, got float64 \[3\]"),
        (np.ones((0, 3)), r"that is not empty, got float64 \[0, 3\]"),
        (np.full((1, 3), np.inf), "NaN or infinity"),
        ("text", "expected int"),
        ([[1.0], [1.0, 2.0]], "expected int"),
    ],
)
def test_what_does_not_fit_is_refused(raw, message):
    with pytest.raises(DataError, match=message):
        Array(Modality("features", 3))(raw)


def test_bad_token_ids_are_refused():
    with pytest.raises(DataError, match="token id 5 is beyond the vocabulary of 5"):
        Array(Modality("tokens", 5))([5])
    with pytest.raises(DataError, match="must not be negative, got -1"):
        Array()([-1])
    with pytest.raises(DataError, match="expected features"):
        Array().fit([np.ones((1, 2)), np.ones((1, 3))])


@pytest.mark.parametrize("largest", [2**24, 2**31, 2**40, 2**63, 2**64 - 1])
def test_a_vocabulary_that_no_memory_holds_is_refused(largest):
    ids = np.array([1, largest], np.uint64)
    message = rf"token id {largest} asks for an embedding .*; accepted: ids below 16,777,216"
    with pytest.raises(DataError, match=message):
        Array().fit([[1], ids])
    with pytest.raises(DataError, match=message):
        Array(Modality("tokens", 5))(ids)
    with pytest.raises(DataError, match=message):
        Array(Modality("tokens", largest + 1))


def test_the_largest_vocabulary():
    array = Array()
    array.fit([[2**24 - 1]])
    assert array.modality == Modality("tokens", 2**24)


def test_token_ids_are_integers():
    with pytest.raises(DataError, match=r"got float64 \[2\]; token ids are integers"):
        Array().fit([[1.0, 2.0]])


def write(path, dtype, records):
    dim = 1 if dtype == "int32" else records[0].shape[1]
    with FeatureStoreWriter(path, dim, dtype) as writer:
        for i, record in enumerate(records):
            writer.add(str(i), record)


def test_features_are_looked_up(tmp_path):
    write(tmp_path / "s", "fp16", [np.ones((2, 3), np.float32)])
    features = PROCESSORS.build({"name": "features", "store": str(tmp_path / "s")})
    assert features.modality == Modality("features", 3)
    for raw in ("0", 0):
        assert features.key(raw) == "0"
        assert features(raw).dtype == np.float32
        np.testing.assert_array_equal(features(raw), np.ones((2, 3)))
    with pytest.raises(DataError, match="has no key 'x'"):
        features("x")


def test_paths_stand_for_their_stems_unless_they_are_keys(tmp_path):
    records = [np.full((1, 3), i, np.float32) for i in range(3)]
    with FeatureStoreWriter(tmp_path / "s", 3, "fp32") as writer:
        for key, record in zip(("01235", "img/7.png", "7"), records, strict=True):
            writer.add(key, record)
    features = Features(store=str(tmp_path / "s"))
    keys = {"img/01235.png": "01235", "img/7.png": "img/7.png", "other/7.jpg": "7", "x.y": "x.y"}
    assert {raw: features.key(raw) for raw in keys} == keys
    assert features("img/01235.png").tolist() == [[0, 0, 0]]
    assert features("other/7.jpg").tolist() == [[2, 2, 2]]


def test_paths_stand_for_the_longest_of_their_ends_that_is_a_key(tmp_path):
    """Stores with sub-folders, and keys that kept a suffix, such as MILVLG's `1.jpg.npz`."""
    held = ("train/1", "val/1", "1", "val/2.jpg", "3.jpg", "a/b/4")
    with FeatureStoreWriter(tmp_path / "s", 3, "fp32") as writer:
        for key in held:
            writer.add(key, np.ones((1, 3), np.float32))
    features = Features(store=str(tmp_path / "s"))
    keys = {
        "/data/images/val/1.png": "val/1",
        "images/train/1.png": "train/1",
        "train/1.png": "train/1",
        "test/1.png": "1",
        "val/2.jpg": "val/2.jpg",
        "/data/val/2.jpg": "val/2.jpg",
        "/data/3.jpg": "3.jpg",
        "x/a/b/4.png": "a/b/4",
        "b/4.png": "b/4.png",  # no key: the folder of a key is not guessed
        "/": "/",
        "": "",
    }
    assert {raw: features.key(raw) for raw in keys} == keys
    assert features.key(Path("/data/images/val/1.png")) == "val/1"


def test_features_of_token_ids(tmp_path):
    write(tmp_path / "s", "int32", [np.array([4, 2]), np.array([1])])
    features = Features(store=str(tmp_path / "s"))
    assert features.modality == Modality("tokens", 5)
    assert features("0").dtype == np.int64


def test_a_stored_token_id_that_is_too_large_is_named(tmp_path):
    write(tmp_path / "s", "int32", [np.array([4, 2]), np.array([2**30])])
    with pytest.raises(DataError, match=r"record '1': token id 1073741824 asks for"):
        _ = Features(store=str(tmp_path / "s")).modality


def test_the_fingerprint_follows_the_store(tmp_path):
    write(tmp_path / "s", "fp16", [np.ones((2, 3), np.float32)])
    features = Features(store=str(tmp_path / "s"))
    before = features.fingerprint()
    for file in (tmp_path / "s").iterdir():
        file.unlink()
    (tmp_path / "s").rmdir()
    write(tmp_path / "s", "fp16", [np.zeros((2, 3), np.float32)])
    assert features.fingerprint() != before


def test_a_damaged_store_is_refused(tmp_path):
    write(tmp_path / "s", "fp16", [np.ones((2, 3), np.float32)])
    (tmp_path / "s" / "features.bin").write_bytes(bytes(12))
    with pytest.raises(DataError, match="record '0' is damaged"):
        _ = Features(store=str(tmp_path / "s")).modality
