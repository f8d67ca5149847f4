"""A small matching task over emoji with confounders: does the caption fit the picture?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from msdkit.datasets.emoji.base import Concepts, EmojiTask, Holdout, Pictures, Recipe, Row
from msdkit.datasets.emoji.blocks import CUES, LABELS, BlockDrawer
from msdkit.datasets.emoji.captions import Captions
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.registry import DATASETS
from msdkit.types import Fraction


@dataclass(frozen=True)
class MatchRecipe(Recipe):
    """What decides the files."""

    task: ClassVar[str] = "emoji_match"
    bias: float = 0.0


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
    holdout: `vendor` trains on noto, noto-v1, openmoji and fluent-emoji-flat, validates on emojione
    and tests on twemoji: known concepts in an unseen style. `concept` holds out a tenth of the
    meanings for test and a tenth for val, pictures and captions: all six vendors serve every split.
    train_size, eval_size: examples of train, and of each of val and test, rounded down to fours.
    seed: of the draws; the same seed gives the same bytes.
    folder: where the files are or shall be; by default a place in the cache, built when missing.

    A row tells `vendor`, `concept` (of the picture), `caption` (name, keywords or gloss), `block`
    and `cue` (none, text or image) beside text, picture and label.

    Artwork: noto and noto-v1 (Google, Apache-2.0), openmoji (CC-BY-SA-4.0), fluent-emoji-flat
    (Microsoft, MIT), emojione and twemoji (CC-BY-4.0). Names and keywords: emojibase-data (MIT,
    from Unicode CLDR). Definitions: WordNet 3.1 (Princeton University, WordNet licence).
    """

    recipe: ClassVar[type[Recipe]] = MatchRecipe
    label_names = LABELS

    def __init__(
        self,
        split: str,
        *,
        folder: str | None = None,
        holdout: Holdout = "vendor",
        train_size: int = 24000,
        eval_size: int = 6000,
        bias: Fraction = 0.0,
        seed: int = 0,
    ) -> None:
        sizes = {"train_size": train_size, "eval_size": eval_size}
        super().__init__(split, folder, holdout=holdout, bias=bias, seed=seed, **sizes)
        self._bias = bias

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
