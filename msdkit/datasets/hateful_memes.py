"""Hateful Memes: is a meme hateful? Neither its words nor its picture tell alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from msdkit.datasets.release import (
    Image,
    Pictures,
    Place,
    Row,
    TextImage,
    checked,
    column,
    first_file,
    json_lines,
    text_column,
)
from msdkit.errors import DataError, listing
from msdkit.groups import Group, grouped
from msdkit.registry import DATASETS

FILES = {
    1: {"train": "train", "val": "dev", "test": "test"},
    2: {"train": "train", "val": "dev_unseen", "test": "test_unseen"},
}
ANNOTATIONS = ("", "annotations/", "defaults/annotations/")
IMAGES = ("img", "images/img", "defaults/images/img")


@DATASETS.register("hateful_memes")
class HatefulMemes(TextImage):
    """Memes, 0 (not_hateful) or 1 (hateful); Kiela et al., NeurIPS 2020, arXiv 2005.04790.

    folder: holds `train.jsonl` and so on with lines `{"id": 42953, "img": "img/42953.png", "text":
    …, "label": 0}` and the pictures in `img/`, as the challenge's archive unpacks; or MMF's layout,
    `defaults/annotations/` and `defaults/images/img/`. Meta hands the archive out for research to
    those who accept its licence (address: `source`).
    phase: 1 reads train, dev and test; 2 reads train, dev_unseen and test_unseen, as MMF does.
    val, test: other files, such as `dev_seen`, `test_seen`.
    image: `file`, the picture; `key`, its number as the files write it ("01235"), looked up in a
    feature store.

    Test files may lack labels. `slices()` has the confounders, `submission()` the challenge's csv.
    """

    label_names: ClassVar[list[str]] = ["not_hateful", "hateful"]  # type: ignore[misc]
    metrics: ClassVar[list[str]] = ["accuracy", "auroc"]
    source: ClassVar[str] = "https://hatefulmemeschallenge.com, after accepting its licence"

    @grouped
    def __init__(
        self,
        split: str,
        *,
        place: Group[Place],
        phase: Literal[1, 2] = 2,
        val: str | None = None,
        test: str | None = None,
        image: Image = "file",
    ) -> None:
        super().__init__(image)
        if split not in FILES[phase]:
            raise DataError(f"hateful_memes has no split '{split}'. Known: {listing(FILES[phase])}")
        given = {"val": val, "test": test}
        name = (given.get(split) or FILES[phase][split]).removesuffix(".jsonl")
        names = [f"{below}{name}.jsonl" for below in ANNOTATIONS]
        self.path = first_file(place.root, names, f"file of split '{split}'")
        pictures = place.pictures(image, IMAGES)
        lines = json_lines(self.path)
        self.rows = checked(
            [_row(row, where, pictures, split == "test") for row, where in lines], self.path
        )

    def slices(self) -> dict[str, list[int]]:
        """confounders: rows whose text or picture file occurs in the split with the other label.

        Pictures are compared by name: a picture that was altered for a confounder counts as
        another, and the pair shows by its text.
        """
        seen: dict[str, set[Any]] = defaultdict(set)
        for row in self.rows:
            for cue in _cues(row):
                seen[cue].add(row.label)
        found = [
            i
            for i, row in enumerate(self.rows)
            if row.label is not None and any(1 - row.label in seen[cue] for cue in _cues(row))
        ]
        return {"confounders": found} if found else {}

    def submission(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """The challenge's csv: id, probability of hateful, and the label that is predicted."""
        missing = {row.id for row in self.rows} - {row["id"] for row in rows}
        if missing or len(rows) != len(self.rows):
            raise DataError(
                f"{self.path}: a submission needs each of its {len(self.rows)} memes once, got "
                f"{len(rows)} rows, {len(missing)} memes are missing"
            )
        lines = ["id,proba,label"]
        for row in rows:
            shares = row["probabilities"]
            share = shares.get("multimodal", next(iter(shares.values())))[1]
            lines.append(f"{row['id']},{share},{int(row['prediction'] == self.label_names[1])}")
        return {f"{self.path.stem}.csv": "\n".join(lines) + "\n"}


def _row(row: Mapping[str, Any], where: str, pictures: Pictures, unlabelled: bool) -> Row:
    number = str(column(row, ["id"], (int, str), where))
    if not (number.isascii() and number.isdigit()):
        raise DataError(f"{where}: column 'id': expected a number, got {number!r:.80}")
    label = None
    if not (unlabelled and row.get("label") is None):
        label = column(row, ["label"], int, where)
        if label not in (0, 1):
            raise DataError(
                f"{where}: column 'label': expected 0 or 1, got {label}; a row without a label, "
                "which test may have, has no such column"
            )
    picture = pictures(text_column(row, ["img"], where), where)
    # MMF writes "01235" where the challenge has 1235
    return Row(number.lstrip("0") or "0", text_column(row, ["text"], where), picture, label)


def _cues(row: Row) -> tuple[str, str]:
    """What confounders have in common: the words, or the picture."""
    return f"text {' '.join(row.text.lower().split())}", f"image {row.image}"
