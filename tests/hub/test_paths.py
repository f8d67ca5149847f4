"""Paths of configs that are addresses: copies in the cache, and where configs may name them."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toy
from web_server import serve

from msdkit.config import validation
from msdkit.datasets.jsonl import Jsonl
from msdkit.errors import DataError
from msdkit.hub import download, paths
from msdkit.hub.paths import absent, fetched, is_address, local
from msdkit.processors.array import Features
from msdkit.processors.regions import Regions
from msdkit.processors.text import Tokenizer
from msdkit.runs.new_model import folder_of
from msdkit.runs.runner import run
from msdkit.runs.saved_model import load
from msdkit.store.writer import FeatureStoreWriter


def packed(folder: Path, *names: str, below: str = "") -> bytes:
    """A .tar.gz of a folder's files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as file:
        for name in names or sorted(p.name for p in folder.iterdir()):
            file.add(folder / name, f"{below}{name}")
    return content.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with FeatureStoreWriter(tmp_path / "store", dim=2, dtype="fp32", boxes=True) as writer:
        writer.add("a", np.ones((1, 2), np.float32), boxes=np.array([[0, 0, 1, 1]], np.float32))
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    paths.manager.cache_clear()  # no test finds another's handlers


def test_local_paths_stay_as_they_are(tmp_path: Path, own_cache: Path) -> None:
    assert local("some/where") == Path("some/where")
    assert local(tmp_path) == tmp_path
    assert not any(map(is_address, ["a/b", "/a", "C:/a", "a:b", "", tmp_path]))
    assert not own_cache.exists()
    assert (absent(tmp_path / "no"), absent(tmp_path), fetched("no")) == (True, False, True)


def test_a_file_is_fetched_once_and_told_by_its_whole_address(own_cache: Path) -> None:
    with serve({"a/x.txt": b"one", "b/x.txt": b"two"}) as site:
        first, second = f"{site.root}a/x.txt?v=1", f"{site.root}b/x.txt"
        assert (fetched(first), absent(first)) == (False, False)
        for _ in range(2):
            assert local(first).read_bytes() == b"one"
            assert local(second).read_bytes() == b"two"
        assert local(Path(second)) == local(second)  # Path makes one slash of two
        assert len(site.asked) == 2
        assert local(second).is_relative_to(own_cache)
        assert local(second).name == "x.txt"
        assert fetched(first)


def test_an_archive_gives_its_folder(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "rows.txt").write_text("row")
    (tmp_path / "more.txt").write_text("row")
    files = {
        "one.tgz": packed(tmp_path, "rows.txt", below="data/"),
        "two.tar.gz": packed(tmp_path, "rows.txt", "more.txt"),
    }
    with serve(files) as site:
        for _ in range(2):
            assert local(f"{site.root}one.tgz").name == "data"
            assert sorted(p.name for p in local(f"{site.root}two.tar.gz").iterdir()) == [
                "more.txt",
                "rows.txt",
            ]
        assert len(site.asked) == 2
        assert fetched(f"{site.root}one.tgz")
    assert not list(own_cache.rglob("*.t*gz"))


def test_what_cannot_be_fetched_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(DataError, match=r"nothing here reads s3:// paths \(`pip install boto3`\)"):
        local("s3://bucket/key.txt")
    with pytest.raises(DataError, match="cannot fetch odd://a/b: nothing here reads odd://"):
        local("odd://a/b")
    with serve({"x.zip": b"no zip"}) as site, pytest.raises(DataError, match="cannot be unpacked"):
        local(f"{site.root}x.zip")


def test_s3_through_iopath(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
            return {"LastModified": None}

        def download_file(self, bucket: str, key: str, to: str, Config: Any) -> None:
            Path(to).write_text(f"{bucket} {key}")

    boto3: Any = ModuleType("boto3")
    boto3.Session = lambda profile_name: SimpleNamespace(client=lambda name: Client())
    transfer: Any = ModuleType("boto3.s3.transfer")
    transfer.TransferConfig = dict
    for name, module in (("boto3", boto3), ("boto3.s3", boto3), ("boto3.s3.transfer", transfer)):
        monkeypatch.setitem(sys.modules, name, module)
    from iopath.common import s3

    monkeypatch.setattr(s3, "boto3", boto3)
    for bucket in ("one", "two"):  # the same key in two buckets is two files
        assert local(f"s3://{bucket}/a/key.txt").read_text() == f"{bucket} a/key.txt"
        assert fetched(f"s3://{bucket}/a/key.txt")


def test_a_hub_id_comes_through_its_own_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append(name)
        return str(tmp_path)

    hub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert folder_of("hf://uclanlp/visualbert-vqa") == tmp_path
    assert asked == ["uclanlp/visualbert-vqa"]


def test_other_schemes_by_a_handler(tmp_path: Path) -> None:
    from iopath.common.file_io import PathHandler

    class Shelf(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return ["shelf://"]

        def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
            if path.endswith("broken"):
                raise RuntimeError("the shelf\nis empty")
            return str(tmp_path)

    paths.manager().register_handler(Shelf())
    assert local("shelf://a") == tmp_path
    with pytest.raises(DataError, match=r"^cannot fetch shelf://broken: the shelf is empty$"):
        local("shelf://broken")


def test_datasets_stores_and_tokenizers_take_addresses(tmp_path: Path, store: Path) -> None:
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import WordLevel

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(
        json.dumps({"id": 1, "text": "t", "label": "x"}) + "\n"
    )
    words = Backend(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    files = {
        "data.tar.gz": packed(tmp_path / "data"),
        "store.tgz": packed(store, below="store/"),
        "tokenizer.json": words.to_str().encode(),
    }
    with serve(files) as site:
        rows = Jsonl("train", folder=f"{site.root}data.tar.gz", modalities={"text": "text"})
        assert rows[0].raw == {"text": "t"}
        assert Features(store=f"{site.root}store.tgz")("a").tolist() == [[1, 1]]
        assert Regions(store=f"{site.root}store.tgz")("a").shape == (1, 9)
        assert Tokenizer(file=f"{site.root}tokenizer.json")("a").tolist() == [0]
        assert len(site.asked) == 3


def test_a_teachers_run_by_address(tmp_path: Path) -> None:
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN), tiny=True)
    own = load(tmp_path / "x")
    with serve({"x.tgz": packed(tmp_path / "x", below="x/")}) as site:
        shutil.rmtree(tmp_path / "x")
        node = {"run": f"{site.root}x.tgz"}
        assert validation.teacher_lacks(node) == ""
        assert validation.model_node(node) is None  # `check` fetches nothing
        assert not site.asked
        there = load(node["run"])
        assert there.label_names == own.label_names
        assert validation.model_node(node) is not None
        assert validation.teacher_lacks(node) == ""
        assert len(site.asked) == 1
