"""Headers of `.npy` and `.npz` files are held against the bytes behind them."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory import asks_at_most

from msdkit.errors import DataError
from msdkit.io.npy import load_npy, load_npz


def npy(header: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A file as numpy writes it, its header as given."""
    text = f"{header}\n".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 * version[0], "little") + text + content


def header(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


FORGED = [
    (
        npy(header("'<f4'", "(1000000000000,)"), bytes(8)),
        "promises float32 [1000000000000], beyond",
    ),
    (npy(header("'<f4'", "(4294967296, 4294967296)"), bytes(8)), "beyond its 8 bytes"),
    (npy(header("'<f4'", "(3,)"), bytes(8)), "promises float32 [3], beyond its 8 bytes"),
    (npy(header("'<f4'", "(-1,)"), bytes(8)), "no tuple of whole numbers from 0"),
    (npy(header("'<f4'", "(True,)"), bytes(8)), "no tuple of whole numbers from 0"),
    (npy(header("'<f4'", "(1000000000000, 0)")), "shape [1000000000000, 0] of nothing"),
    (npy(header("'<U0'", "(1000000000000,)")), "an array without a type"),
    (npy(header("'<f4'", f"({'1, ' * 65})"), bytes(4)), "dimension"),
    (npy(header("'|V8'", "(1,)"), bytes(8)), "promises |V8; accepted: numbers or texts"),
    (npy(header("[('a', '<f4')]", "(1,)"), bytes(4)), "accepted: numbers or texts"),
    (npy(header("('<f4', (2,))", "(1,)"), bytes(8)), "accepted: numbers or texts"),
    (npy(header("'|O'", "(1000000000,)"), pickle.dumps(np.array([None]))), "shape [1000000000]"),
    (npy("(" * 5000), ""),
    (npy(" " * 20_000, version=b"\x02\x00"), ""),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", ""),
    (b"\x93NUMPY\x09\x00", ""),
    (b"", ""),
]


@pytest.mark.parametrize(("data", "message"), FORGED)
def test_forged_headers(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with asks_at_most(1 << 22), pytest.raises(DataError, match=r"x\.npy: not a read") as error:
        load_npy(tmp_path / "x.npy")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("data", "message"), FORGED)
def test_forged_headers_within_npz(data: bytes, message: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.npy", data)
    with asks_at_most(1 << 22), pytest.raises(Exception) as error:  # noqa: PT011
        load_npz(packed.getvalue(), ["x"])
    assert message in str(error.value) or "Object arrays" in str(error.value)


def member(declared: int, data: bytes, kind: int) -> bytes:
    """An archive whose one member says another size than it unpacks to."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        archive.writestr("x.npy", data)
    real, said = len(data).to_bytes(4, "little"), declared.to_bytes(4, "little")
    return packed.getvalue().replace(real, said)


def test_what_unpacks_to_more_than_it_says() -> None:
    large = npy(header("'<f4'", "(2500000,)"), bytes(10_000_000))
    forged = member(1000, large, zipfile.ZIP_DEFLATED)
    with asks_at_most(1 << 20), pytest.raises((ValueError, zipfile.BadZipFile)):
        load_npz(forged, ["x"])
    forged = member((1 << 28) + 1, large, zipfile.ZIP_DEFLATED)
    with asks_at_most(1 << 20), pytest.raises(ValueError, match="unpacks to more than 256 MB"):
        load_npz(forged, ["x"])
    rare = member(len(large), large, zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match=r"x\.npy is packed as numpy packs nothing"):
        load_npz(rare, ["x"])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">f2").reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array([["a", "bc"]]),
        np.array([True, False]),
        np.array(2.5),
        np.zeros((0, 2048), np.float32),
        np.array([{"x": 1}, None], dtype=object),
    ],
)
def test_what_numpy_writes_is_read(tmp_path: Path, array: np.ndarray) -> None:
    path, packed = tmp_path / "x.npy", io.BytesIO()
    np.save(path, array)
    assert repr(load_npy(path)) == repr(array)
    np.savez_compressed(packed, x=array, y=np.ones(1))
    if array.dtype != object:
        found: Any = load_npz(packed.getvalue(), ["x", "z"])
        assert [*found] == ["x"]
        assert repr(found["x"]) == repr(array)


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"x\.npy: not a readable \.npy file: its header promises"):
        load_npy(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"none\.npy: not a readable \.npy file: .*No such file"):
        load_npy(tmp_path / "none.npy")
