"""The zoo: its table, its command, and fetching from a server of our own."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy
from web_server import Site, serve

from msdkit.errors import DataError
from msdkit.hub import download, zoo
from msdkit.hub.archives import is_archive
from msdkit.hub.entries import ENTRIES, Entry, File
from msdkit.registry import DATASETS, MODELS


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in files.items():
            file.writestr(name.replace("__", "/"), text)
    return content.getvalue()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Two archives and a file, known to the zoo as `toys`."""
    files = {"a.zip": zipped(img__1="one"), "b.zip": zipped(img__2="two"), "c.bin": b"three"}
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "TRIES", 1)
    with serve(files) as server:
        known = [
            File(server.root + name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        ]
        known.append(File(server.root + "c.bin", into="sub"))
        toys = Entry("toys", "data set", "Toys", "CC0", "here", tuple(known), ("Play.",), "FOLDER")
        monkeypatch.setitem(ENTRIES, "toys", toys)
        yield server


def test_the_table_is_sound() -> None:
    for name, entry in ENTRIES.items():
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert entry.files or entry.steps, name
        assert all([entry.about, entry.licence, entry.use]), name
        assert entry.source.startswith("https://")
        names = [(file.into, file.name) for file in entry.files]
        assert len(set(names)) == len(names)
        for file in entry.files:
            assert file.address.startswith(("https://", "http://images.cocodataset.org/"))
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256), name
            assert re.fullmatch(r"[\w.-]+", file.name)
    assert {"hateful_memes", "mmimdb", "snli_ve", "vqa2"} <= {*ENTRIES} & {*DATASETS}


def test_entries_name_what_msdkit_has() -> None:
    for entry in ENTRIES.values():
        named = re.search(r"^(dataset: )?\{name: (\w+),", entry.use)
        if named:
            assert named[2] in (DATASETS if named[1] else MODELS)


def test_list_and_describe(capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.main("zoo") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ENTRIES)
    (vqa2,) = [line for line in lines if line.startswith("vqa2 ")]
    assert "43.0 MB+" in vqa2  # 7,239,401 + 3,494,929 + 21,708,861 + 10,518,930 and one unknown
    assert toy.main("zoo", "mmimdb") == 0
    shown = capsys.readouterr().out
    assert "https://archive.org/download/mmimdb/mmimdb.tar.gz" in shown
    assert "size not known, sha256 7facb412f84e" in shown
    assert "msdkit zoo get mmimdb --to FOLDER" in shown
    assert toy.main("zoo", "hateful_memes") == 0
    assert re.findall(r"step \d", capsys.readouterr().out) == ["step 1", "step 2", "step 3"]
    assert toy.main("zoo", "vqa") == 2
    assert "the zoo has no 'vqa'. Did you mean 'vqa2'?" in capsys.readouterr().err


def test_get_downloads_verifies_and_unpacks(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert toy.main("zoo", "get", "toys", "--to", tmp_path / "to") == 0
    assert "4 files in" in capsys.readouterr().out
    held = {str(p.relative_to(tmp_path / "to")) for p in (tmp_path / "to").rglob("*")}
    assert held == {"img", "img/1", "img/2", "c.bin", "sub", "sub/c.bin", zoo.DONE}
    assert len(site.asked) == 4
    (tmp_path / "to" / "c.bin").unlink()
    zoo.get("toys", tmp_path / "to")
    assert len(site.asked) == 5


def test_archives_are_kept_on_demand(site: Site, tmp_path: Path) -> None:
    assert toy.main("zoo", "get", "toys", "--to", tmp_path, "--keep") == 0
    assert all((tmp_path / name).exists() for name in ("a.zip", "b.zip", "img/1", "img/2"))


def test_an_interrupted_get_goes_on(site: Site, tmp_path: Path) -> None:
    site.breaks += [10**6, 50, 0]
    with pytest.raises(DataError, match="run it again to go on"):
        zoo.get("toys", tmp_path)
    zoo.get("toys", tmp_path)
    parts = [("/b.zip", None), *[("/b.zip", "bytes=50-")] * 2]
    assert site.asked == [("/a.zip", None), *parts, *[("/c.bin", None)] * 2]


def test_other_bytes_are_not_unpacked(site: Site, tmp_path: Path) -> None:
    content = bytearray(site.files["/b.zip"])
    content[-1] ^= 1
    site.files["/b.zip"] = bytes(content)
    with pytest.raises(DataError, match=r"b\.zip has sha256 \w+, expected"):
        zoo.get("toys", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"img", zoo.DONE}
    assert not (tmp_path / "img" / "2").exists()


def test_what_has_no_address_says_its_steps(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no direct address; .*\(1\) Open .*accept it\. \(2\)"):
        zoo.get("hateful_memes", tmp_path / "to")
    assert not (tmp_path / "to").exists()
    (tmp_path / zoo.DONE).write_text("{")
    with pytest.raises(DataError, match="delete it"):
        zoo.get("mmimdb", tmp_path)


def test_archives_of_the_table_can_be_unpacked() -> None:
    odd = {f.name.partition(".")[2] for e in ENTRIES.values() for f in e.files} - {
        "pt", "json", "bin", "txt", "hdf5"
    }  # fmt: skip
    assert all(is_archive(f"x.{ending}") for ending in odd)
