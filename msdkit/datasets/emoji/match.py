"""A small matching task over emoji with confounders: does the caption fit the picture?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from msdkit.datasets.emoji.base import Concepts, EmojiTask, Pictures, Recipe, Row
from msdkit.datasets.emoji.blocks import CUES, LABELS, BlockDrawer
from msdkit.datasets.emoji.captions import Captions
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.groups import Group, grouped
from msdkit.registry import DATASETS
from msdkit.types import Fraction


@dataclass(frozen=True, kw_only=True)
class MatchRecipe(Recipe):
    """What decides the files."""

    task: ClassVar[str] = "emoji_match"
    bias: Fraction = 0.0


@DATASETS.register("emoji_match")
class EmojiMatch(EmojiTask):
    """Picture and caption -> no or yes: does the caption fit? The form of Hateful Memes (Kiela et
    al., arXiv 2005.04790), benign confounders included.

    A caption is the emoji's name, three of its keywords or its WordNet definition. Examples come in
    blocks of four: two pictures of related emoji, each with its own caption (yes) and with the
    other's (no). Every picture and every caption thus occurs as often with "yes" as with "no", and
    a model of one modality gets exactly half of a split right. Labels come from metadata and senses
    are heuristic: results compare with nothing but other runs on this data.

    bias: the share of examples, in every split, that come in pairs with a shortcut instead. In half
    of them (`cue` text) one picture has two captions: its own, of an animal, food or face (yes),
    and one of something else (no). In the other half (`cue` image) one caption, of an animal, food
    or face, stands with its own picture (yes) and with one of something else (no). So one modality
    says nothing and the other's sort gives the answer away; a model of one modality can be right on
    1/2 + bias/4 of all examples.

    With `holdout: concept` captions are held out like pictures. Sizes are rounded down to fours.

    A row tells `vendor`, `concept` (of the picture), `caption` (name, keywords or gloss), `block`
    and `cue` (none, text or image) beside text, picture and label.

    Artwork: noto and noto-v1 (Google, Apache-2.0), openmoji (CC-BY-SA-4.0), fluent-emoji-flat
    (Microsoft, MIT), emojione and twemoji (CC-BY-4.0). Names and keywords: emojibase-data (MIT,
    from Unicode CLDR). Definitions: WordNet 3.1 (Princeton University, WordNet licence).
    """

    recipe: ClassVar[type[Recipe]] = MatchRecipe
    label_names = LABELS

    @grouped
    def __init__(self, split: str, *, recipe: Group[MatchRecipe]) -> None:
        super().__init__(split, recipe)
        self._bias = recipe.bias

    def slices(self) -> dict[str, list[int]]:
        """Where there is a bias: the confounded examples, and those with a shortcut, all of them
        and by the modality that it is in."""
        if not self._bias:
            return {}
        cues = [self.record(i)["cue"] for i in range(len(self))]
        none, text, image = ([i for i, c in enumerate(cues) if c == cue] for cue in CUES)
        shortcut = sorted([*text, *image])
        found = {"confounded": none, "shortcut": shortcut}
        return {**found, "text_shortcut": text, "image_shortcut": image}

    @classmethod
    def draw(
        cls, recipe: Any, wordnet: WordNet, concepts: Concepts, pictures: Mapping[str, Pictures]
    ) -> dict[str, list[Row]]:
        """{split: rows} of a picture and a caption."""
        captions = Captions(wordnet, concepts)
        found = {}
        for split, drawn in pictures.items():
            drawer = BlockDrawer(captions, drawn, recipe.rng(split))
            lines = drawer.lines(recipe.size(split), recipe.bias, split)
            found[split] = [asdict(line) for line in lines]
        return found
