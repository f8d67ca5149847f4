"""The planted task: what decides a label, and what no modality alone can know."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emoji_packages import emoji_world, rows_of, tree
from packages import GROUPS

from msdkit.datasets.emoji.sources import Concept
from msdkit.datasets.planted import Planted, PlantedRecipe
from msdkit.datasets.planted_blocks import LABELS, PlantedDrawer, Readings, kind_of, shared_out
from msdkit.errors import ConfigError
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset

SIZES: dict[str, Any] = {"train_size": 240, "eval_size": 60}
MIXED = {"text": 0.4, "image": 0.3, "both": 0.2, "neither": 0.1}
KINDS = {"animals-nature": "animal", "food-drink": "food", "travel-places": "transport"}
KIND = {name: KINDS.get(group, "object") for group, names in GROUPS.items() for name in names}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with emoji_world(tmp_path_factory.mktemp("emoji")) as folder:
        yield folder


def subject(row: dict[str, Any]) -> str:
    """The concept that the caption is about, read from its words alone."""
    text = str(row["text"])
    if row["caption"] == "gloss":
        return text.removeprefix("one sort of ").removesuffix(" only")
    words = [w for w in text.split(", ") if not w.startswith("shared")]
    return words[0].removesuffix(" lover").removesuffix(" maker")


def best_guess(rows: Rows, *keys: str) -> float:
    """The accuracy of who knows these columns, and how often each label comes with them."""
    seen: dict[Any, Counter[str]] = defaultdict(Counter)
    for row in rows:
        seen[tuple(row[key] for key in keys)][row["label"]] += 1
    return sum(max(counts.values()) for counts in seen.values()) / len(rows)


def with_kinds(rows: Rows) -> Rows:
    """The rows with the kind that each modality shows."""
    return [{**r, "shown": KIND[r["concept"]], "told": KIND[subject(r)]} for r in rows]


def test_the_source_decides_and_the_rest_says_nothing(cache: Path) -> None:
    seen: set[str] = set()
    for split in ("train", "val", "test"):
        rows = with_kinds(rows_of(Planted, split, proportions=MIXED, **SIZES))
        for row in rows:
            expected = {
                "text": ("object", row["label"]),
                "image": (row["label"], "object"),
                "both": (row["label"], row["label"]),
                "neither": ("object", "object"),
            }[row["source"]]
            assert (row["shown"], row["told"]) == expected, row
            assert row["said"] == subject(row)
            assert not row["noisy"]
        assert len({(row["image"], row["text"]) for row in rows}) == len(rows)
        images = {row["image"] for row in rows}
        assert not seen & images
        seen |= images
    assert {row["caption"] for row in rows_of(Planted, "train", proportions=MIXED, **SIZES)} == {
        *("name", "keywords", "gloss")
    }


def test_proportions_and_slices_are_exact(cache: Path) -> None:
    data = Planted("train", proportions=MIXED, **SIZES)
    found = data.slices()
    names = ("text_decides", "image_decides", "both_decide", "neither_decides")
    assert {name: len(rows) for name, rows in found.items()} == dict(
        zip(names, (96, 72, 48, 24), strict=True)
    )
    assert sorted(i for rows in found.values() for i in rows) == list(range(240))
    for name, source in zip(names, MIXED, strict=True):
        assert {data.record(i)["source"] for i in found[name]} == {source}
    only = Planted("val", proportions={"image": 1}, **SIZES)
    assert [len(rows) for rows in only.slices().values()] == [0, 60, 0, 0]


def test_what_does_not_decide_is_with_each_label_equally_often(cache: Path) -> None:
    for split in ("train", "val", "test"):
        rows = rows_of(Planted, split, proportions=MIXED, **SIZES)
        assert {*Counter(row["block"] for row in rows).values()} == {3}
        for source, key in (("text", "image"), ("image", "text"), ("neither", "image")):
            counts = Counter((r[key], r["label"]) for r in rows if r["source"] == source)
            assert all(
                counts[value, label] == n for (value, _), n in counts.items() for label in LABELS
            )


def test_the_best_accuracy_of_each_view_is_that_of_counting(cache: Path) -> None:
    recipe = PlantedRecipe(proportions=MIXED, **SIZES)
    rows = with_kinds(rows_of(Planted, "train", proportions=MIXED, **SIZES))
    third = 1 / 3
    for view, keys, by_hand in (
        ("text", ("told",), 0.4 + 0.2 + (0.3 + 0.1) * third),
        ("image", ("shown",), 0.3 + 0.2 + (0.4 + 0.1) * third),
        ("multimodal", ("told", "shown"), 0.9 + 0.1 * third),
    ):
        assert recipe.best_accuracy(view) == pytest.approx(by_hand)
        assert best_guess(rows, *keys) == pytest.approx(by_hand)


def test_noise_draws_its_share_of_the_labels_anew(cache: Path) -> None:
    clean = rows_of(Planted, "train", proportions=MIXED, **SIZES)
    rows = rows_of(Planted, "train", proportions=MIXED, noise=0.25, **SIZES)
    assert sum(row["noisy"] for row in rows) == 60
    changed = [r["label"] != c["label"] for r, c in zip(rows, clean, strict=True)]
    assert all(row["noisy"] for row, other in zip(rows, changed, strict=True) if other)
    assert 25 <= sum(changed) <= 55  # two of three redraws change the label
    same = [{**r, "label": "", "noisy": 0} for r in rows]
    assert same == [{**c, "label": "", "noisy": 0} for c in clean]
    recipe = PlantedRecipe(proportions=MIXED, noise=0.25)
    # nine of ten labels are known, three of four of them kept, a third of all others guessed
    assert recipe.best_accuracy("multimodal") == pytest.approx(0.9 * 0.75 + 0.325 / 3)


def test_blocks_are_shared_out_by_largest_remainder() -> None:
    assert shared_out(10, MIXED) == {"text": 4, "image": 3, "both": 2, "neither": 1}
    assert shared_out(5, MIXED) == {"text": 2, "image": 2, "both": 1, "neither": 0}
    assert shared_out(0, MIXED) == dict.fromkeys(MIXED, 0)


def test_kinds_leave_out_what_is_neither() -> None:
    def kind(group: str, subgroup: str) -> str | None:
        return kind_of(Concept("", "x", (), group, subgroup, ""))

    assert kind("animals-nature", "animal-bird") == "animal"
    assert kind("food-drink", "drink") == "food"
    assert kind("travel-places", "transport-air") == "transport"
    assert kind("objects", "tool") == "object"
    for group, subgroup in (
        ("animals-nature", "plant-flower"),
        ("food-drink", "dishware"),
        ("travel-places", "sky-weather"),
        ("symbols", "arrow"),
    ):
        assert kind(group, subgroup) is None


class Said:
    """Captions for tests: {code: text}, where the code begins with its group."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts
        self.concepts = {c: Concept(c, c, (), c.partition(":")[0], "", "") for c in texts}

    def one(self, code: str, rng: random.Random) -> tuple[str, str]:
        return "keywords", self.texts[code]


