"""Downloads over HTTP: whole, resumed, verified, refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from web_server import serve

from msdkit.errors import DataError
from msdkit.hub import download as module
from msdkit.hub.download import download

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "TRIES", 2)


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_once(tmp_path: Path) -> None:
    with serve({"a.bin": CONTENT}) as site:
        for _ in range(2):
            path = download(
                f"{site.root}a.bin", tmp_path / "new" / "a", size=len(CONTENT), sha256=SHA256
            )
        assert path.read_bytes() == CONTENT
        assert site.asked == [("/a.bin", None)]
    assert held(tmp_path / "new") == ["a"]


def test_an_empty_file_and_one_of_unknown_length(tmp_path: Path) -> None:
    with serve({"none": b"", "some": CONTENT}, lengths=False) as site:
        assert download(f"{site.root}none", tmp_path / "none").read_bytes() == b""
        found = download(f"{site.root}some", tmp_path / "some", size=len(CONTENT))
        assert found.read_bytes() == CONTENT


def test_a_broken_transfer_goes_on_where_it_ended(tmp_path: Path) -> None:
    with serve({"a": CONTENT}, breaks=[1000, 500]) as site:
        assert download(f"{site.root}a", tmp_path / "a", sha256=SHA256).read_bytes() == CONTENT
        assert [asked for _, asked in site.asked] == [None, "bytes=1000-", "bytes=1500-"]
    assert held(tmp_path) == ["a"]


def test_a_later_call_goes_on(tmp_path: Path) -> None:
    with serve({"a": CONTENT}, breaks=[1000], refusals=[]) as site:
        site.breaks += [0, 0]
        with pytest.raises(DataError, match=r"after 1,000 of 5,120 bytes; 1,000 bytes are kept"):
            download(f"{site.root}a", tmp_path / "a")
        assert held(tmp_path) == [".a.part", ".a.tag"]
        assert download(f"{site.root}a", tmp_path / "a").read_bytes() == CONTENT
        assert site.asked[-1] == ("/a", "bytes=1000-")
    assert held(tmp_path) == ["a"]


def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    with serve({"a": CONTENT}, breaks=[1000], ranges=False) as site:
        assert download(f"{site.root}a", tmp_path / "a").read_bytes() == CONTENT
        assert len(site.asked) == 2


def test_another_version_is_not_appended(tmp_path: Path) -> None:
    (tmp_path / ".a.part").write_bytes(b"old" * 100)
    (tmp_path / ".a.tag").write_text('"older"')
    with serve({"a": CONTENT}) as site:
        assert download(f"{site.root}a", tmp_path / "a").read_bytes() == CONTENT


def test_without_a_tag_only_a_known_sha256_makes_resuming_safe(tmp_path: Path) -> None:
    with serve({"a": CONTENT}, breaks=[1000], etag="") as site:
        download(f"{site.root}a", tmp_path / "a")
        assert [asked for _, asked in site.asked] == [None, None]
    with serve({"a": CONTENT}, breaks=[1000], etag="") as site:
        download(f"{site.root}a", tmp_path / "b", sha256=SHA256)
        assert [asked for _, asked in site.asked] == [None, "bytes=1000-"]
    assert held(tmp_path) == ["a", "b"]


def test_a_part_that_is_all_only_needs_its_name(tmp_path: Path) -> None:
    (tmp_path / ".a.part").write_bytes(CONTENT)
    with serve({"a": CONTENT}) as site:
        assert download(f"{site.root}a", tmp_path / "a", sha256=SHA256).read_bytes() == CONTENT
        (tmp_path / ".b.part").write_bytes(CONTENT + b"more")
        assert download(f"{site.root}a", tmp_path / "b", sha256=SHA256).read_bytes() == CONTENT


def test_passing_failures_are_tried_again(tmp_path: Path) -> None:
    with serve({"a": CONTENT}, refusals=[503]) as site:
        assert download(f"{site.root}a", tmp_path / "a").read_bytes() == CONTENT


def test_other_bytes_are_deleted(tmp_path: Path) -> None:
    with serve({"a": CONTENT + b"!"}) as site:
        with pytest.raises(DataError, match=rf"a has sha256 \w{{64}}, expected {SHA256}; it was"):
            download(f"{site.root}a", tmp_path / "a", sha256=SHA256)
        with pytest.raises(DataError, match="the server has 5,121 bytes, expected 5,120"):
            download(f"{site.root}a", tmp_path / "a", size=len(CONTENT))
        site.lengths = False
        with pytest.raises(DataError, match="gave 5,121 bytes, expected 5,120; they were deleted"):
            download(f"{site.root}a", tmp_path / "a", size=len(CONTENT))
    assert held(tmp_path) == []


def test_refusals_name_the_address(tmp_path: Path) -> None:
    with serve({}, refusals=[403]) as site:
        with pytest.raises(DataError, match=r"cannot fetch http://.*/a: HTTP 403 Forbidden$"):
            download(f"{site.root}a", tmp_path / "a")
        with pytest.raises(DataError, match=r"HTTP 404 Not Found$"):
            download(f"{site.root}a", tmp_path / "a")
        assert len(site.asked) == 2
        root = site.root
    with pytest.raises(DataError, match=r"cannot fetch http://.*refused"):
        download(f"{root}a", tmp_path / "a")
    with pytest.raises(DataError, match="expected an http:// or https:// address"):
        download("file:///etc/hostname", tmp_path / "a")
    assert held(tmp_path) == []
