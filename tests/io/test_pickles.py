"""Pickles of plain values and arrays are read, and nothing else that a pickle may ask for."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from msdkit.errors import DataError
from msdkit.io.pickles import load_plain


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.testing\nrundocs\n)R.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x02P1\n.",
        b"\x80\x04Nr\xff\xff\xff\xffh\x01.",  # would make the usual one take all memory
        b"\x80\x04\x95",
        b"",
        b"(lp0\nI1\na.garbage"[:5],
        pickle.dumps(np.ones(3))[:-20],
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
    ],
)
def test_pickles_of_anything_else_and_damaged_ones(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^here: ") as error:
        load_plain(data, "here")
    assert "\n" not in str(error.value)


FORGED = b"cnumpy.core.numeric\n_frombuffer\n(c_codecs\nencode\n(S'AAAAAAAA'\ntRcnumpy\ndtype\n"
FORGED += b"(S'%s'\nI0\nI1\ntR(I3\nS'|'\n%s"


@pytest.mark.parametrize(
    "data",
    [
        FORGED % (b"O", b"NNNI-1\nI-1\nI0\ntb(I1\ntS'C'\ntR."),
        FORGED
        % (b"V8", b"N(S'f'\nt(dS'f'\n(cnumpy\ndtype\n(S'O'\ntRI0\ntsI8\nI1\nI0\ntb(I1\ntS'C'\ntR."),
        b"ccollections\nOrderedDict\n)R(dS'x'\nI1\nsb.",
        b"c_codecs\nencode\nN(dS'__defaults__'\n(S'x'\nts\x86b.",
    ],
)
def test_states_that_would_forge_objects(data: bytes) -> None:
    """A dtype that denies to hold objects would make addresses of the file's own bytes."""
    with pytest.raises(DataError, match=r"^here: not a readable pickle"):
        load_plain(data, "here")


def test_a_pickle_leaves_the_types_of_numpy_alone() -> None:
    data = b"cnumpy\ndtype\n(S'f4'\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb."
    assert load_plain(data, "here") == np.dtype(">f4")
    assert np.dtype("f4").byteorder == "="


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_come_back(protocol: int) -> None:
    value = {
        "array": np.arange(6, dtype=np.float16).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "texts": np.array(["a", "bc"]),
        "objects": np.array([{"x": 1}, None], dtype=object),
        "number": np.float32(1.5),
        "plain": [1, 2.5, "x", b"\xff", None, True, (1, 2), {3}, frozenset({4}), 1j],
    }
    found = load_plain(pickle.dumps(value, protocol), "here")
    for name in ("array", "fortran", "texts", "objects"):
        expected: Any = value[name]
        assert found[name].dtype == expected.dtype
        assert found[name].tolist() == expected.tolist()
    assert found["number"] == value["number"]
    assert found["plain"] == value["plain"]


def test_a_pickle_of_python_2() -> None:
    data = b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\n"
    data += b"tp4\nRp5\n(I1\n(I2\ntp6\ncnumpy\ndtype\np7\n(S'f4'\np8\nI0\nI1\ntp9\nRp10\n(I3\n"
    data += b"S'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00@'\np13\n"
    assert load_plain(data + b"tp14\nb.", "here").tolist() == [1, 2]
