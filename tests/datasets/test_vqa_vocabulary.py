"""Vocabularies of VQA: files of others, their tokens, and what is handed in for a class."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from release_files import write_vqa2

from msdkit.datasets.vqa2 import Vqa2
from msdkit.datasets.vqa_vocabulary import read_vocabulary
from msdkit.errors import DataError
from msdkit.registry import DATASETS


@pytest.fixture
def folder(tmp_path: Path, own_cache: Path) -> Path:
    write_vqa2(tmp_path / "vqa")
    return tmp_path / "vqa"


def load(folder: Path, split: str = "train", **params: Any) -> Vqa2:
    """A split with a vocabulary; answers in one form, for people say "the cat's"."""
    node = {"name": "vqa2", "folder": str(folder), "normalise": "consistent", **params}
    data = DATASETS.build(node, split=split)
    assert isinstance(data, Vqa2)
    return data


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ans2label.json", '{"yes": 1, "cat \'s": 0, "": 2}'),
        ("label2ans.json", '["cat \'s", "yes", ""]'),
        ("answers_vqa.txt", "cat 's\nyes\n<unk>\n"),
    ],
)
def test_vocabulary_files(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    data = load(folder, vocabulary=str(folder / name))
    assert data.label_names[:2] == ["cat 's", "yes"]
    assert data[2].label.tolist() == [1, 0, 0]  # the other style of a possessive is the same answer
    assert data[3].label.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.json", '{"yes": 0, "no": 2}', "with each index from 0 once"),
        ("v.json", '{"yes"', "not a readable vocabulary"),
        ("v.json", "[1]", "expected {answer: index}"),
        ("v.txt", "yes\nyes\n", "holds 1 answers more than once"),
        ("v.txt", "", "holds no answer"),
        ("v.pkl", "yes", "not a readable pickle"),
    ],
)
def test_bad_vocabularies(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"{name}: ") as error:
        load(folder, vocabulary=str(folder / name))
    assert message in str(error.value)


def test_pickled_vocabularies(tmp_path: Path) -> None:
    path = tmp_path / "trainval_label2ans.pkl"
    for found in (["yes", "2"], {"2": 1, "yes": 0}):
        path.write_bytes(pickle.dumps(found, 2))  # as tools/compute_softscore.py does
        assert read_vocabulary(path) == ["yes", "2"]
    path.write_bytes(pickle.dumps({0: "yes"}))
    with pytest.raises(DataError, match=r"label2ans\.pkl: not a readable vocabulary: expected"):
        read_vocabulary(path)


def test_lines_are_stripped_as_mmf_does(tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_bytes("<unk>\r\n yes \ncaf\x85é\n".encode())
    assert read_vocabulary(path) == ["<unk>", "yes", "caf\x85é"]


def mmf_words(tmp_path: Path) -> Path:
    """As many lines as MMF's own file, the first of them <unk>."""
    words = ["<unk>", "10", "2", "cat 's", "dog", "no", "yes", *map(str, range(100, 3222))]
    path = tmp_path / "answers_vqa.txt"
    path.write_text("".join(word + "\n" for word in words), encoding="utf-8")
    return path


def test_tokens_keep_their_rows_and_are_never_answers(folder: Path, tmp_path: Path) -> None:
    data = load(folder, vocabulary=str(mmf_words(tmp_path)))
    assert len(data.label_names) == 3129
    assert (data.label_names[0], data.unanswered) == ("<unk>", ["<unk>"])
    labels = data.labels(range(len(data)))
    assert labels.shape == (16, 3129)
    assert not labels[:, 0].any()
    assert labels.any(1).all()


def test_what_is_handed_in(folder: Path, tmp_path: Path) -> None:
    data = load(folder, "test", vocabulary=str(mmf_words(tmp_path)))
    rows = [{"id": example.id, "prediction": "cat 's"} for example in data]
    (text,) = data.submission(rows).values()
    # the evaluation parts no possessive, and people do not either
    assert {row["answer"] for row in json.loads(text)} == {"cat's"}
    rows[3]["prediction"] = "<unk>"
    with pytest.raises(DataError, match="'<unk>' to question 4001001 is a token; expected answers"):
        data.submission(rows)


def test_people_who_say_what_a_token_is_called_score_nothing(folder: Path) -> None:
    path = folder / "v2_mscoco_train2014_annotations.json"
    file = json.loads(path.read_text())
    for answer in file["annotations"][0]["answers"]:
        answer["answer"] = "unk"
    path.write_text(json.dumps(file), encoding="utf-8")
    (folder / "v.txt").write_text("<unk>\nyes\n", encoding="utf-8")
    data = load(folder, vocabulary=str(folder / "v.txt"))
    assert data[15].label.tolist() == [0, 0]  # the first annotation is that of the last question
