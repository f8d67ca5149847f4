"""Hateful Memes: both phases, MMF's layout, confounders, the challenge's csv, bad files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from release_files import MEME_FILES, meme_rows, write_hateful_memes, write_lines

from msdkit.datasets.hateful_memes import HatefulMemes
from msdkit.errors import DataError
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_hateful_memes(tmp_path)
    return tmp_path


def load(folder: Path, split: str = "train", **params: Any) -> HatefulMemes:
    node = {"name": "hateful_memes", "folder": str(folder), **params}
    data = DATASETS.build(node, split=split)
    assert isinstance(data, HatefulMemes)
    return data


def test_an_example_as_the_file_has_it(folder: Path) -> None:
    data = load(folder)
    picture = str((folder / "img" / "01001.png").resolve())
    assert data[1].id == "1001"
    assert data[1].raw == {"text": "look at this dog number 0", "image": picture}
    assert [data[i].label for i in range(8)] == [0, 1, 0, 1, 1, 0, 1, 0]
    assert data.label_names == ["not_hateful", "hateful"]


@pytest.mark.parametrize(
    ("params", "files"),
    [
        ({}, ["train", "dev_unseen", "test_unseen"]),
        ({"phase": 1}, ["train", "dev", "test"]),
        ({"val": "dev_seen", "test": "test_seen.jsonl"}, ["train", "dev_seen", "test_seen"]),
    ],
)
def test_phases_read_their_files(folder: Path, params: Any, files: list[str]) -> None:
    first = [load(folder, split, **params)[0].id for split in ("train", "val", "test")]
    assert first == [str(MEME_FILES[name]) for name in files]


def test_contract_and_mmf_gives_equal_examples(tmp_path: Path) -> None:
    params = write_hateful_memes(tmp_path / "mmf", "mmf")
    for more in ({}, {"phase": 1}, {"image": "key"}):
        check_dataset(HatefulMemes, **params, **more)
    write_hateful_memes(tmp_path)
    for split in ("train", "val", "test"):
        ours, mmf = (load(f, split, image="key") for f in (tmp_path, tmp_path / "mmf"))
        assert [ours[i] for i in range(len(ours))] == [mmf[i] for i in range(len(mmf))]


def test_keys_need_no_picture(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", meme_rows(42))
    data = load(tmp_path, image="key")
    assert data.modalities == {"text": "text", "image": "features"}
    assert data[0].raw["image"] == "00042"
    with pytest.raises(DataError, match=r"no folder of pictures; looked for .*img.*`image: key`"):
        load(tmp_path)
    assert load(tmp_path, image="key", images="/nowhere")[1].raw["image"] == "00043"


def test_pictures_elsewhere(folder: Path) -> None:
    (folder / "img").rename(folder / "memes")
    assert load(folder, images=str(folder / "memes"))[0].raw["image"].endswith("memes/01000.png")


def test_confounders_share_words_or_picture_and_not_the_label(tmp_path: Path) -> None:
    texts = ["A  dog", "a dog", "a cat", "a cat", "a boat", "a hat"]
    rows = [
        {"id": i, "img": f"img/{picture}.png", "text": texts[i], "label": label}
        for i, (picture, label) in enumerate([(0, 0), (1, 1), (2, 1), (3, 1), (4, 0), (4, 1)])
    ]
    write_lines(tmp_path / "train.jsonl", rows)
    assert load(tmp_path, image="key").slices() == {"confounders": [0, 1, 4, 5]}
    write_lines(tmp_path / "test_unseen.jsonl", [{**row, "label": None} for row in rows])
    assert load(tmp_path, "test", image="key").slices() == {}


def test_the_challenges_csv(folder: Path) -> None:
    data = load(folder, "test")
    assert {data[i].label for i in range(len(data))} == {None}
    rows = [
        {
            "id": data[i].id,
            "prediction": "hateful" if i else "not_hateful",
            "probabilities": {"multimodal": [0.25, 0.75], "text": [0.5, 0.5]},
        }
        for i in range(len(data))
    ]
    files = data.submission(rows)
    assert list(files) == ["test_unseen.csv"]
    lines = files["test_unseen.csv"].splitlines()
    assert lines[:3] == ["id,proba,label", "5000,0.75,0", "5001,0.75,1"]
    assert len(lines) == 1 + len(data)
    with pytest.raises(DataError, match="each of its 16 memes once, got 15 rows, 1 memes are miss"):
        data.submission(rows[1:])


ROW = meme_rows(1000)[0]
MISTAKES = [
    (['{"id": 1, "im'], "train.jsonl:1: not valid JSON"),
    (["[" * 100_000], "train.jsonl:1: not valid JSON"),
    ([ROW, "[1]"], "train.jsonl:2: expected an object"),
    ([ROW, ROW], "train.jsonl: the id '1000' stands twice"),
    ([], "train.jsonl: holds no example"),
    ([{**ROW, "label": None}], "train.jsonl:1: no column 'label'"),
    ([{**ROW, "label": 2}], "train.jsonl:1: column 'label': expected 0 or 1, got 2"),
    ([{**ROW, "label": True}], "column 'label': expected int, got True"),
    ([{**ROW, "id": "x,1"}], "column 'id': expected a number, got 'x,1'"),
    ([{**ROW, "text": 3}], "column 'text': expected str, got 3"),
    ([{**ROW, "text": "\ud800"}], "train.jsonl:1: column 'text': the text is not valid Unicode"),
    ([{"id": 1, "text": "x", "label": 0, "image": "x"}], "no column 'img'"),
    ([{**ROW, "img": "img/9.png"}], "train.jsonl:1: the file"),
    ([{**ROW, "img": "img/.."}], "'..' leaves the folder"),
    ([{**ROW, "img": "img/link"}], "'link' leaves the folder"),
]


@pytest.mark.parametrize(("rows", "message"), MISTAKES)
def test_mistakes_are_named_with_file_and_line(folder: Path, rows: list[Any], message: str) -> None:
    (folder / "img" / "link").symlink_to("/etc/hostname")
    write_lines(folder / "train.jsonl", rows)
    with pytest.raises(DataError) as error:
        load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file of split 'val'; looked for dev_unseen\.jsonl, "):
        load(tmp_path, "val")
    with pytest.raises(DataError, match="has no split 'dev'"):
        load(tmp_path, "dev")
    assert HatefulMemes.needs_build(folder=str(tmp_path)) is None
    assert "no folder /nowhere; unpack" in str(HatefulMemes.needs_build(folder="/nowhere"))
