"""VQA v2: short answers to questions about COCO pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from msdkit.datasets.release import KINDS, Image, Place
from msdkit.datasets.vqa_answers import Vocabulary, frequent, read_vocabulary, targets
from msdkit.datasets.vqa_files import TYPES, VqaTable, frequencies, read_imdb, read_official
from msdkit.errors import ConfigError, DataError, listing, suggest
from msdkit.groups import Group, grouped
from msdkit.hub.paths import is_address, local
from msdkit.registry import DATASETS
from msdkit.types import Example, PositiveInt, Task

# Subsets of the questions, and the part of COCO that has their pictures
SUBSETS = {
    "train2014": "train2014",
    "val2014": "val2014",
    "minival2014": "val2014",  # MMF's cut of val2014
    "nominival2014": "val2014",
    "test2015": "test2015",
    "test-dev2015": "test2015",
}
DEFAULT = {"train": "train2014", "val": "val2014", "test": "test-dev2015"}
NAME = "COCO_{split}_{id:012d}"  # of a picture


@DATASETS.register("vqa2")
class Vqa2:
    """Question and picture -> one of the frequent answers; Goyal et al., arXiv 1612.00837.

    Each question has the answers of ten people. The label of class c is the official accuracy of
    giving that answer: 0, 0.3, 0.6, 0.9 or 1 for 0, 1, 2, 3, or more people who gave it.

    folder: holds the unpacked files of https://visualqa.org/download.html (CC BY 4.0; pictures of
    COCO): `v2_OpenEnded_mscoco_train2014_questions.json`, `v2_mscoco_train2014_annotations.json`
    and so on (test2015 and test-dev2015 have no annotations, so no labels); the pictures as
    `train2014/COCO_train2014_000000458752.jpg`. Where the questions of a split are missing, MMF's
    `imdb_train2014.npy` is read in their place.
    splits: the questions of each split, by default {train: train2014, val: val2014, test:
    test-dev2015}.
    vocabulary: a file with the answers in the order of a model's logits: LXMERT's or UNITER's
    `ans2label.json`, MMF's `answers_vqa.txt`. Without it the classes are the answers that are the
    most frequent one of at least `min_answers` questions of `vocabulary_from`, subsets with
    annotations; [train2014, val2014] gives the 3,129 classes that most published models have.
    image: `file`, the picture; `key`, its name in a feature store, formed by `key` from {split}
    (of COCO) and {id}: UNITER's stores say "coco_{split}_{id:012d}", others "{id}".

    The first start parses the files (445,000 questions: some seconds); later ones read a cache.
    `slices()` has the official types of answers, `submission()` the challenge's json.
    """

    task: ClassVar[Task] = "soft_target"

    @grouped
    def __init__(
        self,
        split: str,
        *,
        place: Group[Place],
        splits: dict[str, str] | None = None,
        vocabulary: str | None = None,
        vocabulary_from: list[str] | None = None,
        min_answers: PositiveInt = 9,
        image: Image = "file",
        key: str = NAME,
    ) -> None:
        subsets = {**DEFAULT, **(splits or {})}
        if split not in subsets:
            raise DataError(f"vqa2 has no split '{split}'. Known: {listing(subsets)}")
        self.folder, self.subset = place.root, _known(subsets[split])
        self.modalities: dict[str, str] = self.declare(image=image)["modalities"]
        part = SUBSETS[self.subset]
        images = place.images or place.folder
        self._name = _keys(key, part) if image == "key" else _paths(local(images) / part)
        self.table = self._read(self.subset)
        if vocabulary:
            self.label_names = read_vocabulary(local(vocabulary))
        else:
            sources = vocabulary_from or [subsets["train"]]
            self.label_names = self._frequent(sources, min_answers)
        if not len(self.table.given) and split != "test":
            raise DataError(
                f"{self.folder}: split '{split}' needs the answers of {self.subset} "
                f"({_file('annotations', self.subset)})"
            )
        known = Vocabulary(self.label_names).classes(self.table.answers)
        self.given: np.ndarray = known[self.table.given]  # int32 [N, 10], -1: in no class

    def __len__(self) -> int:
        return len(self.table.question_ids)

    def __getitem__(self, index: int) -> Example:
        example = self.unlabelled(index)
        if len(self.given):
            example.label = self.labels([index])[0]
        return example

    def unlabelled(self, index: int) -> Example:
        """The example without its label, which takes the most time."""
        table = self.table
        raw = {"text": table.text(index), "image": self._name(int(table.image_ids[index]))}
        return Example(str(table.question_ids[index]), raw)

    def fingerprint(self) -> str:
        """A digest of the content: questions, pictures, annotators' answers and classes."""
        table, found = self.table, hashlib.blake2b(digest_size=12)
        for column in (table.question_ids, table.image_ids, *table.texts, self.given):
            found.update(column.tobytes())
        found.update("\0".join([self._name(0), *self.label_names]).encode())
        return found.hexdigest()

    @classmethod
    def declare(cls, *, image: str = "file", **params: Any) -> dict[str, Any]:
        """The modalities and the task; no file is opened."""
        modalities = {"text": "text", "image": KINDS.get(image, "image")}
        return {"modalities": modalities, "task": cls.task}

    @classmethod
    def needs_build(cls, *, folder: str = "", **params: Any) -> str | None:
        """What to do when the folder is not there; nothing is fetched by itself."""
        if is_address(folder) or Path(folder).is_dir():
            return None
        return (
            f"there is no folder {folder}; unpack VQA v2 there (https://visualqa.org/download.html)"
        )

    def labels(self, rows: Sequence[int]) -> np.ndarray:
        """float32 [B, C]: the labels of several examples; all at once would take gigabytes."""
        return targets(self.given[rows], len(self.label_names))

    def record(self, index: int) -> dict[str, Any]:
        """The question's number, its picture's, and the type of its answer."""
        table = self.table
        found = {"question_id": table.question_ids[index], "image_id": table.image_ids[index]}
        kind = TYPES[table.types[index]] if len(table.types) else ""
        return {**{k: int(v) for k, v in found.items()}, "answer_type": kind}

    def slices(self) -> dict[str, list[int]]:
        """The questions by the official type of their answer: yes/no, number, other."""
        found = {t: np.flatnonzero(self.table.types == i).tolist() for i, t in enumerate(TYPES)}
        return {name: rows for name, rows in found.items() if name and rows}

    def submission(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """One json with `[{"question_id": 1, "answer": "yes"}, …]`, every question once."""
        answers = {int(row["id"]): row["prediction"] for row in rows}
        odd = set(answers) ^ set(self.table.question_ids.tolist())
        if odd:
            state = "no prediction for" if min(odd) not in answers else "a prediction without"
            raise DataError(f"submission of {self.subset}: {state} question {min(odd)}")
        given = [{"question_id": q, "answer": answer} for q, answer in answers.items()]
        name = f"vqa_OpenEnded_mscoco_{self.subset}_results.json"
        return {name: json.dumps(given, ensure_ascii=False) + "\n"}

    def _read(self, subset: str) -> VqaTable:
        questions = self.folder / _file("questions", subset)
        annotations = self.folder / _file("annotations", subset)
        imdb = self.folder / f"imdb_{subset}.npy"
        if questions.is_file():
            return read_official(questions, annotations if annotations.is_file() else None)
        if imdb.is_file():
            return read_imdb(imdb)
        raise DataError(f"{self.folder}: no {questions.name}, and no {imdb.name} of MMF either")

    def _frequent(self, subsets: Sequence[str], least: int) -> list[str]:
        tables = [self.table if s == self.subset else self._read(_known(s)) for s in subsets]
        bare = [s for s, table in zip(subsets, tables, strict=True) if not len(table.given)]
        names = [] if bare else frequent(*frequencies(tables), least)
        if not names:
            why = f"{bare[0]} has no answers" if bare else f"none in {', '.join(subsets)}"
            raise DataError(
                f"{self.folder}: no answer of at least {least} questions to be a class: {why}; set "
                "`vocabulary` to a file, or lower `min_answers`"
            )
        return names


def _paths(folder: Path) -> Callable[[int], str]:
    """From a picture's number to its path."""
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder} of pictures; set `images`, or `image: key` to read a feature store"
        )
    split = folder.name
    return lambda number: str(folder / f"{NAME.format(split=split, id=number)}.jpg")


def _keys(template: str, split: str) -> Callable[[int], str]:
    """From a picture's number to its key."""
    try:
        template.format(split=split, id=0)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"key: '{template}' cannot be filled in ({error!r}); it may hold {{split}} and {{id}}, "
            f"such as {NAME}"
        ) from error
    return lambda number: template.format(split=split, id=number)


def _known(subset: str) -> str:
    if subset not in SUBSETS:
        raise ConfigError(
            f"vqa2 has no questions '{subset}'. {suggest(subset, SUBSETS)}Known: {listing(SUBSETS)}"
        )
    return subset


def _file(what: str, subset: str) -> str:
    return f"v2_{'OpenEnded_' if what == 'questions' else ''}mscoco_{subset}_{what}.json"
