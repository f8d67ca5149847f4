"""The clip art task, built from small stand-ins for its packages."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clipart_packages
import numpy as np
import pytest
from clipart_packages import COLOURS, THINGS, write_fake_clipart, write_png, write_svg
from PIL import Image

from msdkit.datasets.clipart import sources
from msdkit.datasets.clipart.families import deal, find_families, near_pairs
from msdkit.datasets.clipart.sources import Clip
from msdkit.datasets.clipart.tags import (
    LABELS,
    SPLITS,
    ClipartTags,
    hide_labels,
    labels_in,
    labels_of,
)
from msdkit.errors import DataError
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("clipart")
    write_fake_clipart(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(folder))
        yield folder


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one's own, to write to."""
    write_fake_clipart(tmp_path)
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path))
    return tmp_path


def rows(split: str, **params: Any) -> list[dict[str, Any]]:
    data = ClipartTags(split, **params)
    return [data.record(i) for i in range(len(data))]


def clip(
    name: str, title: str = "", author: str = "Ann", tags: tuple[str, ...] = ("food",)
) -> Clip:
    return Clip(name, title, title, "", author, tags)


def test_contract_and_sizes(cache: Path) -> None:
    check_dataset(ClipartTags)
    found = {split: rows(split) for split in SPLITS}
    assert sum(map(len, found.values())) == len(THINGS) * len(COLOURS)
    assert len(found["train"]) > len(found["test"]) > len(found["val"]) > 0
    images = [row["image"] for split in SPLITS for row in found[split]]
    assert len(set(images)) == len(images)
    about = json.loads((ClipartTags("val").folder / "about.json").read_text())
    assert about["examples"] == {split: len(found[split]) for split in SPLITS}
    assert about["sources"]["openclipart-svg 1:0.18+dfsg-19"] == "public domain"


def test_an_example(cache: Path) -> None:
    data = DATASETS.build({"name": "clipart_tags", "label_words": "keep"}, split="train")
    index = next(i for i, row in enumerate(rows("train")) if row["title"].endswith("pigeon"))
    example, row = data[index], data.record(index)
    assert example.id == f"train-{index:05d}"
    assert example.raw["text"] == f"{row['title']}. A pigeon."
    assert [n for n, y in zip(data.label_names, example.label, strict=True) if y] == [
        "animal",
        "bird",
    ]
    assert row["tags"] == ["animal", "birds"]
    assert row["author"].startswith("Author ")
    with Image.open(example.raw["image"]) as picture:
        assert picture.size == (96, 96)
        assert picture.mode == "RGB"
    with pytest.raises(DataError, match="no split 'dev'"):
        ClipartTags("dev")


def test_same_seed_same_bytes(cache: Path, tmp_path: Path) -> None:
    def tree(name: str, seed: int) -> dict[str, bytes]:
        folder = ClipartTags.build(folder=str(tmp_path / name), seed=seed)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    first, again, other = tree("a", 0), tree("b", 0), tree("c", 1)
    assert first == again
    assert first["test.jsonl"] != other["test.jsonl"]
    with pytest.raises(DataError, match=r"was built with seed=0, not 1: give it another folder"):
        ClipartTags("test", folder=str(tmp_path / "a"), seed=1)


def test_what_the_rdf_says(tmp_path: Path) -> None:
    tags = ("Food", "ice &amp; cream", "food", "")
    path = write_svg(tmp_path, "food/x", " Ice\n  &lt;3 ", tags, "Zo&#235;", "Cold <b>and</b> wet")
    found = sources.read_clip(path, "food/x")
    assert found.title == found.series == "Ice <3"
    assert found.description == "Cold and wet"
    assert found.author == "Zoë"
    assert found.tags == ("food", "ice & cream")
    path.write_bytes(b"\xff\xfe no metadata")
    assert sources.read_clip(path, "food/x") == clip("food/x", author="", tags=())


