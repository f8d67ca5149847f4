"""A task with a known truth: of each example it is known which modality decides its label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from msdkit.datasets.emoji.base import Concepts, EmojiTask, Pictures, Recipe, Row
from msdkit.datasets.emoji.captions import Captions
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.datasets.planted_blocks import LABELS, SOURCES, PlantedDrawer, Readings
from msdkit.errors import ConfigError, listing, suggest
from msdkit.groups import Group, grouped
from msdkit.registry import DATASETS
from msdkit.types import Fraction

BALANCED = {"text": 0.35, "image": 0.35, "both": 0.2, "neither": 0.1}
_SLICES = {
    "text": "text_decides",
    "image": "image_decides",
    "both": "both_decide",
    "neither": "neither_decides",
}
_TELLING = {"text": ("text", "both"), "image": ("image", "both")}  # sources that a view reads


@dataclass(frozen=True, kw_only=True)
class PlantedRecipe(Recipe):
    """What decides the files; a source that `proportions` does not name has none."""

    task: ClassVar[str] = "planted"
    proportions: dict[str, Fraction] | None = None
    noise: Fraction = 0.0

    def __post_init__(self) -> None:
        given = BALANCED if self.proportions is None else self.proportions
        for name in given:
            if name not in SOURCES:
                raise ConfigError(
                    f"proportions.{name}: no such source. {suggest(name, SOURCES)}"
                    f"Accepted: {listing(SOURCES)}"
                )
        if not math.isclose(sum(given.values()), 1, abs_tol=1e-6):
            total = f"{sum(given.values()):g}"
            raise ConfigError(f"proportions: {dict(given)} add up to {total}, expected 1")
        whole = {source: float(given.get(source, 0)) for source in SOURCES}
        object.__setattr__(self, "proportions", whole)

    def best_accuracy(self, view: str) -> float:
        """What no model can beat that sees a view alone (`multimodal`, `text` or `image`).

        Formula: k + (1 − k) / C, k = (1 − noise) · Σ_s p_s

        C labels; p_s are the proportions of the sources that the view shows: of `text` text and
        both, of `image` image and both, of `multimodal` all but neither.
        """
        shares = self.proportions or BALANCED
        sources = _TELLING.get(view, SOURCES[:-1])
        known = (1 - self.noise) * sum(shares[source] for source in sources)
        return known + (1 - known) / len(LABELS)


@DATASETS.register("planted")
class Planted(EmojiTask):
    """Picture and caption -> animal, food or transport; in each example it is known which of the
    two decides.

    A caption is an emoji's name, three of its keywords or its WordNet definition. An example's
    `source` says where the label comes from:
    text: the caption is of the label's kind, and the picture shows an object, which says nothing.
    image: the picture is of the label's kind, and the caption says an object.
    both: the two are of the label's kind, and of different emoji as a rule.
    neither: both are objects, and the label is drawn at random.
    An object is never a label, so an example alone tells which modality decides. Examples come in
    blocks with one of each label: what does not decide is with every label equally often. What no
    model of a view can beat is known by a formula, `PlantedRecipe.best_accuracy`. Kinds are
    Unicode's groups, without plants, dishware, places, sky and time; a caption that two kinds share
    is not used.

    proportions: the share of each source, a mapping that sums to 1; what it does not name is 0.
    Shares are those of blocks, rounded to whole ones.
    noise: the share of examples, of any source, whose label is then drawn anew from all three.

    With `holdout: concept` captions are held out like pictures. Sizes are rounded down to threes.

    A row tells `source`, `noisy` (whether the label was drawn anew), `block`, `vendor`, `concept`
    (of the picture), `said` (the concept of the caption) and `caption` (name, keywords or gloss)
    beside text, picture and label. Scores are reported apart by source. The words and pictures are
    real and the rule is made up: scores say how well a method finds a truth that is known, and
    nothing about other data.

    Artwork: noto and noto-v1 (Google, Apache-2.0), openmoji (CC-BY-SA-4.0), fluent-emoji-flat
    (Microsoft, MIT), emojione and twemoji (CC-BY-4.0). Names and keywords: emojibase-data (MIT,
    from Unicode CLDR). Definitions: WordNet 3.1 (Princeton University, WordNet licence).
    """

    recipe: ClassVar[type[Recipe]] = PlantedRecipe
    label_names = LABELS

    @grouped
    def __init__(self, split: str, *, recipe: Group[PlantedRecipe]) -> None:
        super().__init__(split, recipe)

    def slices(self) -> dict[str, list[int]]:
        """The examples of each source."""
        found: dict[str, list[int]] = {name: [] for name in _SLICES.values()}
        for index in range(len(self)):
            found[_SLICES[self.record(index)["source"]]].append(index)
        return found

    @classmethod
    def draw(
        cls, recipe: Any, wordnet: WordNet, concepts: Concepts, pictures: Mapping[str, Pictures]
    ) -> dict[str, list[Row]]:
        """{split: rows} of a picture and a caption."""
        readings, found = Readings(Captions(wordnet, concepts)), {}
        for split, drawn in pictures.items():
            drawer = PlantedDrawer(readings, drawn, recipe.rng(split))
            size = recipe.size(split)
            lines = drawer.lines(size, recipe.proportions, recipe.noise, split)
            found[split] = [asdict(line) for line in lines]
        return found
