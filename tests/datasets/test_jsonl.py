"""A person's own data: forms of rows and labels, and an error with its line for each mistake."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from msdkit.datasets.jsonl import Jsonl, read_examples
from msdkit.datasets.labels import LabelReader
from msdkit.datasets.records import Records
from msdkit.errors import ConfigError, DataError
from msdkit.registry import DATASETS

ROWS = [
    {"id": "a", "caption": "a dog", "path": "pictures/1.png", "label": "no"},
    {"id": "b", "caption": "a cat", "path": "pictures/1.png", "label": "yes"},
]
MODALITIES = {"text": "caption", "image": "path"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "pictures" / "1.png")
    for split in ("train", "val", "test"):
        write(tmp_path / f"{split}.jsonl", ROWS)
    return tmp_path


def write(path: Path, rows: list[Any]) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def load(folder: Path, split: str = "train", **params: Any) -> Jsonl:
    node = {"name": "jsonl", "folder": str(folder), "modalities": MODALITIES, **params}
    data = DATASETS.build(node, split=split)
    assert isinstance(data, Jsonl)
    return data


def test_text_and_image(folder: Path) -> None:
    data = load(folder)
    assert len(data) == 2
    assert data.modalities == {"text": "text", "image": "image"}
    assert data.label_names == ["no", "yes"]
    assert data[1].id == "b"
    picture = str((folder / "pictures" / "1.png").resolve())
    assert data[1].raw == {"text": "a cat", "image": picture}
    assert data[1].label == 1
    assert data.record(0) == ROWS[0]


def test_declare_opens_no_file() -> None:
    modalities = {"t": {"column": "x", "type": "text"}, "array": "y", "f": {"column": "z"}}
    declared = Jsonl.declare(folder="/nowhere", modalities=modalities, task="multi_label")
    assert declared == {
        "modalities": {"t": "text", "array": "array", "f": "text"},
        "task": "multi_label",
    }


def test_ids_files_and_blank_lines(folder: Path) -> None:
    rows = [{"caption": "x", "label": "no"}, "", {"caption": "y", "label": "yes", "id": 7}]
    write(folder / "mine.jsonl", rows)
    data = load(folder, "val", files={"val": "mine.jsonl"}, modalities={"text": "caption"})
    assert [data[i].id for i in range(2)] == ["1", "7"]
    assert [example.id for example in data] == ["1", "7"]  # indexing ends as iteration expects


def test_arrays_and_features(folder: Path) -> None:
    np.save(folder / "x.npy", np.arange(6.0).reshape(2, 3))
    rows = [{"x": "x.npy", "n": [3, 1, 2], "key": "k1", "label": "no"}]
    write(folder / "train.jsonl", rows)
    modalities = {
        "audio": {"column": "x", "type": "array"},
        "ids": {"column": "n", "type": "array"},
        "features": "key",
    }
    raw = load(folder, modalities=modalities)[0].raw
    assert raw["audio"].dtype == np.float32
    assert raw["audio"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert raw["ids"].dtype == np.int64
    assert raw["ids"].tolist() == [3, 1, 2]
    assert raw["features"] == "k1"


def test_integer_labels_are_classes_in_their_order(folder: Path) -> None:
    labels = [10, 2, 0, 2]
    write(folder / "train.jsonl", [{"text": "x", "label": v} for v in labels])
    data = load(folder, modalities={"text": "text"})
    assert data.label_names == ["0", "2", "10"]
    assert [e.label for e in data] == [2, 1, 0, 1]


def test_integers_index_given_names(folder: Path) -> None:
    write(folder / "train.jsonl", [{"text": "x", "label": v} for v in (1, "no")])
    data = load(folder, modalities={"text": "text"}, labels=["yes", "no"])
    assert [e.label for e in data] == [1, 1]
    assert LabelReader(["1", "2"], "single_label").encode(2, "here") == 1


def test_multi_label(folder: Path) -> None:
    labels = [["b", "a"], [], ["c"]]
    write(folder / "train.jsonl", [{"text": "x", "label": v} for v in labels])
    data = load(folder, modalities={"text": "text"}, task="multi_label")
    assert data.label_names == ["a", "b", "c"]
    assert np.stack([e.label for e in data]).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert data[0].label.dtype == np.float32


def test_soft_targets(folder: Path) -> None:
    write(folder / "train.jsonl", [{"text": "x", "label": {"b": 0.25, "a": 1}}])
    write(folder / "val.jsonl", [{"text": "x", "label": [0.5, 0.0]}])
    params: dict[str, Any] = {"modalities": {"text": "text"}, "task": "soft_target"}
    assert load(folder, **params)[0].label.tolist() == [1.0, 0.25]
    assert load(folder, "val", **params)[0].label.tolist() == [0.5, 0.0]
    write(folder / "train.jsonl", [{"text": "x", "label": [0.5, 0, 1]}])
    assert load(folder, **params).label_names == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        (0.5, ["score"], [0.5]),
        ({"b": 1, "a": -2.5}, ["a", "b"], [-2.5, 1]),
        ([1, 2.5], ["0", "1"], [1, 2.5]),
    ],
)
def test_numbers(folder: Path, label: Any, names: list[str], expected: list[float]) -> None:
    write(folder / "train.jsonl", [{"text": "x", "score": v} for v in (label, expected)])
    data = load(folder, modalities={"text": "text"}, task="regression", label="score")
    assert data.label_names == names
    assert [e.label.tolist() for e in data] == [expected] * 2
    assert data[0].label.dtype == np.float32


def test_given_targets_decide_the_order(folder: Path) -> None:
    write(folder / "train.jsonl", [{"text": "x", "label": {"b": 1, "a": -2.5}}])
    params: dict[str, Any] = {"modalities": {"text": "text"}, "task": "regression"}
    assert load(folder, **params, labels=["b", "a"])[0].label.tolist() == [1, -2.5]
    with pytest.raises(
        DataError, match=r"train\.jsonl:1: expected numbers for b; got them for a, b"
    ):
        load(folder, **params, labels=["b"])


@pytest.mark.parametrize("label", ["0.5", True, [], {}, [[1]], float("nan"), 1e39])
def test_labels_that_are_no_numbers(folder: Path, label: Any) -> None:
    write(folder / "train.jsonl", [{"text": "x", "label": label}])
    with pytest.raises(DataError, match=r"train\.jsonl:1: expected .*got"):
        load(folder, modalities={"text": "text"}, task="regression")


def test_only_test_may_lack_labels(folder: Path) -> None:
    bare = [{k: v for k, v in row.items() if k != "label"} for row in ROWS]
    for split in ("val", "test"):
        write(folder / f"{split}.jsonl", bare)
    assert [e.label for e in load(folder, "test")] == [None, None]
    with pytest.raises(DataError, match=r"val\.jsonl:1: no label \(column 'label'\)"):
        load(folder, "val")


def test_prediction_input(folder: Path) -> None:
    write(folder / "input.jsonl", [{"caption": "x", "path": "pictures/1.png"}, ROWS[1]])
    columns = {
        "text": {"column": "caption", "type": "text"},
        "image": {"column": "path", "type": "image"},
    }
    examples = read_examples(folder / "input.jsonl", columns)
    assert [e.id for e in examples] == ["1", "b"]
    assert [e.label for e in examples] == [None, None]
    labels = LabelReader(["yes", "no"], "single_label")
    examples = read_examples(folder / "input.jsonl", columns, labels=labels)
    assert [e.label for e in examples] == [None, 0]
    by_type = read_examples(folder / "input.jsonl", {"caption": "text", "path": "image"})
    assert [e.raw["caption"] for e in by_type] == ["x", "a cat"]
    assert by_type[0].raw["path"] == examples[0].raw["image"]


ROW = ROWS[0]
MISTAKES = [
    (["{no json"], "train.jsonl:1: not valid JSON"),
    ([ROW, [1]], "train.jsonl:2: expected an object"),
    ([{"capton": "x", "path": "", "label": "no"}], "no column 'caption'. Did you mean 'capton'?"),
    ([ROW, {**ROW, "caption": 3}], "train.jsonl:2: column 'caption': expected a text (a string)"),
    ([{**ROW, "path": "gone.png"}], "train.jsonl:1: column 'path': the file"),
    ([{**ROW, "path": "../x.png"}], "'../x.png' leaves the folder"),
    ([{**ROW, "path": "/etc/hostname"}], "'/etc/hostname' leaves the folder"),
    ([{**ROW, "path": "link/hostname"}], "'link/hostname' leaves the folder"),
    ([ROW, "", ROW], "train.jsonl:3: id 'a' stands on line 1 already"),
    ([{**ROW, "label": 0.5}], "train.jsonl:1: expected a class (its name or an integer), got 0.5"),
    ([{**ROW, "label": None}], "train.jsonl:1: no label"),
    ([], "train.jsonl is empty"),
]


@pytest.mark.parametrize(("rows", "message"), MISTAKES)
def test_mistakes_are_named_with_file_and_line(folder: Path, rows: list[Any], message: str) -> None:
    (folder / "link").symlink_to("/etc")
    write(folder / "train.jsonl", rows)
    with pytest.raises(DataError) as error:
        load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_label_gets_the_nearest(folder: Path) -> None:
    write(folder / "val.jsonl", [{**ROWS[0], "label": "yess"}])
    with pytest.raises(DataError, match=r"val\.jsonl:1: unknown label 'yess'. Did you mean 'yes'"):
        load(folder, "val")
    with pytest.raises(DataError, match=r"train\.jsonl:2: unknown label 'yes'.*Known: maybe, no"):
        load(folder, labels=["no", "maybe"])


@pytest.mark.parametrize("value", [[1.5], [[1, 2], [3]], [], [[float("nan")]], "..", [["a"]]])
def test_bad_arrays(folder: Path, value: Any) -> None:
    write(folder / "train.jsonl", [{"x": value, "label": "no"}])
    with pytest.raises(DataError, match=r"train\.jsonl:1: column 'x'"):
        load(folder, modalities={"x": {"column": "x", "type": "array"}})


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        ("multi_label", "a", "expected a list of classes, got 'a'"),
        ("multi_label", [None], "expected"),
        ("soft_target", "a", "expected {class: score} or a list of scores"),
        ("soft_target", {"a": -1}, "expected a finite score of at least 0, got -1"),
        ("soft_target", [1.0], "1 scores for 2 classes"),
    ],
)
def test_bad_labels(task: Any, label: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        LabelReader(["a", "b"], task).encode(label, "x.jsonl:1")
    assert message in str(error.value)


def test_missing_split_and_bad_config(folder: Path) -> None:
    with pytest.raises(DataError, match=r"dev\.jsonl does not exist: it should hold split 'dev'"):
        load(folder, "dev")
    with pytest.raises(ConfigError, match=r"modalities\.text\.type: unknown type 'txt'"):
        load(folder, modalities={"text": {"column": "x", "type": "txt"}})
    with pytest.raises(ConfigError, match=r"modalities\.text: expected \{column"):
        load(folder, modalities={"text": {"colum": "x"}})
    with pytest.raises(ConfigError, match="at least one"):
        load(folder, modalities={})
    with pytest.raises(DataError, match="'no' stands twice"):
        load(folder, labels=["no", "no"])


def test_records_reach_another_process(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": "ü"}', encoding="utf-8")
    records = Records(tmp_path / "a.jsonl")
    assert [records[i]["a"] for i in (1, 0)] == ["ü", 1]
    again = pickle.loads(pickle.dumps(records))
    assert (again[1], again.where(1)) == ({"a": "ü"}, f"{tmp_path / 'a.jsonl'}:3")


def test_integers_beyond_int64_are_refused(folder: Path) -> None:
    for values in ([2**63], [2**63, 2**64 - 1]):
        write(folder / "train.jsonl", [{"n": values, "label": "no"}])
        with pytest.raises(
            DataError, match=r"train\.jsonl:1: column 'n': .* too large for an int64"
        ):
            load(folder, modalities={"n": {"column": "n", "type": "array"}})
