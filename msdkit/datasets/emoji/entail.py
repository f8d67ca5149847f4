"""A small visual entailment task over emoji: does the sentence follow from the picture?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from msdkit.datasets.emoji import sources
from msdkit.datasets.emoji.base import SPLITS, Concepts, EmojiTask, Pictures, Row
from msdkit.datasets.emoji.base import Recipe as BaseRecipe
from msdkit.datasets.emoji.pairs import LABELS, PairDrawer
from msdkit.datasets.emoji.relations import Relations
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.groups import Group, grouped
from msdkit.registry import DATASETS

__all__ = ["SPLITS", "EmojiEntail", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe(BaseRecipe):
    """What decides the files."""

    task: ClassVar[str] = "emoji_entail"
    eval_size: int = 3000


@DATASETS.register("emoji_entail")
class EmojiEntail(EmojiTask):
    """Picture and sentence -> entailment, neutral or contradiction; the form of SNLI-VE (Xie et
    al., arXiv 1901.06706).

    The sentence names a noun of WordNet. It follows if the noun is the emoji's meaning or stands
    above it, it is neutral if the noun is a kind of it ("It is a poodle." of a dog), and else it
    contradicts, with a picture of a related subgroup more often than not. Labels come from metadata
    and senses are heuristic: results compare with nothing but other runs on this data.

    A row tells `vendor`, `concept` and `relation` beside text, picture and label.

    Artwork: noto and noto-v1 (Google, Apache-2.0), openmoji (CC-BY-SA-4.0), fluent-emoji-flat
    (Microsoft, MIT), emojione and twemoji (CC-BY-4.0). Names: emojibase-data (MIT, from Unicode
    CLDR). Relations: WordNet 3.1 (Princeton University, WordNet licence).
    """

    recipe: ClassVar[type[BaseRecipe]] = Recipe
    label_names = LABELS

    @grouped
    def __init__(self, split: str, *, recipe: Group[Recipe]) -> None:
        super().__init__(split, recipe)

    @classmethod
    def concepts(cls, wordnet: WordNet) -> dict[str, sources.Concept]:
        """The concepts with a noun of WordNet."""
        return {c: found for c, found in super().concepts(wordnet).items() if found.sense}

    @classmethod
    def draw(
        cls, recipe: Any, wordnet: WordNet, concepts: Concepts, pictures: Mapping[str, Pictures]
    ) -> dict[str, list[Row]]:
        """{split: rows} of a picture and a sentence."""
        relations = Relations(wordnet, concepts)
        found = {}
        for split, drawn in pictures.items():
            drawer = PairDrawer(relations, drawn, recipe.rng(split))
            found[split] = [asdict(pair) for pair in drawer.pairs(recipe.size(split), split)]
        return found
