"""Debian packages: unpacked without links or scripts, refused where broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from archive_bytes import Offer, deb

from msdkit.errors import DataError
from msdkit.hub import packages as assets


def test_debian_package_is_unpacked_without_its_links_or_scripts(
    offer: Offer, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = deb({"./usr/share/a.svg": "<svg/>"}, links={"./usr/share/b.svg": "a.svg"})
    commands = offer("openclipart-svg", content)
    folder = assets.package("openclipart-svg")
    assert folder == own_cache / "packages" / "openclipart-svg-0.18+dfsg-19"
    assert [str(p.relative_to(folder)) for p in folder.rglob("*.svg")] == ["usr/share/a.svg"]
    assert (folder / "usr/share/a.svg").read_text() == "<svg/>"
    assert commands == [["apt-get", "download", "openclipart-svg=1:0.18+dfsg-19"]]
    assert capsys.readouterr().err.endswith(
        "openclipart-svg 1:0.18+dfsg-19 (24.9 MB) from Debian\n"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (deb({}, magic=b"!<arsh>\n"), "not a Debian package"),
        (deb({"./a": "b"})[:70], "no member data.tar"),
        (deb({"./a": "b"})[:140], "cannot be unpacked"),
        (deb({"./a": "b"}).replace(b"3         `", b"x         `"), "invalid literal"),
    ],
)
def test_broken_debian_package(offer: Offer, own_cache: Path, content: bytes, reason: str) -> None:
    offer("openclipart-svg", content)
    with pytest.raises(DataError, match=reason) as error:
        assets.package("openclipart-svg")
    assert str(error.value).startswith("archive.deb cannot be unpacked: ")
    assert list((own_cache / "packages").iterdir()) == []


def test_no_debian_member_leaves_the_folder(offer: Offer) -> None:
    offer("openclipart-svg", deb({"./../evil": ""}))
    with pytest.raises(DataError, match=r"archive\.deb: member '\.\./evil'"):
        assets.package("openclipart-svg")


def test_apt_gets_a_folder_of_its_own_and_a_hint(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(f"#!/bin/sh\npwd > {tmp_path}/where\necho 'E: not found' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{apt.parent}:/bin:/usr/bin")
    with pytest.raises(DataError) as error:
        assets.package("openclipart-svg")
    assert str(error.value) == (
        "cannot fetch openclipart-svg=1:0.18+dfsg-19: `apt-get download "
        "openclipart-svg=1:0.18+dfsg-19` failed: E: not found; it needs Debian's apt and fresh "
        "lists of packages (`apt-get update`)"
    )
    where = Path((tmp_path / "where").read_text().strip())
    assert where.parent == own_cache / "packages"
    assert not where.exists()
