"""SNLI-VE: does a sentence follow from a photograph?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msdkit.datasets.release import (
    Image,
    Place,
    Row,
    TextImage,
    checked,
    column,
    first_file,
    json_lines,
    text_column,
)
from msdkit.errors import ConfigError, DataError, listing, suggest
from msdkit.groups import Group, grouped
from msdkit.progress import console
from msdkit.registry import DATASETS

FILES = {"train": "train", "val": "dev", "test": "test"}
ANNOTATIONS = ("", "data/", "annotations/", "imdbs/", "defaults/annotations/")
# MMF's zoo puts them beside the annotations' folder: configs/datasets/visual_entailment at b0ffc7f
PLACES = ("", "data/", "images/", "defaults/images/", "../flickr30k/defaults/images/")
IMAGES = [f"{place}flickr30k{mark}images" for place in PLACES for mark in "-_"]
IMAGE_IDS = ("Flikr30kID", "Flickr30K_ID", "Flickr30kID")  # 2018 (spelt so), 2020, MMF
NO_CONSENSUS = "-"  # the gold label where annotators did not agree
ORDERS = {
    "mmf": ["entailment", "neutral", "contradiction"],
    "uniter": ["contradiction", "entailment", "neutral"],
}


@DATASETS.register("snli_ve")
class SnliVe(TextImage):
    """Photograph and sentence -> entailment, neutral, contradiction; Xie et al., arXiv 1901.06706.

    folder: holds `snli_ve_{train,dev,test}.jsonl` (or has them in `data/`, `annotations/`, MMF's
    `imdbs/` or `defaults/annotations/`), lines with `pairID`, `sentence2`, `gold_label` and the
    photograph's `Flikr30kID` ("123.jpg", 2018) or `Flickr30K_ID` ("123", 2020); and the photographs
    of Flickr30k in `flickr30k-images/`, or MMF's `flickr30k_images/`. Sentences: SNLI, CC BY-SA
    4.0; photographs: by request from their collectors, for research.
    labels: the order of the classes, on which a trained head depends: `mmf` (entailment, neutral,
    contradiction), `uniter` (contradiction, entailment, neutral), or a list of the three.
    image: `file`, the photograph; `key`, its number, looked up in a feature store.

    Rows with the gold label "-" (annotators disagreed) are left out; `dropped` counts them.
    """

    source: ClassVar[str] = "https://github.com/necla-ml/SNLI-VE, and the images of Flickr30k"

    @grouped
    def __init__(
        self,
        split: str,
        *,
        place: Group[Place],
        labels: Literal["mmf", "uniter"] | list[str] = "mmf",
        image: Image = "file",
    ) -> None:
        super().__init__(image)
        if split not in FILES:
            raise DataError(f"snli_ve has no split '{split}'. Known: {listing(FILES)}")
        self.label_names = _label_order(labels)
        names = [f"{below}snli_ve_{FILES[split]}.jsonl" for below in ANNOTATIONS]
        path = first_file(place.root, names, f"file of split '{split}'")
        self._pictures = place.pictures(image, IMAGES)
        self._unlabelled = split == "test"
        for row, where in json_lines(path):
            if row.get("gold_label") == NO_CONSENSUS:
                self.dropped += 1
            else:
                self.rows.append(self._row(row, where))
        checked(self.rows, path)
        if self.dropped:
            console().print(f"snli_ve: {path}: {self.dropped} rows without a gold label left out")

    def _row(self, row: Mapping[str, Any], where: str) -> Row:
        photograph = str(column(row, IMAGE_IDS, (str, int), where)).removesuffix(".jpg")
        return Row(
            text_column(row, ["pairID"], where),
            text_column(row, ["sentence2"], where),
            self._pictures(f"{photograph}.jpg", where),
            self._label(row, where),
        )

    def _label(self, row: Mapping[str, Any], where: str) -> int | None:
        if self._unlabelled and row.get("gold_label") is None:
            return None
        label = column(row, ["gold_label"], str, where)
        if label not in self.label_names:
            raise DataError(
                f"{where}: unknown label '{label}'. {suggest(label, self.label_names)}"
                f"Known: {listing([*self.label_names, NO_CONSENSUS])}"
            )
        return self.label_names.index(label)


def _label_order(labels: str | list[str]) -> list[str]:
    if isinstance(labels, str):
        return list(ORDERS[labels])
    if sorted(labels) != sorted(ORDERS["mmf"]):
        raise ConfigError(
            f"snli_ve: labels: expected {listing(ORDERS)} or an order of {listing(ORDERS['mmf'])}; "
            f"got {labels}"
        )
    return list(labels)
