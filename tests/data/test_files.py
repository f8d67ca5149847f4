"""What is derived of files follows their content, wherever they lie and whenever they changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listed_data import Listed
from shades import paint, swap, write_shades
from xxhash import xxh3_128

from msdkit.data.files import value_bytes
from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.datasets.jsonl import Jsonl
from msdkit.errors import DataError
from msdkit.processors.array import Features
from msdkit.processors.base import Processor
from msdkit.processors.image import Patches
from msdkit.store.writer import FeatureStoreWriter
from msdkit.types import Example, Modality


class Bytes(Processor):
    """The bytes of a file, or of a text; a key of its own it has not."""

    modality = Modality("tokens", 256)  # type: ignore[assignment]
    done = 0

    def __call__(self, raw: Any) -> np.ndarray:
        """path -> int64 [L]"""
        self.done += 1
        return np.frombuffer(Path(raw).read_bytes(), np.uint8).astype(np.int64)


class OwnKey(Bytes):
    def key(self, raw: Any) -> str:
        return f"mine {raw}"


def split_of(*raws: Any, kind: Any = "image") -> RawSplit:
    data = Listed([Example(f"e{i}", {"x": raw}, "b") for i, raw in enumerate(raws)])
    data.modalities = {"x": kind}
    return RawSplit(data, "train", "single_label")


def read(raw: RawSplit, processor: Processor, cache: Path) -> list[str]:
    values, mask = ModelInputs(raw, {"x": processor}, cache).batch(range(len(raw)))["x"]
    return [bytes(v[m].tolist()).decode() for v, m in zip(values, mask, strict=True)]


@pytest.fixture
def files(tmp_path: Path, own_cache: Path) -> list[Path]:
    for name, text in {"one": "a", "two": "b", "twin": "a"}.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in ("one", "two", "twin")]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("image", str),
        ("image", Path),
        ("sound", str),
        ("sound", Path),
        (Modality("tokens", 9), str),
    ],
)
def test_files_of_equal_content_are_one(
    files: list[Path], own_cache: Path, kind: Any, given: Callable[[Path], Any]
) -> None:
    """Also as strings beside a plugin's own kind, for a processor that knows nothing of files."""
    processor, raw = Bytes(), split_of(*map(given, files), kind=kind)
    assert read(raw, processor, own_cache) == ["a", "b", "a"]
    assert processor.done == 2
    assert [type(value) for value in raw.raws("x")] == [type(given(files[0]))] * 3
    before = raw.fingerprint
    files[0].write_text("b")
    files[1].write_text("a")
    again = split_of(*map(given, files), kind=kind)
    assert read(again, Bytes(), own_cache) == ["b", "a", "a"]
    assert again.fingerprint != before


def test_texts_that_are_names_of_files_stay_texts(files: list[Path]) -> None:
    raw = split_of(str(files[0]), kind="text")
    assert raw.files("x") is None
    files[0].write_text("c")
    assert split_of(str(files[0]), kind="text").fingerprint == raw.fingerprint


def test_a_key_of_its_own_is_kept(files: list[Path], own_cache: Path) -> None:
    processor = OwnKey()
    assert processor.own_key
    assert not Bytes.own_key
    assert not Patches.own_key
    inputs = ModelInputs(split_of(*files), {"x": processor}, own_cache)
    assert sorted(inputs._stores["x"]) == sorted(f"mine {path}" for path in files)


def test_the_key_of_a_file_is_its_digest(files: list[Path], own_cache: Path) -> None:
    inputs = ModelInputs(split_of(*files), {"x": Bytes()}, own_cache)
    assert sorted(inputs._stores["x"]) == sorted(xxh3_128(x).hexdigest() for x in (b"a", b"b"))


