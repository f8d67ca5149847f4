"""A small visual question answering task over emoji, with soft targets."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from msdkit.datasets.emoji.asking import QuestionDrawer
from msdkit.datasets.emoji.base import (
    Concepts,
    EmojiTask,
    Pictures,
    Recipe,
    Row,
    read_json,
)
from msdkit.datasets.emoji.questions import Questions
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.errors import DataError
from msdkit.groups import Group, grouped
from msdkit.registry import DATASETS
from msdkit.types import PositiveInt, Task

_ANSWERS = "answers.json"


@dataclass(frozen=True, kw_only=True)
class VqaRecipe(Recipe):
    """What decides the files."""

    task: ClassVar[str] = "emoji_vqa"
    answers: PositiveInt = 800


@DATASETS.register("emoji_vqa")
class EmojiVqa(EmojiTask):
    """Picture and question -> soft scores of answers; the form of VQA v2 (Goyal et al., arXiv
    1612.00837).

    Questions ask what it is, for its kind (Unicode's subgroup), for the animal, plant, food or
    drink, for a `which` (the noun stands above it in WordNet), for colour and direction; and for
    yes or no whether it is that thing, kind, colour or direction. Each of the latter occurs in the
    same words with a picture for "yes" and one for "no". The emoji's name scores 1, synonyms .9,
    keywords that are words of the name .6, other keywords .3; flags are left out. Labels come from
    metadata and senses are heuristic: results compare with nothing but other runs on this data.

    answers: the classes are so many answers, those that are best most often in train (ties in
    alphabetical order); what is no class counts as wrong, and a question without any class among
    its answers has no positive score.

    With `holdout: concept` the names of what is held out are no classes, so questions for a name
    can score by keywords alone.

    `answers.json` lists the classes. A row's `label` is {answer: score}, classes or not; it tells
    `answer` (the best), `kind` (of question), `vendor` and `concept` beside it.

    Artwork: noto and noto-v1 (Google, Apache-2.0), openmoji (CC-BY-SA-4.0), fluent-emoji-flat
    (Microsoft, MIT), emojione and twemoji (CC-BY-4.0). Names and keywords: emojibase-data (MIT,
    from Unicode CLDR). Synonyms: WordNet 3.1 (Princeton University, WordNet licence).
    """

    task: ClassVar[Task] = "soft_target"
    recipe: ClassVar[type[Recipe]] = VqaRecipe

    @grouped
    def __init__(self, split: str, *, recipe: Group[VqaRecipe]) -> None:
        super().__init__(split, recipe)
        self._classes = frozenset(self.label_names)

    def read_label_names(self) -> list[str]:
        """The answers that are classes."""
        path = self.folder / _ANSWERS
        names = read_json(path, list)
        texts = {name for name in names if isinstance(name, str)}
        if not names or len(texts) != len(names):
            raise DataError(f"{path}: expected a list of distinct answers, got {names!r:.80}")
        return names

    def known(self, label: Any) -> Any:
        """{answer: score} of the answers that are classes."""
        if not isinstance(label, Mapping):
            return label
        return {answer: score for answer, score in label.items() if answer in self._classes}

    def slices(self) -> dict[str, list[int]]:
        """The questions of each kind."""
        found: dict[str, list[int]] = defaultdict(list)
        for index in range(len(self)):
            found[self.record(index)["kind"]].append(index)
        return dict(sorted(found.items()))

    @classmethod
    def draw(
        cls, recipe: Any, wordnet: WordNet, concepts: Concepts, pictures: Mapping[str, Pictures]
    ) -> dict[str, list[Row]]:
        """{split: rows} of a picture and a question."""
        questions = Questions(wordnet, concepts)
        found = {}
        for split, drawn in pictures.items():
            drawer = QuestionDrawer(questions, drawn, recipe.rng(split))
            found[split] = [asdict(q) for q in drawer.questions(recipe.size(split), split)]
        return found

    @classmethod
    def write_rest(cls, recipe: Any, rows: Mapping[str, list[Row]], folder: Path) -> None:
        """The files of every task, and `answers.json`."""
        names = vocabulary((row["answer"] for row in rows["train"]), recipe.answers)
        text = json.dumps(names, ensure_ascii=False, indent=0) + "\n"
        (folder / _ANSWERS).write_text(text, encoding="utf-8", newline="\n")


def vocabulary(answers: Iterable[str], size: int) -> list[str]:
    """The most frequent answers, ties in alphabetical order."""
    counts = Counter(answers)
    return sorted(counts, key=lambda answer: (-counts[answer], answer))[:size]
