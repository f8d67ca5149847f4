"""Archives: every format, and hostile or damaged ones, of which nothing stays."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from msdkit.errors import DataError
from msdkit.hub import archives
from msdkit.hub.archives import is_archive, unpack

FILES = {"data/a.txt": b"alpha", "data/deep/b.txt": b"beta" * 1000, "c.txt": b""}
ZEROS = bytes(2**20)


def write_zip(path: Path, files: dict[str, bytes], **kinds: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("data/"), b"")
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = kinds.get("mode", 0) << 16
            file.writestr(info, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    ending = path.name.rpartition(".")[2].replace("t", "").replace("ar", "")
    with tarfile.open(path, f"w:{'' if path.suffix == '.tar' else ending}") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            file.addfile(info, io.BytesIO(content))
    return path


WRITERS: dict[str, Callable[..., Path]] = {
    "x.zip": write_zip,
    **dict.fromkeys(["x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz"], write_tar),
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    return lambda *given, **more: WRITERS[request.param](tmp_path / request.param, *given, **more)


def around(archive: Path) -> list[Path]:
    """All below its folder, and what stands beside that, where other tests keep much."""
    return sorted([*archive.parent.rglob("*"), *archive.parent.parent.iterdir()])


def refused(archive: Path, match: str) -> None:
    """DataError of one line that names the archive; nothing is left of it."""
    into, before = archive.parent / "into", around(archive)
    with pytest.raises(DataError, match=match) as error:
        unpack(archive, into)
    assert str(archive) in str(error.value)
    assert "\n" not in str(error.value)
    assert around(archive) == before


def test_every_format(write: Callable[..., Path], tmp_path: Path) -> None:
    into = unpack(write(FILES), tmp_path / "into")
    found = {str(p.relative_to(into)): p.read_bytes() for p in into.rglob("*") if p.is_file()}
    assert found == FILES


def test_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    unpack(tmp_path / "rows.jsonl.gz", tmp_path / "into")
    assert (tmp_path / "into" / "rows.jsonl").read_bytes() == b"{}\n"


def test_names_tell_archives() -> None:
    assert all(map(is_archive, [*WRITERS, "A.ZIP", "rows.jsonl.gz"]))
    assert not any(map(is_archive, ["x.pt", "x.hdf5", "zip", "x.tar.sig"]))


def test_an_existing_folder_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "into" / "data").mkdir(parents=True)
    (tmp_path / "into" / "data" / "own.txt").write_text("mine")
    (tmp_path / "into" / "c.txt").write_text("old")
    unpack(write_zip(tmp_path / "x.zip", FILES), tmp_path / "into")
    assert (tmp_path / "into" / "data" / "own.txt").read_text() == "mine"
    assert (tmp_path / "into" / "data" / "a.txt").read_bytes() == b"alpha"
    assert (tmp_path / "into" / "c.txt").read_bytes() == b""
    (tmp_path / "into" / "c.txt").unlink()
    (tmp_path / "into" / "c.txt").mkdir()
    with pytest.raises(DataError, match=r"c\.txt is in the way"):
        unpack(tmp_path / "x.zip", tmp_path / "into")


@pytest.mark.parametrize(
    "name", ["../evil", "data/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "\\evil"]
)
def test_names_that_lead_out(write: Callable[..., Path], name: str) -> None:
    refused(write({"fine": b"", name: b"evil"}), "would be written outside its folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tars(tmp_path: Path, kind: bytes) -> None:
    refused(write_tar(tmp_path / "x.tar.gz", {"odd": b""}, kind), "entry 'odd' is a link, a device")


def test_a_sparse_file(tmp_path: Path) -> None:
    info = tarfile.TarInfo("hole")
    info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**50)}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info)
    refused(tmp_path / "x.tar", "'hole' is a link, a device or sparse")


def test_links_in_zips(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"odd": b"/etc"}, mode=stat.S_IFLNK | 0o777)
    refused(path, "entry 'odd' is a link")


def test_a_bomb(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE", 10_000)
    monkeypatch.setattr(archives, "RATIO", 2)
    path = write({"zeros": ZEROS})
    if path.suffix == ".tar":
        unpack(path, path.parent / "into")  # nothing grows
    else:
        refused(path, "grows more than 2 times")


def test_a_bomb_in_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE", 10_000)
    monkeypatch.setattr(archives, "RATIO", 2)
    refused(write_tar(tmp_path / "x.tgz", {"n" * 2**20: b""}), "grows more than 2 times")


def test_too_many_entries(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "ENTRIES", 2)
    refused(write(FILES), "more than 2 entries")


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        for _ in range(2):
            file.addfile(tarfile.TarInfo("a"))
    refused(tmp_path / "x.tar", "entry 'a' stands there twice")


def test_a_file_where_a_folder_should_be(write: Callable[..., Path]) -> None:
    refused(write({"a": b"", "a/b": b""}), "cannot be unpacked")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a": b"b"})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.rfind(mark)
        content[place + at] |= 1
    path.write_bytes(content)
    refused(path, "is encrypted; unpack it yourself, with its password")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_truncated(write: Callable[..., Path], share: float) -> None:
    path = write({"a": bytes(range(256)) * 100})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, "cannot be unpacked")


def test_no_archive(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(FILES)
    path.write_bytes(b"<html>not here</html>" * 100)
    refused(path, "cannot be unpacked")
    (tmp_path / "x.rar").write_bytes(b"")
    refused(tmp_path / "x.rar", r"is no archive; accepted: \.zip")
