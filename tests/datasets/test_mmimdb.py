"""MM-IMDb: the release, MMF's re-split, the authors' hdf5; 23 and 27 genres, bad files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from release_files import film_rows, write_lines, write_mmimdb

from msdkit.datasets.mmimdb import GENRES, RARE, MMIMDb
from msdkit.errors import ConfigError, DataError
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset
from msdkit.types import Modality


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mmimdb(tmp_path)
    return tmp_path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_mmimdb(tmp_path, "hdf5")
    return tmp_path


def load(folder: Path, split: str = "train", **params: Any) -> MMIMDb:
    data = DATASETS.build({"name": "mmimdb", "folder": str(folder), **params}, split=split)
    assert isinstance(data, MMIMDb)
    return data


def genres(data: MMIMDb, index: int) -> list[str]:
    return [data.label_names[c] for c in np.flatnonzero(data[index].label)]


def test_an_example_as_the_files_have_it(folder: Path) -> None:
    data = load(folder)
    poster = str((folder / "dataset" / "0000101.jpeg").resolve())
    assert data[1].id == "0000101"
    assert data[1].raw == {"text": "a cat goes home", "image": poster}
    assert genres(data, 1) == ["Comedy", "Romance"]
    assert data[1].label.dtype == np.float32
    assert load(folder, plot="longest")[1].raw["text"] == "once more , a cat goes home alone"


def test_the_papers_23_genres(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(folder)
    assert len(data.label_names) == 23
    assert data.label_names == sorted(GENRES)
    assert genres(data, 0) == ["Drama"]  # it is "Adult" too
    assert (len(data), data.dropped) == (15, 1)  # one film is nothing but news
    assert "split.json: 1 films of train have no genre left" in capsys.readouterr().err


def test_all_27_genres(folder: Path) -> None:
    data = load(folder, genres=27)
    assert data.label_names == sorted(GENRES + RARE)
    assert genres(data, 0) == ["Adult", "Drama"]
    assert genres(data, 15) == ["News"]
    assert (len(data), data.dropped) == (16, 0)


def test_the_order_of_a_trained_head(folder: Path) -> None:
    names = sorted(GENRES, reverse=True)
    data = load(folder, labels=names)
    assert data.label_names == names
    assert genres(data, 1) == ["Romance", "Comedy"]
    with pytest.raises(ConfigError, match="expected 23 genres in any order; differ: Drama, drama"):
        load(folder, labels=[n.replace("Drama", "drama") for n in names])


def test_layouts_give_equal_examples(tmp_path: Path) -> None:
    for layout in ("release", "mmf", "hdf5"):
        params = write_mmimdb(tmp_path / layout, layout)
        check_dataset(MMIMDb, **params)
        check_dataset(MMIMDb, **{**params, "image": "key"})
    check_dataset(MMIMDb, folder=str(tmp_path / "mmf"), genres=27)
    for split in ("train", "val", "test"):
        kept = []
        for layout in ("release", "mmf", "hdf5"):
            data = load(tmp_path / layout, split, image="key")
            kept.append([(e.id, e.raw, e.label.tolist()) for e in map(data.__getitem__, range(15))])
            assert len(data) == 15
        assert kept[0] == kept[1] == kept[2]


def test_features_of_the_hdf5_file(archive: Path) -> None:
    data = load(archive, "val", image="vgg")
    assert data.modalities["image"] == Modality("features", 4096)
    row = data[2].raw["image"]
    assert row.shape == (1, 4096)
    assert row.dtype == np.float32
    assert set(row.ravel()) == {17.0}  # the 15 films of train stand before it
    with pytest.raises(DataError, match="has 23 genres; `genres: 27` needs the release's other"):
        load(archive, image="vgg", genres=27)


def test_mmfs_rows_may_name_the_poster(tmp_path: Path) -> None:
    row = {"image": "mmimdb/dataset/0000007.jpeg", "plot": "x y", "genres": ["War"]}
    write_lines(tmp_path / "train.jsonl", [row])
    data = load(tmp_path, image="key")
    assert (data[0].id, data[0].raw) == ("0000007", {"text": "x y", "image": "0000007"})


FILM = film_rows("train")["0000100"]
MISTAKES = [
    ('{"plot": ["x"', "0000100.json: not valid JSON"),
    ("[1]", "0000100.json: expected an object"),
    ({**FILM, "genres": ["Dramma"]}, "0000100.json: unknown genre 'Dramma'. Did you mean 'Drama'?"),
    ({**FILM, "genres": [["Drama"]]}, "0000100.json: unknown genre ['Drama']"),
    ({**FILM, "genres": "Drama"}, "column 'genres': expected list, got 'Drama'"),
    ({"genres": ["Drama"]}, "0000100.json: no column 'plot'"),
    ({**FILM, "plot": []}, "0000100.json: plot: expected at least one text, got []"),
    ({**FILM, "plot": [None]}, "0000100.json: plot: expected at least one text"),
    ({**FILM, "plot": ["\ud800"]}, "0000100.json: column 'plot': the text is not valid Unicode"),
]


@pytest.mark.parametrize(("content", "message"), MISTAKES)
def test_bad_films_are_named(folder: Path, content: Any, message: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "dataset" / "0000100.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"train": ["00', "split.json: not valid JSON"),
        ('{"dev": []}', "split.json: no column 'train'"),
        ('{"train": []}', "split.json: holds no example"),
        ('{"train": [7]}', "expected ids as texts, got 7"),
        ('{"train": ["0000100", "0000100"]}', "the id '0000100' stands twice"),
        ('{"train": ["../split"]}', "film '../split': '../split.json' leaves the folder"),
        ('{"train": ["0009999"]}', "film '0009999': the file"),
    ],
)
def test_bad_splits_are_named(folder: Path, content: str, message: str) -> None:
    (folder / "split.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_poster_is_named(folder: Path) -> None:
    (folder / "dataset" / "0000103.jpeg").unlink()
    with pytest.raises(DataError, match=r"0000103\.json: the file .*0000103\.jpeg does not exist"):
        load(folder)


def damaged(path: Path, part: str) -> None:
    with h5py.File(path, "r+") as file:
        if part == "split":
            del file.attrs["split"]
        elif part == "names":
            file["genres"].attrs["target_names"] = '["Drama"]'
        elif part == "json":
            file["genres"].attrs["target_names"] = "[Drama"
        elif part == "link":
            del file["genres"]
            file["genres"] = h5py.ExternalLink("other.hdf5", "genres")
        elif part == "words":
            file["sequences"][0] = np.array([99], np.int32)
        elif part == "features":
            del file["vgg_features"]
            file["vgg_features"] = np.zeros((60, 5), np.float32)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("split", "damaged, or no file of MM-IMDb"),
        ("names", "1 names for genres (15, 5)"),
        ("json", "damaged, or no file of MM-IMDb"),
        ("link", "holds no 'genres' of its own"),
        ("words", "film '0000100': metadata.npy has no word 99"),
        ("features", "film '0000100': vgg_features are not 4096 numbers"),
    ],
)
def test_bad_hdf5_files(archive: Path, part: str, message: str) -> None:
    path = archive / "multimodal_imdb.hdf5"
    damaged(path, part)
    with pytest.raises(DataError) as error:
        load(archive, image="vgg")[0]
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_hdf5_file_that_is_cut_off(archive: Path) -> None:
    path = archive / "multimodal_imdb.hdf5"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"multimodal_imdb\.hdf5: damaged, or no file of MM-IMDb"):
        load(archive, image="vgg")


class Hostile:
    """Runs a command when a pickle of it is loaded as pickles are."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


