"""Multi-label clip art: which tags did people give to this picture with this title?"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from msdkit.datasets.built import Build
from msdkit.datasets.clipart import sources
from msdkit.datasets.clipart.families import deal, find_families
from msdkit.datasets.fields import inside
from msdkit.datasets.labels import LabelReader
from msdkit.datasets.records import Records
from msdkit.errors import DataError, listing
from msdkit.progress import track
from msdkit.registry import DATASETS
from msdkit.types import Example, Task

SPLITS = ("train", "val", "test")
_SHARES = {"train": 0.58, "val": 0.08, "test": 0.34}
_COLUMNS = {"id": str, "title": str, "description": str, "image": str, "labels": list}
_BLANK = "thing"  # stands for a hidden word: every vocabulary knows it

# Each label and the tags that count as it; tags that say nothing of a picture (its theme, its
# author, "unsorted") or that less than about forty pictures have are no labels.
LABELS: dict[str, tuple[str, ...]] = {
    "africa": (),
    "america": ("north_america", "south_america", "latin_america", "caribbean"),
    "animal": ("animals",),
    "arrow": ("arrows", "arrowshape"),
    "asia": (),
    "beverage": ("beverages", "drink"),
    "bird": ("birds",),
    "boat": ("boats", "boating", "sailing", "ship"),
    "building": ("buildings", "house", "houses", "home", "homes"),
    "clothing": ("clothes", "hat", "hats"),
    "computer": ("hardware", "desktop", "network", "networksym"),
    "dessert": ("desserts", "icecream"),
    "europe": (),
    "flag": ("flags", "signalflag"),
    "food": (),
    "fruit": ("fruits",),
    "game": ("games", "card", "cards"),
    "holiday": ("holidays", "festive", "party"),
    "icon": ("icons", "appicon"),
    "insect": ("insects", "bug", "bugs"),
    "mammal": ("mammals",),
    "map": ("maps", "mapsym", "map_symbol", "geography"),
    "music": ("musicstuff",),
    "office": (),
    "pattern": ("patterns",),
    "people": ("person", "man", "woman", "men", "women", "stickmen", "stickman"),
    "plant": ("plants", "flower", "flowers", "tree", "trees"),
    "roadsign": ("roadsigns",),
    "shape": ("shapes",),
    "sports": ("sport",),
    "symbol": ("symbols",),
    "tool": ("tools", "equipment"),
    "transport": ("transportation", "vehicle", "vehicles", "car", "cars"),
    "weather": ("cloud", "clouds"),
}
_LABEL_OF = {tag: label for label, tags in LABELS.items() for tag in (label, *tags)}
_WORD = re.compile(r"[^\W\d_]+")


@DATASETS.register("clipart_tags")
class ClipartTags:
    """Title, description and picture -> tags (multi-label, 34 of them); the form of MM-IMDB
    (Arevalo et al., arXiv 1702.01992).

    Pictures of the Open Clip Art Library, drawn and tagged by some 500 people: results compare with
    nothing but other runs on this data. Tags are incomplete: a mammal need not be tagged as animal.
    One family (a series of one author, or nearly equal pictures) stands in one split, with at most
    40 of its pictures; equal pictures are used once.

    label_words: `hide` writes "thing" for each word of the text that is a label or counts as one
    (`plant`, `flowers`), in all examples alike, so that no label can be read off the text; `keep`
    leaves the shortcut in. The same examples either way.
    seed: deals the families; the same seed gives the same bytes.
    folder: where the files are or shall be; by default a place in the cache, built when missing.

    Files: `{train,val,test}.jsonl`, one example a line with `id`, `title`, `description`, `image`
    (a path inside the folder), `labels`, `tags` and `author`; `images/….png` of 96 x 96 pixels on
    white; `about.json`. Sources: Debian's openclipart-png and openclipart-svg 1:0.18 (public
    domain), where titles, descriptions and tags stand in the SVG's RDF. A title that names a whole
    series gives way to the words of the file's name.
    """

    modalities: ClassVar[dict[str, str]] = {"text": "text", "image": "image"}
    task: ClassVar[Task] = "multi_label"
    label_names: ClassVar[list[str]] = list(LABELS)

    def __init__(
        self,
        split: str,
        *,
        folder: str | None = None,
        label_words: Literal["hide", "keep"] = "hide",
        seed: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise DataError(f"clipart_tags has no split '{split}'. Known: {listing(SPLITS)}")
        self.folder = self.build(folder=folder, seed=seed)
        self.records = Records(self.folder / f"{split}.jsonl")
        self._hide = label_words == "hide"
        self._labels = LabelReader(self.label_names, self.task)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        row, where = self.record(index), self.records.where(index)
        text = _text(row)
        image = inside(self.folder, row["image"], where)
        raw = {"text": hide_labels(text) if self._hide else text, "image": str(image)}
        return Example(row["id"], raw, self._labels.encode(row["labels"], where))

    def record(self, index: int) -> dict[str, Any]:
        """The whole row, with `tags` and `author`."""
        row = self.records[index]
        for key, kind in _COLUMNS.items():
            if not isinstance(row.get(key), kind):
                given, where = row.get(key), self.records.where(index)
                raise DataError(f"{where}: expected {kind.__name__} as '{key}', got {given!r:.80}")
        return row

    def slices(self) -> dict[str, list[int]]:
        """Examples whose text (before hiding) has a word of one of their labels, and the others."""
        records = [self.record(index) for index in range(len(self))]
        told = [not labels_in(_text(row)).isdisjoint(row["labels"]) for row in records]
        return {
            "label_in_text": [i for i, found in enumerate(told) if found],
            "label_not_in_text": [i for i, found in enumerate(told) if not found],
        }

    @classmethod
    def build(cls, *, folder: str | None = None, **params: Any) -> Path:
        """The folder with the files, made if it is missing."""
        build = _build(**params)
        return build.make(folder, lambda unfinished: write_files(unfinished, build.recipe["seed"]))

    @classmethod
    def needs_build(cls, *, folder: str | None = None, **params: Any) -> str | None:
        """What must still be made and the command for it; None when the files are there."""
        return _build(**params).lacking(folder, params)


def hide_labels(text: str) -> str:
    """The text with "thing" for every word that is a label or counts as one."""
    return _WORD.sub(lambda word: _BLANK if word[0].lower() in _LABEL_OF else word[0], text)


def labels_in(text: str) -> set[str]:
    """The labels that words of the text name."""
    words = {word.lower() for word in _WORD.findall(text)}
    return {_LABEL_OF[word] for word in words if word in _LABEL_OF}


def labels_of(tags: Iterable[str]) -> list[str]:
    """The labels that these tags count as."""
    return sorted({_LABEL_OF[tag] for tag in tags if tag in _LABEL_OF})


def write_files(folder: Path, seed: int) -> dict[str, int]:
    """Pictures and one `.jsonl` a split; the sizes by split."""
    clips, pictures = _drawn([clip for clip in sources.read_clips() if labels_of(clip.tags)])
    thumbs = np.stack([np.asarray(picture.resize((16, 16))).ravel() for picture in pictures])
    labels = [labels_of(clip.tags) for clip in clips]
    rng = random.Random(f"{seed} families")
    dealt = deal(find_families(clips, thumbs), labels, _SHARES, rng)
    for split, indices in dealt.items():
        lines = []
        for number, index in enumerate(indices):
            image = f"images/{clips[index].name}.png"
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            pictures[index].save(folder / image)
            row = _row(f"{split}-{number:05d}", clips[index], image)
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    return {split: len(dealt[split]) for split in SPLITS}


def _drawn(clips: list[sources.Clip]) -> tuple[list[sources.Clip], list[Any]]:
    """Those that show something, each picture once, with their pictures."""
    found: dict[bytes, tuple[sources.Clip, Any]] = {}
    for clip in track(clips, len(clips), "draw pictures", "pictures"):
        picture = sources.draw(clip.name)
        if picture is not None:
            found.setdefault(picture.tobytes(), (clip, picture))
    return [clip for clip, _ in found.values()], [picture for _, picture in found.values()]


def _row(name: str, clip: sources.Clip, image: str) -> dict[str, Any]:
    return {
        "id": name,
        "title": clip.title,
        "description": clip.description,
        "image": image,
        "labels": labels_of(clip.tags),
        "tags": list(clip.tags),
        "author": clip.author,
    }


def _text(row: dict[str, Any]) -> str:
    return f"{row['title']}. {row['description']}".strip() if row["description"] else row["title"]


def _build(seed: int = 0, label_words: str = "hide") -> Build:
    return Build("clipart_tags", {"seed": seed}, sources.PACKAGES, patience="about two minutes")