def test_swapped_pictures_are_processed_as_they_are(tmp_path: Path, own_cache: Path) -> None:
    node = write_shades(tmp_path / "data", 2)
    del node["name"]

    def opened() -> tuple[ModelInputs, list[float]]:
        raw = RawSplit(Jsonl("test", **node), "test", "single_label")
        inputs = ModelInputs(raw, {"image": Patches(size=8, patch=8)}, own_cache)
        return inputs, inputs.batch([0, 1])["image"].values[:, 0, 0].tolist()

    before, values = opened()
    assert values == [-1, 1]
    swap(tmp_path / "data/test0.bmp", tmp_path / "data/test1.bmp")
    after, values = opened()
    assert values == [1, -1]
    assert before.fingerprint != after.fingerprint
    assert before.raw.fingerprint != after.raw.fingerprint
    paint(tmp_path / "data/test0.bmp", "black")
    paint(tmp_path / "data/test1.bmp", "white")
    again, values = opened()
    assert values == [-1, 1]
    assert again.fingerprint == before.fingerprint


@pytest.mark.parametrize("how", ["copied", "moved", "linked"])
def test_a_place_is_no_part_of_the_data(tmp_path: Path, own_cache: Path, how: str) -> None:
    node = write_shades(tmp_path / "data")
    del node["name"]

    def opened(folder: Path) -> tuple[str, str, list[Path]]:
        raw = RawSplit(Jsonl("train", **node | {"folder": str(folder)}), "train", "single_label")
        inputs = ModelInputs(raw, {"image": Patches(size=8, patch=8)}, own_cache)
        return raw.fingerprint, inputs.fingerprint, sorted(own_cache.glob("processed/*"))

    before, other = opened(tmp_path / "data"), tmp_path / "elsewhere"
    if how == "copied":
        shutil.copytree(tmp_path / "data", other, copy_function=shutil.copyfile)
    elif how == "moved":
        shutil.move(tmp_path / "data", other)
    else:
        other.symlink_to(tmp_path / "data")
    assert opened(other) == before


def test_stored_features_need_no_picture(tmp_path: Path, own_cache: Path) -> None:
    """A path may stand for a key though no file is there; then its name stands for its content."""
    with FeatureStoreWriter(tmp_path / "store", dim=1) as writer:
        writer.add("1", np.ones((1, 1), np.float32))
    features = Features(store=str(tmp_path / "store"))
    raw = split_of("/gone/1.png")
    values = ModelInputs(raw, {"x": features}, own_cache).batch([0])["x"].values
    assert values.tolist() == [[[1.0]]]
    assert raw.fingerprint == split_of("/elsewhere/1.png").fingerprint
    assert raw.fingerprint != split_of("/gone/2.png").fingerprint
    with pytest.raises(DataError, match=r"modality 'x': cannot read the file /gone/1\.png"):
        ModelInputs(raw, {"x": Patches()}, own_cache)


def test_a_file_that_changes_after_its_digest_is_named(files: list[Path], own_cache: Path) -> None:
    class Late(Bytes):
        def __call__(self, raw: Any) -> np.ndarray:
            files[1].write_text("longer")
            return super().__call__(raw)

    with pytest.raises(DataError, match=r"the file .*two changed while the data were read"):
        read(split_of(*files), Late(), own_cache)
    files[1].write_text("b")
    assert read(split_of(*files), Bytes(), own_cache) == ["a", "b", "a"], "nothing wrong was kept"


def test_runs_of_before_named_files_by_their_paths(files: list[Path]) -> None:
    """What they noted, by hand: ids, paths and labels in one stream."""
    import hashlib

    raw = split_of(*map(str, files))
    stream = b"".join(
        f"e{i}\0{path}\0".encode() + np.asarray(1).tobytes() for i, path in enumerate(files)
    )
    assert raw.is_as(hashlib.blake2b(stream, digest_size=12).hexdigest())
    assert raw.is_as(raw.fingerprint)
    assert not raw.is_as("of another day")
    assert not split_of(*map(str, files[:2])).is_as(raw.fingerprint)


def test_values_of_a_plugins_own_kind(files: list[Path]) -> None:
    """Trees of values have content too; their place in memory is none."""
    box = np.arange(4)
    tree = {"path": files[0], "boxes": [box, [1.5]], "words": ["a"]}
    same = {"words": ["a"], "path": files[2], "boxes": [box.copy(), [1.5]]}
    assert value_bytes(tree) == value_bytes(same)
    for other in ({**tree, "path": files[1]}, {**tree, "boxes": [box + 1, [1.5]]}):
        assert value_bytes(other) != value_bytes(tree)
    assert value_bytes([1, 2]) == np.array([1, 2]).tobytes()
