"""What a pickle says of sizes is held against its bytes; all of these are refused in a line."""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

import numpy as np
import pytest
from memory import asks_at_most

from msdkit.errors import DataError
from msdkit.io.pickles import load_plain

TYPE = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
FLOATS, OBJECTS = TYPE % b"f4", TYPE % b"O"
EMPTY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
SCALAR = b"cnumpy._core.multiarray\nscalar\n("
BUFFER = b"cnumpy._core.numeric\n_frombuffer\n("
TWICE = b"2\x86"  # the thing on top, and itself again: a pair
MANY = b"I1000000000\n"


def array(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    return EMPTY + b"(I1\n" + shape + dtype + b"I00\n" + data + b"tb"


SIZES = {
    "objects that are not there": array(b"(" + MANY + b"t", OBJECTS, b"]"),
    "objects in a tuple": array(b"(I1\nt", OBJECTS, b"(I1\nt"),
    "objects in a text": array(b"(I2\nt", OBJECTS, b"S'ab'\n"),
    "fewer objects than stand there": array(b"(I1\nt", OBJECTS, b"(lI1\naI2\na"),
    "sides whose product wraps around": array(b"(" + b"I4294967296\n" * 2 + b"t", OBJECTS, b"]"),
    "a side below zero": array(b"(I-1\nt", OBJECTS, b"]"),
    "a side that is no number": array(b"(NI0\nt", FLOATS, b"S''\n"),
    "a shape that is no tuple": array(b"I2\n", OBJECTS, b"(lI1\naI2\na"),
    "floats that are not there": array(b"(" + MANY + b"t", FLOATS, b"S'abcd'\n"),
    "rows of nothing": array(b"(" + MANY + b"I0\nt", FLOATS, b"S''\n"),
    "texts of no length": array(b"(" + MANY + b"t", TYPE % b"U0", b"S''\n"),
    "a long text in a short one": array(b"(I1\nt", TYPE % b"S2000000000", b"S'ab'\n"),
    "a type that is a text": array(b"(I1\nt", b"S'O'\n", b"(lI1\na"),
    "65 dimensions": array(b"(" + b"I1\n" * 65 + b"t", FLOATS, b"S'abcd'\n"),
    "no content": EMPTY,
    "an array in itself": EMPTY + b"p1\n(I1\n(I1\nt" + OBJECTS + b"I00\n(lg1\natb",
    "a buffer of objects": b"\x80\x04" + BUFFER + b"C\x08AAAAAAAA" + OBJECTS + b"(I1\ntS'C'\ntR",
    "a buffer too short": b"\x80\x04" + BUFFER + b"C\x04abcd" + FLOATS + b"(" + MANY + b"tS'C'\ntR",
    "a number of objects": SCALAR + OBJECTS + b"S'AAAAAAAA'\ntR",
    "a number too short": SCALAR + FLOATS + b"S'ab'\ntR",
    "4 GiB of a bytearray": b"\x80\x05\x96\x00\x00\x00\x00\x01\x00\x00\x00ab",
    "a bytearray by its length": b"cbuiltins\nbytearray\n(I4000000000\ntR",
    "a text of 4 GiB": b"X\xff\xff\xff\xffab",
    "a text of 4 EiB": b"\x8d\x00\x00\x00\x00\x00\x00\x00\x40ab",
    "bytes of 4 EiB": b"\x8e\x00\x00\x00\x00\x00\x00\x00\x40ab",
    "a list by a number": b"cbuiltins\nlist\n(I1000000\ntR",
    "a number of 70 bits": b"\x8a\x09" + bytes(8) + b"\x01",
    "a number of 300 bytes": b"\x8b\x2c\x01\x00\x00" + b"\x01" * 300,
    "2^40 in pairs": b"]" + TWICE * 40,
    "2^40 in pairs, as a key": b"})" + TWICE * 40 + b"Ns",
    "2^40 in pairs, in a set": b"\x80\x04\x8f()" + TWICE * 40 + b"\x90",
    "2^40 in pairs, in a set by name": b"cbuiltins\nset\n((l)" + TWICE * 40 + b"atR",
    "one text in a thousand places": b"](X\x10\x27\x00\x00" + b"x" * 10_000 + b"2" * 1000 + b"e",
    "a list copied a thousand times": b"(]q\x01(" + b"N" * 10_000 + b"e"
    b"cbuiltins\nlist\nq\x020" + b"h\x02h\x01\x85R" * 1000 + b"t",
    "long lists for pairs": b"ccollections\nOrderedDict\n](]("
    + b"N" * 9000
    + b"e"
    + b"2" * 9000
    + b"\x85e\x85R",
    "lists 1,000 deep": b"]" * 1000 + b"a" * 999,
    "a list in itself": b"]2a",
    "a dictionary in itself": b"}q\x01Nh\x01s",
    "entries for an array": array(b"(I1\nt", FLOATS, b"S'abcd'\n") + b"I0\nI1\ns",
    "an odd number of entries": b"}(NNNu",
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_are_not_those_of_the_bytes(name: str) -> None:
    with asks_at_most(1 << 23), pytest.raises(DataError, match=r"^here: not a readable") as error:
        load_plain(SIZES[name] + b".", "here")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_name_of_several_lines_stays_one_line() -> None:
    data = b"\x80\x04\x8c\x03a\nb\x8c\x03c\nd\x93."
    with pytest.raises(DataError, match=r"asks for 'a b.c d' and was refused"):
        load_plain(data, "here")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_objects_come_back_as_they_were(protocol: int) -> None:
    inner = np.arange(2)
    grid = np.empty((2, 3), object)
    grid[:] = [["a", [1, 2], None], [{"k": inner}, (1, 2), 2.5]]
    grid[0, 2] = np.array(7)
    found = load_plain(pickle.dumps({"grid": grid, "turned": grid.T}, protocol), "here")
    assert found["grid"].shape == (2, 3)
    assert found["turned"].shape == (3, 2)
    assert found["grid"][0, 1] == [1, 2]
    assert found["grid"][0, 2].shape == ()
    assert found["grid"][1, 0]["k"].tolist() == [0, 1]
    assert found["turned"][1, 0] == [1, 2]
    assert found["turned"][2, 1] == 2.5


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3, dtype=">f8"),
        [np.dtype(">i2"), np.arange(2, dtype=">i2"), np.arange(2, dtype=">i2")],
        np.str_(""),
        np.str_("ab"),
        np.zeros((0, 2048), np.float32),
        np.array(2.5),
        2**63,
        [bytearray(b"ab"), bytearray(300)],
        {(1, "a"): {b"x"}, None: frozenset({1.5})},
    ],
)
def test_values_at_the_border_are_read(value: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = load_plain(pickletools.optimize(pickle.dumps(value, protocol)), "here")
        assert repr(found) == repr(value)


def test_arrays_that_were_read_may_be_written() -> None:
    found = load_plain(pickle.dumps(np.zeros(2)), "here")
    found[0] = 1
    assert found.tolist() == [1, 0]


def test_one_thing_in_a_few_places_is_read() -> None:
    names = ["a", "b", "c"]
    assert load_plain(pickle.dumps([names] * 100), "here") == [names] * 100