def test_words_that_could_run_code_are_refused(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archive)
    found: Any = {"ix_to_word": Hostile()}
    np.save(archive / "metadata.npy", found)
    with pytest.raises(DataError, match=r"metadata\.npy: .*mkdir"):
        load(archive, image="key")
    assert not (archive / "made-by-a-pickle").exists()
    found = {"words": {}}
    np.save(archive / "metadata.npy", found)
    with pytest.raises(DataError, match=r"metadata\.npy: expected \{'ix_to_word'"):
        load(archive, image="key")
    (archive / "metadata.npy").unlink()
    with pytest.raises(DataError, match=r"metadata\.npy does not exist"):
        load(archive, image="key")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no films of split 'train'; looked for split\.json, "):
        load(tmp_path, image="key")
    with pytest.raises(DataError, match=r"multimodal_imdb\.hdf5 does not exist"):
        load(tmp_path, image="vgg")
    with pytest.raises(DataError, match="has no split 'dev'"):
        load(tmp_path, "dev")


def oversized(path: Path, part: str) -> None:
    """Of the numbers of films nothing is written, and so nothing takes space."""
    with h5py.File(path, "r+") as file:
        at = file["sequences"].id.get_offset()
        if part == "length":
            file.close()
            data = bytearray(path.read_bytes())
            data[at : at + 4] = (1 << 30).to_bytes(4, "little")
            path.write_bytes(data)
            return
        del file["imdb_ids"]
        if part == "promised":
            file.create_dataset("imdb_ids", (10**12,), "S7")
        elif part == "packed":
            file.create_dataset("imdb_ids", (10**12,), "S7", chunks=(10**6,), compression=9)
        elif part == "elsewhere":
            file.create_dataset("imdb_ids", (60,), "S7", external=[("other.bin", 0, 420)])
        elif part == "type":
            file["imdb_ids"] = np.dtype("S7")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("promised", "'/imdb_ids' of 7000000000000 bytes in a file of"),
        ("packed", "'/imdb_ids' of 7000000000000 bytes in a file of"),
        ("elsewhere", "'/imdb_ids' lies in other files"),
        ("type", "'/imdb_ids' is no data set"),
        ("length", "rows of '/sequences' are longer than the file"),
    ],
)
def test_hdf5_files_that_promise_more_than_they_hold(
    archive: Path, part: str, message: str
) -> None:
    path = archive / "multimodal_imdb.hdf5"
    oversized(path, part)
    with pytest.raises(DataError, match="damaged, or no file of MM-IMDb") as error:
        load(archive, image="vgg")
    assert message in str(error.value)