@pytest.mark.parametrize(
    ("name", "author", "title"),
    [
        ("food/onelette_gerald_g._01", "Gerald G.", "onelette"),
        ("a/chemistry_flask_matthew__02", "Matthew Wilson", "chemistry flask"),
        ("a/show_table-column", "Ann", "show table column"),
        ("a/matthew", "Matthew", "matthew"),
    ],
)
def test_title_from_the_files_name(name: str, author: str, title: str) -> None:
    assert sources.file_title(clip(name, author=author)) == title


def test_titles_of_series_and_noise_give_way() -> None:
    series = [clip(f"a/thing {word}", "R16 theme") for word in "abcdefghi"]
    single = clip("a/x", "Clipart by Nicu - tree HASH(0x85c8ce4) me@there.org http://a.b/c")
    empty = clip("a/red_rose", "")
    found = list(sources._named_alone([*series, single, empty]))
    assert [c.title for c in found] == [f"thing {w}" for w in "abcdefghi"] + ["tree", "red rose"]
    assert {c.series for c in found[:9]} == {"R16 theme"}


def test_families_by_title_and_picture_and_chain() -> None:
    titles = ["Red hat (B and W)", "hat 2", "hat - clothing", "coat - clothing", "Shoe", "Boot"]
    clips = [clip(f"a/{i}", title) for i, title in enumerate(titles)]
    clips.append(clip("a/6", "hat", author="Bob"))
    thumbs = np.arange(7, dtype=np.uint8)[:, None] * np.full(4, 30, np.uint8)
    assert find_families(clips, thumbs) == [0, 0, 0, 0, 4, 5, 6]
    thumbs[6] = thumbs[4] + np.array([8, 8, 0, 0], np.uint8)  # root mean square 5.66
    assert find_families(clips, thumbs) == [0, 0, 0, 0, 4, 5, 4]
    thumbs[6, 0] += 2  # 6.4
    assert find_families(clips, thumbs)[6] == 6


def test_near_pairs_across_steps_equal_the_plain_definition() -> None:
    thumbs = np.random.default_rng(0).integers(0, 14, (40, 3), dtype=np.uint8)
    plain = [
        (a, b)
        for a in range(40)
        for b in range(a + 1, 40)
        if np.sqrt(np.mean((thumbs[a] - thumbs[b].astype(float)) ** 2)) < 6
    ]
    assert sorted(near_pairs(thumbs, step=7)) == plain


def test_families_are_dealt_whole_by_share_of_each_label() -> None:
    families = [0] * 50 + list(range(1, 91))
    labels = [["flag"]] * 50 + [["food"]] * 60 + [["food", "fruit"]] * 30
    shares = {"train": 0.5, "test": 0.5}
    dealt = deal(families, labels, shares, random.Random(0))
    assert [i for i in dealt["train"] if i < 50] == sorted(set(dealt["train"]) & set(range(50)))
    assert len([i for i in dealt["train"] if i < 50]) == 40
    assert not [i for i in dealt["test"] if i < 50]
    for split in shares:
        fruit = [i for i in dealt[split] if i >= 110]
        food = [i for i in dealt[split] if i >= 50]
        assert len(fruit) == pytest.approx(15, abs=1)
        assert len(food) == pytest.approx(45, abs=1)
    assert len({*dealt["train"], *dealt["test"]}) == 130
    assert deal(families, labels, shares, random.Random(0)) == dealt


def test_label_words_are_hidden_or_kept(cache: Path) -> None:
    text = "Flags of AFRICA: sailing_ship2, a tree-house, cartoon"
    assert hide_labels(text) == "thing of thing: thing_thing2, a thing-thing, cartoon"
    assert labels_in(text) == {"flag", "africa", "boat", "plant", "building"}
    assert labels_of(["birds", "unsorted", "animal", "bird"]) == ["animal", "bird"]
    assert len(LABELS) == 34
    kept, hidden = ClipartTags("test", label_words="keep"), ClipartTags("test")
    assert kept.folder == hidden.folder
    assert [hide_labels(kept[i].raw["text"]) for i in range(len(kept))] == [
        hidden[i].raw["text"] for i in range(len(hidden))
    ]


