"""Pythia's and MMF's imdb of VQA v2: all that their writers write and their readers take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from release_files import pythia_imdb, write_vqa2

from msdkit.datasets.vqa2 import Vqa2
from msdkit.datasets.vqa_imdb import read_imdb
from msdkit.errors import DataError
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset


def load(folder: Path, split: str = "train", **params: Any) -> Vqa2:
    node = {"name": "vqa2", "folder": str(folder), "min_answers": 2, "image": "key", **params}
    data = DATASETS.build(node, split=split)
    assert isinstance(data, Vqa2)
    return data


class Hostile:
    """Unpickled by the usual means, it would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_bad_imdb(tmp_path: Path, own_cache: Path) -> None:
    folder = tmp_path / "vqa"
    folder.mkdir()
    with pytest.raises(DataError, match=r"no v2_OpenEnded.*and no imdb_train2014\.npy of MMF"):
        load(folder)
    path = folder / "imdb_train2014.npy"
    np.save(path, np.array([{"question_id": Hostile(tmp_path / "made")}], dtype=object))
    with pytest.raises(DataError, match=r"imdb_train2014\.npy: the pickle asks for 'posix.mkdir'"):
        load(folder)
    assert not (tmp_path / "made").exists()
    np.save(path, np.array([{"version": 1}, {"question_id": 1, "image_id": 2}], dtype=object))
    with pytest.raises(DataError, match=r"imdb_train2014\.npy: row 0: no row of an imdb"):
        load(folder)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"imdb_train2014\.npy: not a readable .npy file"):
        load(folder)
    np.save(path, np.array({"metadata": {}, "rows": []}, dtype=object))
    with pytest.raises(
        DataError, match=r"imdb_train2014\.npy: expected rows, or a dictionary with"
    ):
        load(folder)
    np.save(path, np.array([{**ROW, "answers": ["yes"] * 11}], dtype=object))
    with pytest.raises(DataError, match=r"imdb_train2014\.npy: row 0: 11 answers, expected 10"):
        load(folder)
    np.save(path, np.array([ROW, {**ROW, "question_id": 2, "answers": ["yes"]}], dtype=object))
    with pytest.raises(DataError, match="1 of 2 rows have answers; expected all or none"):
        load(folder)


ROW = {"question_id": 1, "image_id": 2, "question_str": "What?"}
PEOPLE = ["dog"] * 6 + ["cat"] * 3 + ["odd"]
SCORES = {"dog": 1.0, "cat": 0.9}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "all beside valid": ({"all_answers": PEOPLE, "valid_answers": ["dog"] * 6}, SCORES),
    "all beside none": ({"all_answers": ["x"] * 10, "valid_answers": ["<unk>"]}, {}),
    "all alone": ({"all_answers": PEOPLE}, SCORES),
    "answers": ({"answers": PEOPLE}, SCORES),
    "an array": ({"answers": np.array(PEOPLE)}, SCORES),
    "a tuple": ({"all_answers": tuple(PEOPLE)}, SCORES),
    "as annotated": ({"answers": [{"answer": a, "answer_id": 1} for a in PEOPLE]}, SCORES),
    "to be copied": ({"answers": [*PEOPLE, "<copy>"]}, SCORES),
    "none beside all": ({"answers": None, "all_answers": PEOPLE}, SCORES),
    # MMF makes ten of fewer by taking them in turn: 4 dogs, 3 of each other
    "valid alone": ({"valid_answers": ["dog", "cat", "x"]}, {"dog": 1.0, "cat": 0.9}),
    "none is valid": ({"valid_answers": ["<unk>"]}, {}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_answers_by_all_names(tmp_path: Path, own_cache: Path, variant: str) -> None:
    given, scores = VARIANTS[variant]
    (tmp_path / "words.txt").write_text("<unk>\ndog\ncat\nunk\n", encoding="utf-8")
    np.save(tmp_path / "imdb_train2014.npy", np.array([{"version": 1}, {**ROW, **given}]))
    for rule in ("official", "revised", "consistent"):
        data = load(tmp_path, vocabulary=str(tmp_path / "words.txt"), normalise=rule)
        found = dict(zip(data.label_names, data[0].label.tolist(), strict=True))
        assert {k: v for k, v in found.items() if v} == pytest.approx(scores)


def test_no_vocabulary_is_made_of_tokens(tmp_path: Path, own_cache: Path) -> None:
    rows = [{**ROW, "question_id": i, "valid_answers": ["<unk>"]} for i in range(9)]
    rows += [{**ROW, "question_id": 9 + i, "valid_answers": ["dog"] * 9} for i in range(2)]
    np.save(tmp_path / "imdb_train2014.npy", np.array(rows))
    assert load(tmp_path).label_names == ["dog"]


WRITTEN: dict[str, Callable[[list[Any]], Any]] = {
    "rows and a header": lambda rows: np.array(rows),
    "rows alone": lambda rows: np.array(rows[1:]),
    "a dictionary": lambda rows: np.array({"metadata": rows[0], "data": rows[1:]}, dtype=object),
    "arrays in it": lambda rows: np.array({"data": np.array(rows[1:])}, dtype=object),
    "two dimensions": lambda rows: np.array(rows)[:, None],
}


@pytest.mark.parametrize("written", WRITTEN)
def test_all_that_holds_rows(tmp_path: Path, own_cache: Path, written: str) -> None:
    rows = pythia_imdb("train2014", labelled=True)
    np.save(tmp_path / "imdb_train2014.npy", WRITTEN[written](rows))
    found = read_imdb(tmp_path / "imdb_train2014.npy")
    assert found.question_ids.tolist() == [row["question_id"] for row in rows[1:]]
    assert found.text(3) == rows[4]["question_str"]


def test_other_names_of_questions_and_pictures(tmp_path: Path, own_cache: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question_id": "7", "image_id": "COCO_train2014_000000000009", "question": "Who?"},
        {"question_id": np.int64(8), "image_id": "12", "question_str": "Why?"},
    ]
    np.save(tmp_path / "imdb_train2014.npy", np.array(rows))
    found = read_imdb(tmp_path / "imdb_train2014.npy")
    assert (found.question_ids.tolist(), found.image_ids.tolist()) == ([7, 8], [9, 12])
    assert [found.text(i) for i in range(2)] == ["Who?", "Why?"]
    assert not len(found.given)


def test_pythias_files(tmp_path: Path, own_cache: Path) -> None:
    params = write_vqa2(tmp_path, "pythia")
    check_dataset(Vqa2, **params)
    words, rest = str(tmp_path / "answers_vqa.txt"), tmp_path / "imdb" / "imdb_val2train2014.npy"
    (rest.parent / "imdb_val2014.npy").rename(rest)
    data = load(tmp_path, "val", splits={"val": "val2train2014"}, vocabulary=words)
    assert data.unanswered == ["<unk>"]
    assert data[0].raw["image"] == "COCO_val2014_000000002000"
