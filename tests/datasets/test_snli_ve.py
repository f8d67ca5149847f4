"""SNLI-VE: the releases of 2018 and 2020, MMF's layout, label orders, rows without a gold label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from release_files import entailment_rows, write_lines, write_snli_ve

from msdkit.datasets.snli_ve import SnliVe
from msdkit.errors import ConfigError, DataError
from msdkit.registry import DATASETS
from msdkit.testing.data import check_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_snli_ve(tmp_path)
    return tmp_path


def load(folder: Path, split: str = "train", **params: Any) -> SnliVe:
    data = DATASETS.build({"name": "snli_ve", "folder": str(folder), **params}, split=split)
    assert isinstance(data, SnliVe)
    return data


def test_an_example_as_the_file_has_it(folder: Path) -> None:
    data = load(folder)
    picture = str((folder / "flickr30k-images" / "10000.jpg").resolve())
    assert data[1].id == "10000.jpg#0r1n"
    assert data[1].raw == {"text": "There is a cat in photograph 0.", "image": picture}
    assert [example.label for example in (data[0], data[1], data[2])] == [0, 1, 2]


def test_rows_without_gold_label_are_left_out_and_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load(folder, "val")
    assert (len(data), data.dropped) == (12, 4)  # every fourth of 16
    assert "snli_ve_dev.jsonl: 4 rows without a gold label left out" in capsys.readouterr().err


def test_layouts_give_equal_examples(tmp_path: Path) -> None:
    for layout in ("2018", "2020", "mmf"):
        params = write_snli_ve(tmp_path / layout, layout)
        check_dataset(SnliVe, **params)
        check_dataset(SnliVe, **params, image="key", labels="uniter")
    for split in ("train", "val", "test"):
        first, *others = (
            load(tmp_path / name, split, image="key") for name in ("2018", "2020", "mmf")
        )
        expected = [first[i] for i in range(len(first))]
        assert expected[0].raw["image"] in ("10000", "20000", "30000")
        for other in others:
            assert [other[i] for i in range(len(other))] == expected
        assert others[0].dropped == 0


@pytest.mark.parametrize(
    ("labels", "names", "encoded"),
    [
        ("mmf", ["entailment", "neutral", "contradiction"], [0, 1, 2]),
        ("uniter", ["contradiction", "entailment", "neutral"], [1, 2, 0]),
        (["neutral", "contradiction", "entailment"],) * 2 + ([2, 0, 1],),
    ],
)
def test_label_orders(folder: Path, labels: Any, names: list[str], encoded: list[int]) -> None:
    data = load(folder, labels=labels)
    assert data.label_names == names
    assert [data[i].label for i in range(3)] == encoded


def test_unknown_label_orders(folder: Path) -> None:
    with pytest.raises(ConfigError, match="labels: expected mmf, uniter or an order of contradict"):
        load(folder, labels=["entailment", "neutral"])
    with pytest.raises(ConfigError, match="labels"):
        load(folder, labels="lxmert")


def test_photographs_elsewhere(tmp_path: Path) -> None:
    write_snli_ve(tmp_path / "a")
    photographs = (tmp_path / "a" / "flickr30k-images").rename(tmp_path / "photographs")
    assert load(tmp_path / "a", images=str(photographs))[0].raw["image"].endswith("s/10000.jpg")


@pytest.mark.parametrize("place", ["a/defaults/images", "flickr30k/defaults/images"])
def test_photographs_where_mmf_puts_them(tmp_path: Path, place: str) -> None:
    """In `flickr30k_images`, beside the annotations or in the folder of Flickr30k."""
    write_snli_ve(tmp_path / "a")
    photographs = tmp_path / place / "flickr30k_images"
    photographs.parent.mkdir(parents=True)
    (tmp_path / "a" / "flickr30k-images").rename(photographs)
    assert load(tmp_path / "a")[0].raw["image"] == str(photographs / "10000.jpg")


def test_test_may_lack_labels(folder: Path) -> None:
    rows = [{**row, "gold_label": None} for row in entailment_rows("test", "2018")]
    write_lines(folder / "snli_ve_test.jsonl", rows)
    assert load(folder, "test")[0].label is None


ROW = entailment_rows("train", "2018")[0]
MISTAKES = [
    (['{"gold_label": "ent'], "snli_ve_train.jsonl:1: not valid JSON"),
    (["{}x"], "snli_ve_train.jsonl:1: not valid JSON"),
    ([ROW, "", ROW], "snli_ve_train.jsonl: the id '10000.jpg#0r0e' stands twice"),
    ([{**ROW, "gold_label": "-"}], "snli_ve_train.jsonl: holds no example"),
    ([{**ROW, "gold_label": "neutrl"}], "unknown label 'neutrl'. Did you mean 'neutral'?"),
    ([{**ROW, "gold_label": None}], "snli_ve_train.jsonl:1: no column 'gold_label'"),
    ([{**ROW, "Flikr30kID": None}], "no column 'Flikr30kID' or 'Flickr30K_ID'"),
    ([{**ROW, "Flikr30kID": "77.jpg"}], "snli_ve_train.jsonl:1: the file"),
    ([{**ROW, "Flikr30kID": "../../x"}], "snli_ve_train.jsonl:1: the file"),
    ([{**ROW, "sentence2": ["x"]}], "column 'sentence2': expected str, got ['x']"),
]


@pytest.mark.parametrize(("rows", "message"), MISTAKES)
def test_mistakes_are_named_with_file_and_line(folder: Path, rows: list[Any], message: str) -> None:
    write_lines(folder / "snli_ve_train.jsonl", rows)
    with pytest.raises(DataError) as error:
        load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no file of split 'train'; looked for snli_ve_train\.jsonl"
    ):
        load(tmp_path)
    with pytest.raises(DataError, match="has no split 'dev'"):
        load(tmp_path, "dev")
