"""VQA v2: examples, rules of its evaluation, layouts, the cache, submissions, mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from release_files import write_vqa2

from msdkit.datasets import vqa_files
from msdkit.datasets.vqa2 import Vqa2
from msdkit.errors import ConfigError, DataError
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset

CLASSES = ["2", "cat's", "dog", "no", "yes", "10"]  # of the miniature, in some order
QUESTIONS = "v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "v2_mscoco_train2014_annotations.json"


@pytest.fixture
def folder(tmp_path: Path, own_cache: Path) -> Path:
    write_vqa2(tmp_path / "vqa")
    return tmp_path / "vqa"


def load(folder: Path, split: str = "train", **params: Any) -> Vqa2:
    node = {"name": "vqa2", "folder": str(folder), "min_answers": 2, **params}
    data = DATASETS.build(node, split=split)
    assert isinstance(data, Vqa2)
    return data


def test_examples_of_the_official_files(folder: Path) -> None:
    data = load(folder)
    assert (len(data), sorted(data.label_names)) == (16, sorted(CLASSES))
    example = data[3]
    picture = folder / "train2014" / "COCO_train2014_000000001001.jpg"
    assert example.id == "1001001"
    assert example.raw == {"text": "What about boat 3?", "image": str(picture)}
    assert picture.is_file()
    scores = dict(zip(data.label_names, example.label.tolist(), strict=True))
    assert scores == {**dict.fromkeys(CLASSES, 0.0), "yes": 1, "no": pytest.approx(0.9)}
    assert data.record(3) == {"question_id": 1001001, "image_id": 1001, "answer_type": "yes/no"}
    assert data.labels([3, 0]).tolist() == [example.label.tolist(), data[0].label.tolist()]


def test_layouts_give_equal_examples(tmp_path: Path, own_cache: Path) -> None:
    for layout in ("official", "mmf", "pythia"):
        params = write_vqa2(tmp_path / layout, layout)
        check_dataset(Vqa2, **params)
        check_dataset(Vqa2, **params, image="key", key="{id}")
    for split, rule in (("train", "official"), ("val", "consistent"), ("test", "revised")):
        params = {"image": "key", "normalise": rule}
        one, *others = (load(tmp_path / n, split, **params) for n in ("official", "mmf", "pythia"))
        for other in others:
            assert one.label_names == other.label_names
            for a, b in zip(one, other, strict=True):
                assert (a.id, a.raw) == (b.id, b.raw)
                assert np.array_equal(a.label, b.label)


def test_rules_of_the_evaluation(folder: Path) -> None:
    assert load(folder).scoring == "as VQA v2's evaluation was released in 2017 (official)"
    found = {}
    for rule in ("official", "revised", "consistent"):
        data = load(folder, normalise=rule)
        assert f"({rule})" in data.scoring
        best = [names(data, i) for i in (1, 2)]
        found[rule] = [*best, data.fingerprint()]
    # six said two and three 10; six said the cat's and three dog, whose articles stay in 2017
    assert found["official"][:2] == [{"10": 0.9}, {"dog": 0.9}]
    assert found["revised"][:2] == found["consistent"][:2] == [{"2": 1, "10": 0.9}, BOTH]
    assert found["official"][2] != found["revised"][2]
    with pytest.raises(ConfigError, match=r"normalise: expected .*official.*, got 'oficial'"):
        load(folder, normalise="oficial")


BOTH = {"cat's": 1, "dog": 0.9}


def names(data: Vqa2, index: int) -> dict[str, float]:
    """The classes that score."""
    label = zip(data.label_names, data[index].label.tolist(), strict=True)
    return {name: pytest.approx(score) for name, score in label if score}


def test_splits_and_keys(folder: Path) -> None:
    assert load(folder, "test", image="key")[0].raw["image"] == "COCO_test2015_000000004000"
    assert load(folder, "test")[0].label is None
    val = load(folder, "test", splits={"test": "val2014"}, image="key", key="coco_{split}_{id}")
    assert val[0].raw["image"] == "coco_val2014_2000"
    assert val[0].label is not None
    assert load(folder, "test").slices() == {}
    assert load(folder).slices() == {
        "yes/no": [0, 3, 6, 9, 12, 15],
        "number": [1, 4, 7, 10, 13],
        "other": [2, 5, 8, 11, 14],
    }


def test_vocabulary_is_frequent_answers_the_most_frequent_first(folder: Path) -> None:
    names = ["2", "cat's", "no", "yes", "10", "dog"]  # of 3, 3, 3, 3, 2 and 2 questions
    assert load(folder).label_names == names
    assert load(folder, min_answers=3).label_names == names[:4]
    both = load(folder, vocabulary_from=["train2014", "val2014"], min_answers=6)
    assert both.label_names == names[:4]
    with pytest.raises(DataError, match="no answer of at least 9 questions"):
        load(folder, min_answers=9)
    with pytest.raises(DataError, match="test2015 has no answers; set `vocabulary`"):
        load(folder, vocabulary_from=["test2015"])


def test_submission(folder: Path) -> None:
    data = load(folder, "test")
    rows = [{"id": example.id, "prediction": "yes"} for example in data]
    (name, text), *more = data.submission(rows).items()
    assert (name, more) == ("vqa_OpenEnded_mscoco_test-dev2015_results.json", [])
    assert json.loads(text)[1] == {"question_id": 4000001, "answer": "yes"}
    assert len(json.loads(text)) == 16
    with pytest.raises(DataError, match="no prediction for question 4000000"):
        data.submission(rows[1:])
    with pytest.raises(DataError, match="a prediction without question 7"):
        data.submission([*rows, {"id": "7", "prediction": "no"}])


def test_later_starts_read_the_cache_until_a_file_changes(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(folder)
    calls = []
    parse: Callable[..., Any] = vqa_files._parse_official
    monkeypatch.setattr(vqa_files, "_parse_official", lambda *a: calls.append(a) or parse(*a))
    again = load(folder)
    assert calls == []
    assert [e.label.tolist() for e in first] == [e.label.tolist() for e in again]
    (cached,) = (own_cache / "parsed").glob("*.safetensors")
    cached.write_bytes(cached.read_bytes()[:100])
    assert load(folder)[0].label.tolist() == first[0].label.tolist()
    (folder / QUESTIONS).write_text((folder / QUESTIONS).read_text().replace("a", "e", 1))
    load(folder)
    assert len(calls) == 2
    assert [p.suffix for p in (own_cache / "parsed").iterdir()] == [".safetensors"] * 2


def change(folder: Path, name: str, edit: Callable[[list[Any]], object]) -> None:
    """Write a file with its list edited."""
    file = json.loads((folder / name).read_text())
    edit(file["questions" if name == QUESTIONS else "annotations"])
    (folder / name).write_text(json.dumps(file), encoding="utf-8")


MISTAKES: list[tuple[str, Callable[[list[Any]], object], str]] = [
    (QUESTIONS, lambda q: q[2].pop("question"), "questions[2]: Object missing required field"),
    (QUESTIONS, lambda q: q[1].update(image_id="x"), "questions[1]: Expected `int`, got `str`"),
    (QUESTIONS, lambda q: q.clear(), "holds no question"),
    (QUESTIONS, lambda q: q.append(q[0]), "question 1000000 stands there twice"),
    (QUESTIONS, lambda q: q.pop(), "an annotation without question 1007001"),
    (ANNOTATIONS, lambda a: a.pop(), "no annotation of question 1000000"),
    (ANNOTATIONS, lambda a: a[3]["answers"].pop(), "annotations[3]: 9 answers, expected 10"),
    (ANNOTATIONS, lambda a: a[4].update(answer_type="z"), "annotations[4]: answer_type 'z'"),
    (ANNOTATIONS, lambda a: a.insert(0, None), "annotations[0]: Expected `object`, got `null`"),
]


@pytest.mark.parametrize(("name", "edit", "message"), MISTAKES)
def test_mistakes_are_named_with_file_and_entry(
    folder: Path, name: str, edit: Callable[[list[Any]], object], message: str
) -> None:
    change(folder, name, edit)
    with pytest.raises(DataError) as error:
        load(folder)
    assert message in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"questions": 3, "annotations": 3}', b"\xff"]
)
def test_damaged_files(folder: Path, name: str, text: bytes) -> None:
    (folder / name).write_bytes(text)
    with pytest.raises(DataError, match=f"{name}: not a readable json file of VQA"):
        load(folder)


def test_truncated_file(folder: Path) -> None:
    whole = (folder / ANNOTATIONS).read_bytes()
    (folder / ANNOTATIONS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"{ANNOTATIONS}: not a readable json .*truncated"):
        load(folder)


def test_config_mistakes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'dev'. Known: test, train, val"):
        load(folder, "dev")
    with pytest.raises(ConfigError, match=r"no questions 'val2015'. Did you mean 'val2014'"):
        load(folder, "val", splits={"val": "val2015"})
    with pytest.raises(ConfigError, match=r"key: '\{name\}' cannot be filled in"):
        load(folder, image="key", key="{name}")
    with pytest.raises(DataError, match=r"no folder .*train2014 of pictures; set `images`"):
        load(folder, images=str(tmp_path / "nowhere"))
    (folder / ANNOTATIONS).unlink()
    with pytest.raises(DataError, match=f"needs the answers of train2014 .{ANNOTATIONS}"):
        load(folder, vocabulary_from=["val2014"])
    assert "visualqa.org" in str(Vqa2.needs_build(folder="/nowhere"))
    assert Vqa2.needs_build(folder=str(folder)) is None
