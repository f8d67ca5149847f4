"""VQA v2: short answers to questions about COCO pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from msdkit.datasets.release import KINDS, Image, Place, first_file
from msdkit.datasets.vqa_answers import Normalise, is_token, joined
from msdkit.datasets.vqa_files import read_official
from msdkit.datasets.vqa_imdb import read_imdb
from msdkit.datasets.vqa_table import TYPES, VqaTable
from msdkit.datasets.vqa_targets import SoftTargets
from msdkit.datasets.vqa_vocabulary import frequent, read_vocabulary
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
    "val2train2014": "val2014",  # Pythia's name of the rest
    "test2015": "test2015",
    "test-dev2015": "test2015",
}
DEFAULT = {"train": "train2014", "val": "val2014", "test": "test-dev2015"}
IMDB = ("", "imdb/", "defaults/annotations/")  # where it lies: anywhere, by Pythia, by MMF
NAME = "COCO_{split}_{id:012d}"  # of a picture
SCORING = {
    "official": "as VQA v2's evaluation was released in 2017",
    "revised": "as VQA v2's evaluation was revised in 2021",
    "consistent": "all answers in one form, unlike VQA v2's evaluation",
}


@DATASETS.register("vqa2")
class Vqa2:
    """Question and picture -> one of the frequent answers; Goyal et al., arXiv 1612.00837.

    Each question has the answers of ten people. The label of class c is the accuracy of giving
    that answer: 0, 0.3, 0.6, 0.9 or 1 for 0, 1, 2, 3, or more people who gave it.

    folder: holds the unpacked files of https://visualqa.org/download.html (CC BY 4.0; pictures of
    COCO): `v2_OpenEnded_mscoco_train2014_questions.json`, `v2_mscoco_train2014_annotations.json`
    and so on (test2015 and test-dev2015 have no annotations, so no labels); the pictures as
    `train2014/COCO_train2014_000000458752.jpg`. Where the questions of a split are missing, the
    `imdb_train2014.npy` of Pythia or MMF is read in their place.
    splits: the questions of each split, by default {train: train2014, val: val2014, test:
    test-dev2015}.
    vocabulary: a file with the answers in the order of a model's logits: LXMERT's or UNITER's
    `ans2label.json`, MMF's `answers_vqa.txt`. Tokens in it such as <unk> keep their logit and are
    never answered; "women 's" is answered as "women's". Without it the classes are the answers
    that are the most frequent one of at least `min_answers` questions of `vocabulary_from`, subsets
    with annotations; [train2014, val2014] gives the 3,129 classes that most published models have.
    normalise: when two answers are the same. `official`: by the evaluation released with VQA v2 in
    2017, whose numbers papers give: a model's answer takes one form (lower case, 2 for two, no
    articles), people's lose their punctuation, and not even that where all ten are equal; so nobody
    can agree with "none" or "the dog". `revised`: as it was changed in 2021: all take that form,
    or none where people's are equal. `consistent`: all do, always.
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
        normalise: Normalise = "official",
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
        self.targets = SoftTargets(self.table, self.label_names, normalise)
        self.unanswered = [name for name in self.label_names if is_token(name)]
        self.scoring = f"{SCORING[normalise]} ({normalise})"

    def __len__(self) -> int:
        return len(self.table.question_ids)

    def __getitem__(self, index: int) -> Example:
        example = self.unlabelled(index)
        if len(self.targets):
            example.label = self.labels([index])[0]
        return example

    def unlabelled(self, index: int) -> Example:
        """The example without its label, which takes the most time."""
        table = self.table
        raw = {"text": table.text(index), "image": self._name(int(table.image_ids[index]))}
        return Example(str(table.question_ids[index]), raw)

    def fingerprint(self) -> str:
        """A digest of the content: questions, pictures (files are digested beside it), annotators'
        answers and classes."""
        table, found = self.table, hashlib.blake2b(digest_size=12)
        scored = (self.targets.given, self.targets.alike, self.targets.same)
        for column in (table.question_ids, table.image_ids, *table.texts, *scored):
            found.update(column.tobytes())
        key = "" if self.modalities["image"] == "image" else self._name(0)
        found.update("\0".join([key, *self.label_names]).encode())
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
        return self.targets[rows]

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
        if tokens := [q for q, answer in answers.items() if is_token(answer)]:
            raise DataError(
                f"submission of {self.subset}: '{answers[tokens[0]]}' to question {tokens[0]} is a "
                "token; expected answers"
            )
        odd = set(answers) ^ set(self.table.question_ids.tolist())
        if odd:
            state = "no prediction for" if min(odd) not in answers else "a prediction without"
            raise DataError(f"submission of {self.subset}: {state} question {min(odd)}")
        given = [{"question_id": q, "answer": joined(a)} for q, a in answers.items()]
        name = f"vqa_OpenEnded_mscoco_{self.subset}_results.json"
        return {name: json.dumps(given, ensure_ascii=False) + "\n"}

    def _read(self, subset: str) -> VqaTable:
        questions = self.folder / _file("questions", subset)
        annotations = self.folder / _file("annotations", subset)
        if questions.is_file():
            return read_official(questions, annotations if annotations.is_file() else None)
        name = f"imdb_{subset}.npy"
        return read_imdb(
            first_file(
                self.folder,
                [f"{place}{name}" for place in IMDB],
                f"{questions.name}, and no {name} of MMF either",
            )
        )

    def _frequent(self, subsets: Sequence[str], least: int) -> list[str]:
        tables = [self.table if s == self.subset else self._read(_known(s)) for s in subsets]
        bare = [s for s, table in zip(subsets, tables, strict=True) if not len(table.given)]
        names = [] if bare else frequent(tables, least)
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
