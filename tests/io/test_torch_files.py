"""What files of torch.save say of sizes is held against their bytes, before torch sees them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from memory import asks_at_most

from msdkit.errors import DataError
from msdkit.io.torch_files import check_sizes
from msdkit.models.weights import read_weights

HELD = 64  # bytes of the storage
STORAGE = b"(S'storage'\nctorch\n%sStorage\nS'%s'\nS'cpu'\nI%d\ntQ"
HOOKS = b"ccollections\nOrderedDict\n)R"


def tensor(count: int = 2, entries: int = 2, kind: bytes = b"Float", key: bytes = b"0") -> bytes:
    """A tensor of `entries`, of a storage of `count`."""
    storage = STORAGE % (kind, key, count)
    sizes = b"I0\n(I%d\nt(I0\ntI00\n" % entries
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + sizes + HOOKS + b"tR"


def archive(value: bytes, kind: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as file:
        file.writestr("archive/data.pkl", b"\x80\x02}S'w'\n" + value + b"s.")
        file.writestr("archive/data/0", bytes(HELD))
    return packed.getvalue()


def legacy(value: bytes) -> bytes:
    """As torch.save before 1.6: number, version, system, value, keys, storages."""
    head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
    size = (HELD // 4).to_bytes(8, "little")
    return head + b"\x80\x02}S'w'\n" + value + b"s.\x80\x02](S'0'\ne." + size + bytes(HELD)


FORGED = {
    "a storage of 4 TB": (tensor(10**12), ("storage 0 of 4000000000000 bytes, 64", "storages of")),
    "one entry too many": (tensor(17), ("storage 0 of 68 bytes, 64 bytes there", "")),
    "a storage that is not there": (tensor(key=b"1"), ("storage 1 of 8 bytes, nothing there", "")),
    "a size below zero": (tensor(-1), ("a storage of -1", "a storage of -1")),
    "a storage of no type": (tensor(kind=b"Vast"), ("a storage of 2 torch.Vast",) * 2),
    "one entry a million times": (tensor(2, 10**6), ("a tensor of 1000000 entries in a",) * 2),
    "an empty tensor": (
        b"ctorch\nFloatTensor\n(I1000000\ntR",
        ("a call of torch.FloatTensor",) * 2,
    ),
    "a bare storage": (
        b"ctorch.storage\nUntypedStorage\n(I1000000\nt\x81",
        ("a call of torch.storage.UntypedStorage",) * 2,
    ),
    "a quantized tensor": (
        b"ctorch._utils\n_rebuild_qtensor\n(tR",
        ("a call of torch._utils._rebuild_qtensor; accepted: dense tensors",) * 2,
    ),
    "a parameter by its size": (
        b"ctorch.nn.parameter\nParameter\n(I1000000\nt\x81",
        ("a call of torch.nn.parameter.Parameter",) * 2,
    ),
    "a bytearray": (b"cbuiltins\nbytearray\n(I1000000\ntR", ("bytearray of 1000000 bytes",) * 2),
    "pairs of pairs as a key": (b"})" + b"2\x86" * 40 + b"Ns", ("a tuple as a key",) * 2),
    "pairs of pairs in a set": (
        b"cbuiltins\nset\n((l)" + b"2\x86" * 40 + b"atR",
        ("a tuple as a key",) * 2,
    ),
    "a long text": (b"X\xff\xff\xff\xffab", ("", "")),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("form", [archive, legacy])
def test_sizes_that_are_not_those_of_the_bytes(tmp_path: Path, name: str, form: object) -> None:
    value, messages = FORGED[name]
    message = messages[form is legacy]
    if form is legacy and name in ("one entry too many", "a storage that is not there"):
        return  # within the file's size; torch compares these with the storage's own number
    path = tmp_path / "x.pth"
    path.write_bytes(form(value))  # type: ignore[operator]
    with asks_at_most(1 << 22), pytest.raises(Exception) as error:  # noqa: PT011
        check_sizes(path)
    assert message in str(error.value)
    with pytest.raises(DataError, match=r"x\.pth cannot be read \(\w+: .*damaged or cut off"):
        read_weights(path)


def test_archives_that_torch_does_not_write(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(archive(tensor(), zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match=r"archive/data\.pkl is packed, which torch\.save"):
        check_sizes(path)
    path.write_bytes(archive(tensor()).replace(b"archive/data/0", b"archive/data.1"))
    with pytest.raises(ValueError, match="storage 0 of 8 bytes, nothing there"):
        check_sizes(path)


@pytest.mark.parametrize("form", [archive, legacy])
def test_the_right_form_passes(tmp_path: Path, form: object) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(form(tensor(16, 16)))  # type: ignore[operator]
    check_sizes(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_writes_passes(tmp_path: Path, zipped: bool) -> None:
    one = torch.arange(6.0)
    state = {
        "w": one.view(2, 3).T,
        "tied": one[2:],
        "wide": torch.ones(1).expand(40),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "flags": torch.ones(3, dtype=torch.bool),
        "none": torch.ones(0, 5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "complex": torch.ones(2, dtype=torch.complex128),
    }
    path = tmp_path / "x.pth"
    whole = {"model": state, "epoch": 3, "names": {"a"}, "raw": b"x", "size": one.size()}
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    found = read_weights(path)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in state.items()
    }
