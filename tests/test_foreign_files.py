"""Every reader of files from elsewhere, on flipped bits and files cut off: a DataError or a value.

The draws are seeded. What damage leaves readable is read; all else is one line, and nothing asks
for more memory than a few files take.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import region_files
import torch
from memory import asks_at_most
from PIL import Image
from safetensors.torch import save_file

from msdkit.datasets.fields import Field, read_field
from msdkit.datasets.vqa_imdb import read_imdb
from msdkit.datasets.vqa_vocabulary import read_vocabulary
from msdkit.errors import DataError
from msdkit.features.importing import open_source
from msdkit.io.pictures import open_picture
from msdkit.models.weights import read_weights
from msdkit.store.store import FeatureStore, FeatureStoreWriter
from msdkit.teacher_cache import shards
from msdkit.training.tree import load_tree, save_tree

DRAWS, LARGEST = 30, 16 << 20  # bytes


class Reader(NamedTuple):
    """What writes a file or folder into a folder, and what reads all of it."""

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]


def regions(write: Callable[..., Path]) -> Reader:
    def read(path: Path) -> list[Any]:
        return [entry.load() for entry in open_source(path)]

    return Reader(lambda folder: write(folder, region_files.pictures()), read)


def to(name: str, save: Callable[[Path], Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        save(folder / name)
        return folder / name

    return write


def imdb(path: Path) -> None:
    answers = {"answers": ["yes"] * 10, "image_id": 1, "image_name": "COCO_train2014_000000000001"}
    rows = [{"question_id": i, "question_str": f"what is {i}?", **answers} for i in range(8)]
    np.save(path, np.array([{"version": 1}, *rows], dtype=object), allow_pickle=True)


def store(path: Path) -> None:
    with FeatureStoreWriter(path, 4, "fp32", boxes=True) as writer:
        for key, (features, boxes) in region_files.pictures().items():
            writer.add(key, features, boxes)


def read_store(path: Path) -> None:
    found = FeatureStore(path)
    found.gather(found.rows(found.keys()))
    [found.boxes(key) for key in found]
    found.verify()


def photo(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)


STATE = {"w": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.float16)}
TREE = {"step": 3, "model": STATE, "rng": [1, {"x": None}]}
VOCABULARY = {"yes": 0, "no": 1, "2": 2}
READERS = {
    "mmf lmdb": regions(region_files.write_mmf_lmdb),
    "uniter lmdb": regions(region_files.write_uniter),
    "uniter lmdb of npz": regions(region_files.write_uniter_npz),
    "npy": regions(region_files.write_npy),
    "npy of dictionaries": regions(region_files.write_vilbert),
    "npz": regions(region_files.write_npz),
    "tsv": regions(region_files.write_tsv),
    "lxmert tsv": regions(region_files.write_lxmert_tsv),
    "imdb": Reader(to("imdb.npy", imdb), read_imdb),
    "pickled vocabulary": Reader(
        to("x.pkl", lambda path: path.write_bytes(pickle.dumps(VOCABULARY))), read_vocabulary
    ),
    "vocabulary": Reader(
        to("x.json", lambda path: path.write_text(json.dumps(VOCABULARY))), read_vocabulary
    ),
    "array of a row": Reader(
        to("x.npy", lambda path: np.save(path, np.ones((3, 4), np.float32))),
        lambda path: read_field(Field("a", "array"), {"a": path.name}, path.parent, "row 1"),
    ),
    "safetensors": Reader(to("x.safetensors", lambda p: save_file(STATE, p)), read_weights),
    "torch zip": Reader(to("x.pth", lambda p: torch.save({"model": STATE}, p)), read_weights),
    "torch legacy": Reader(
        to("x.th", lambda p: torch.save(STATE, p, _use_new_zipfile_serialization=False)),
        read_weights,
    ),
    "tree": Reader(to("x.safetensors", lambda path: save_tree(path, TREE)), load_tree),
    "teacher cache": Reader(
        to("x.safetensors", lambda path: shards.write(path, STATE, {"views": ["a"]})), shards.read
    ),
    "feature store": Reader(to("x", store), read_store),
    **{
        f"picture {kind}": Reader(to(f"x.{kind}", photo), open_picture)
        for kind in ("png", "jpg", "tif", "webp", "jp2")
    },
    "picture bmp": Reader(
        to("x.bmp", lambda path: Image.new("P", (9, 9)).save(path)), open_picture
    ),
    "picture gif": Reader(
        to("x.gif", lambda path: Image.new("P", (9, 9)).save(path)), open_picture
    ),
}


def damage(path: Path, draw: random.Random) -> None:
    """Flip one to forty bits of one file, half of them near its beginning, or cut it off."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    file = draw.choice([file for file in files if file.stat().st_size > 8])
    data = bytearray(file.read_bytes())
    if draw.random() < 0.2:
        del data[draw.randrange(len(data)) :]
    else:
        for _ in range(draw.choice([1, 4, 40])):
            reach = len(data) if draw.random() < 0.5 else min(len(data), 256)
            data[draw.randrange(reach)] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_end_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MSDKIT_MAX_PIXELS", "1000000")
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "cache"))
    write, read = READERS[name]
    (tmp_path / "whole").mkdir()
    whole = write(tmp_path / "whole")
    read(whole)
    told: list[str] = []
    for seed in range(DRAWS):
        path = tmp_path / str(seed) / whole.relative_to(tmp_path / "whole")
        shutil.copytree(tmp_path / "whole", tmp_path / str(seed))
        damage(path, random.Random(seed))
        with asks_at_most(LARGEST):
            try:
                read(path)
            except DataError as error:
                told.append(str(error))
        shutil.rmtree(tmp_path / str(seed))
    assert told
    assert not [line for line in told if "\n" in line or len(line) > 1000]