def test_a_caption_that_two_kinds_share_is_not_used() -> None:
    dog, owl, key = "animals-nature:dog", "animals-nature:owl", "objects:key"
    readings: Any = Readings(Said({dog: "a, B", owl: "b, a", key: "B, A"}))  # type: ignore[arg-type]
    assert readings.draw(dog, random.Random(0)) == ("keywords", "a, B")
    assert readings.draw(owl, random.Random(0)) == ("keywords", "b, a")
    assert readings.draw(key, random.Random(0)) is None


def test_a_source_that_runs_out_ends_and_the_others_go_on() -> None:
    groups = ("animals-nature", "food-drink", "travel-places")
    codes = ["objects:key", *(f"{group}:{i}" for group in groups for i in range(3))]
    readings = Readings(Said({code: code for code in codes}))  # type: ignore[arg-type]
    drawer = PlantedDrawer(readings, {code: ["twemoji"] for code in codes}, random.Random(0))
    shares = {"text": 0.5, "image": 0.0, "both": 0.5, "neither": 0.0}
    found = drawer.lines(60, shares, 0.0, "val")
    counts = Counter(line.source for line in found)
    assert counts["text"] == 9  # one picture under three captions of each kind
    assert 9 < counts["both"] <= 27
    assert len({(line.image, line.text) for line in found}) == len(found)
    assert [line.id for line in found] == [f"val-{i:05d}" for i in range(len(found))]


def test_registry_contract_and_same_bytes(cache: Path, tmp_path: Path) -> None:
    check_dataset(Planted, proportions=MIXED, noise=0.1, **SIZES)
    data = DATASETS.build({"name": "planted", "proportions": MIXED, **SIZES}, split="test")
    assert isinstance(data, Planted)
    assert data.label_names == ["animal", "food", "transport"]
    trees = [
        tree(Planted.build(folder=str(tmp_path / name), seed=seed, **SIZES))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert trees[0] == trees[1]
    assert trees[0]["test.jsonl"] != trees[2]["test.jsonl"]
    written = PlantedRecipe(proportions={"neither": 0, "text": 0.5, "image": 0.5})
    assert written.plan.folder == PlantedRecipe(proportions={"image": 0.5, "text": 0.5}).plan.folder
    assert written.plan.folder != PlantedRecipe().plan.folder


def test_the_command_that_builds_it_is_one_for_a_shell(cache: Path) -> None:
    assert Planted.needs_build(proportions={"text": 1.0}, train_size=7) == (
        "data set planted is not built yet: msdkit data build planted "
        """'proportions={"text": 1.0}' train_size=7"""
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"proportions": {"text": 0.5, "image": 0.4}},
            r"proportions: .* add up to 0.9, expected 1",
        ),
        ({"proportions": {"txet": 1.0}}, r"proportions\.txet: .*Did you mean 'text'"),
        ({"proportions": {"text": 1.5, "image": -0.5}}, r"proportions"),
        ({"noise": 2.0}, r"noise"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DATASETS.build({"name": "planted", **params}, split="test")