def test_slices_part_the_split(cache: Path) -> None:
    data = ClipartTags("test")
    slices = data.slices()
    assert slices["label_in_text"] == []
    assert slices["label_not_in_text"] == list(range(len(data)))
    lines = (data.folder / "test.jsonl").read_text().splitlines()
    lines[1] = lines[1].replace(json.loads(lines[1])["title"], json.loads(lines[1])["labels"][0])
    folder = data.folder.parent / "told"
    folder.mkdir()
    (folder / "about.json").write_bytes((data.folder / "about.json").read_bytes())
    (folder / "test.jsonl").write_text("\n".join(lines))
    assert ClipartTags("test", folder=str(folder)).slices()["label_in_text"] == [1]


def test_pictures_are_cropped_and_centred_on_white(cache: Path) -> None:
    picture = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (70, 10, 90, 20))  # 20 x 10
    path = clipart_packages.png_folder(cache) / "odd.png"
    picture.save(path)
    drawn = sources.draw("odd")
    path.unlink()
    assert drawn.size == (96, 96)
    assert drawn.getpixel((48, 48)) == (255, 0, 0)
    assert drawn.getpixel((2, 48)) == (255, 0, 0)
    assert drawn.getpixel((48, 12)) == (255, 255, 255)


def test_broken_and_huge_pictures(broken: Path) -> None:
    path = write_png(broken, "animals/dog_navy", 3, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:16] + (2**20).to_bytes(4, "big") * 2 + whole[24:])
    assert sources.draw("animals/dog_navy") is None
    for content, reason in [
        (whole[:60], "truncated"),
        (b"GIF89a" + whole, "a PNG"),
        (b"", "a PNG"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"dog_navy\.png.*{reason}"):
            ClipartTags("train")
    assert not list((broken / "data").iterdir())


def test_packages_without_pictures(broken: Path) -> None:
    for path in clipart_packages.png_folder(broken).rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="holds no SVG with a picture"):
        ClipartTags("train")


def test_needs_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    ClipartTags.build()
    assert ClipartTags.needs_build(label_words="keep") is None
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path))
    assert ClipartTags.needs_build(seed=3) == (
        "data set clipart_tags is not built yet (fetches 156 MB): "
        "msdkit data build clipart_tags seed=3"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": None}, "expected str as 'title', got None"),
        ({"image": "../../x.png"}, r"'\.\./\.\./x\.png' leaves the folder"),
        ({"image": "images/none.png"}, "does not exist"),
        ({"labels": "food"}, "expected list as 'labels', got 'food'"),
        ({"labels": ["foot"]}, "unknown label 'foot'. Did you mean 'food'"),
    ],
)
def test_a_bad_line_is_named(cache: Path, tmp_path: Path, change: Any, message: str) -> None:
    folder = ClipartTags.build(folder=str(tmp_path / "data"))
    lines = (folder / "val.jsonl").read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    (folder / "val.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"val\.jsonl:2: .*{message}"):
        ClipartTags("val", folder=str(folder))[1]


@pytest.mark.parametrize("about", ["", "[]", '{"recipe": 1}', "{}"])
def test_a_folder_that_does_not_tell_its_recipe(cache: Path, tmp_path: Path, about: str) -> None:
    (tmp_path / "about.json").write_text(about)
    with pytest.raises(DataError, match=r"about\.json does not tell how the data was built"):
        ClipartTags("val", folder=str(tmp_path))
    (tmp_path / "about.json").unlink()
    with pytest.raises(DataError, match=r"holds no clipart_tags data \(no about\.json\)"):
        ClipartTags("val", folder=str(tmp_path))
