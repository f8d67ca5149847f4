"""Statistics of a data set and its contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from msdkit.datasets import sheet
from msdkit.datasets.stats import contact_sheet, dataset_stats, example_label
from msdkit.errors import DataError
from msdkit.tables import print_stats
from msdkit.types import Example


class Toy:
    """Five texts of 1 to 5 words; `kind` decides the labels."""

    modalities = {"text": "text", "audio": "array"}  # noqa: RUF012
    label_names = ["a", "b"]  # noqa: RUF012

    def __init__(self, split: str, kind: str = "index") -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Example:
        forms: dict[str, Any] = {
            "index": [0, 0, 1, 0, None][index],
            "hot": np.array([1, index % 2], dtype=np.float32),
            "soft": np.array([0.25, 0.5], dtype=np.float32),
            "numbers": [1.5, 2.5, 3.5, 4.5, None][index],
        }
        forms["none"] = None
        raw = {"text": " ".join(["w"] * (index + 1)), "audio": np.zeros((index, 2), np.float32)}
        return Example(str(index), raw, forms[self.kind])


def test_stats_by_hand() -> None:
    stats = dataset_stats(Toy, {}, ["train"])
    words = {"mean": 3.0, "p5": 1.2, "p50": 3.0, "p95": 4.8, "max": 5}
    text = stats["train"]["modalities"]["text"]
    assert stats["train"]["count"] == 5
    assert stats["train"]["labels"] == {"a": 3, "b": 1, "(none)": 1}
    assert text["distinct"] == 5
    assert text["words"] == pytest.approx(words)
    assert stats["train"]["modalities"]["audio"] == {"type": "array", "rows": 2.0}


def test_stats_of_vector_labels() -> None:
    assert dataset_stats(Toy, {"kind": "hot"}, ["val"])["val"]["labels"] == {"a": 5, "b": 2}
    assert dataset_stats(Toy, {"kind": "soft"}, ["val"])["val"]["labels"] == {"a": 1.25, "b": 2.5}


def test_stats_of_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    class Numbers(Toy):
        task, label_names = "regression", ["score"]

    stats = dataset_stats(Numbers, {"kind": "numbers"}, ["train"])
    found = stats["train"]["labels"]
    score = {"mean": 3.0, "sd": (5 / 3) ** 0.5, "min": 1.5, "p50": 3.0, "max": 4.5}
    assert {k: found["score"][k] for k in score} == pytest.approx(score)
    assert found["score"]["p5"] == pytest.approx(1.65)  # 0.05 of three steps from the first
    assert found["(none)"] == 1
    print_stats("numbers", stats)
    assert "mean: 3.00" in capsys.readouterr().out
    assert example_label(Numbers("train"), Example("x", {}, {"score": 0.25})) == "score 0.25"
    unlabelled = dataset_stats(Numbers, {"kind": "none"}, ["test"])
    assert unlabelled["test"]["labels"] == {"(none)": 5}


def test_labels_in_words() -> None:
    toy = Toy("train")
    assert example_label(toy, toy[0]) == "a"
    assert example_label(toy, toy[4]) == "(none)"
    assert example_label(toy, Example("x", {}, np.array([0.25, 0.5]))) == "b, a"
    assert example_label(toy, Example("x", {}, np.zeros(2))) == "(no class)"


def test_sheet_without_pictures_has_a_card_per_example(tmp_path: Path) -> None:
    path = contact_sheet(Toy("train"), tmp_path / "new" / "sheet.png", rows=2, columns=3)
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    with Image.open(path) as image:
        step = sheet.WIDTH + sheet.GAP
        assert image.width == 3 * step + sheet.GAP
        card = (image.height - sheet.GAP) // 2
        middles = [(step * c + step // 2, card * r + 40) for r in (0, 1) for c in (0, 1, 2)]
        colours = [image.getpixel(middle) for middle in middles]
        assert colours.count((255, 255, 255)) == 5
        assert image.getpixel((2, 2)) == colours[-1]  # where a sixth card would be


def test_sheet_shows_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (10, 5), "red").save(tmp_path / "x.png")
    cards = [({"image": str(tmp_path / "x.png"), "text": "long " * 80}, "a")]
    kinds = {"image": "image", "text": "text"}
    path = sheet.draw_sheet(cards, kinds, ["a"], tmp_path / "sheet.png", columns=6)
    with Image.open(path) as image:
        assert image.width == sheet.WIDTH + 2 * sheet.GAP
        top = sheet.GAP + sheet.PAD
        assert image.getpixel((image.width // 2, top + sheet.PICTURE // 2)) == (255, 0, 0)
        assert image.getpixel((image.width // 2, top + 2)) == (255, 255, 255)


def test_sheet_shows_deep_grey_and_lays_what_is_clear_on_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 5), 257 * 64, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (5, 5), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    for name, colour in {"deep": (64, 64, 64), "clear": (255, 255, 255)}.items():
        cards = [({"image": str(tmp_path / f"{name}.png")}, "a")]
        target = tmp_path / "sheet.png"
        path = sheet.draw_sheet(cards, {"image": "image"}, ["a"], target, columns=1)
        with Image.open(path) as image:
            top = sheet.GAP + sheet.PAD
            assert image.getpixel((image.width // 2, top + sheet.PICTURE // 2)) == colour


def test_sheet_names_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("text")
    cards = [({"image": str(tmp_path / "x.png")}, "a")]
    with pytest.raises(DataError, match=r"cannot read the picture .*x\.png"):
        sheet.draw_sheet(cards, {"image": "image"}, ["a"], tmp_path / "sheet.png", columns=1)
    assert not (tmp_path / "sheet.png").exists()


def test_wrapping_fits_and_says_that_it_cut() -> None:
    lines = sheet._wrap("one two three four five six seven eight nine ten", 120, 3)
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    font = sheet._font(20)
    assert all(font.getlength(line) <= 120 for line in lines)
    assert sheet._wrap("one two", 400, 3) == ["one two"]
    assert sheet._wrap("x" * 200, 120, 3)[0].endswith("…")
