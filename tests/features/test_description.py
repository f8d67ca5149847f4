"""What others say of a picture's regions: lengths, padding, units, sizes, and what is half said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from region_files import DIM, HEIGHT, WIDTH, info, pictures, pixels, save, six, write_vinvl

from msdkit.errors import DataError
from msdkit.features.description import described
from msdkit.features.importing import import_features
from msdkit.store.store import FeatureStore

FIVE = np.arange(1, 5 * DIM + 1, dtype=np.float32).reshape(5, DIM)
BOXES = np.array([[0, 0.25, 0.5, 0.75]] * 5, np.float32)


def rows(features: np.ndarray, **about: Any) -> int:
    return len(described("f", {"features": features, **about}).regions.features)


@pytest.mark.parametrize("count", [3, 0, 5, 3.0, np.int64(3), np.array(3), np.array([3.0]), None])
def test_the_number_of_sure_detections_is_no_length(count: Any) -> None:
    """MMF's models read all rows, whatever is above the threshold of its extractor."""
    assert rows(FIVE, num_boxes=count) == 5
    detected = described("f", {"features": FIVE, **info(BOXES), "num_boxes": count})
    assert detected.regions.boxes is not None
    assert detected.regions.boxes.tolist() == BOXES.tolist()


def test_zeros_are_padding_at_the_end_alone() -> None:
    padded = np.concatenate([FIVE[:3], np.zeros((1, DIM)), FIVE[3:], np.zeros((2, DIM))])
    for boxes in (BOXES[[0] * 6], BOXES[[0] * 8]):  # what is said of padding goes with it
        about = {"features": padded, **info(boxes), "num_boxes": 2}
        features, kept = described("f", about).regions
        assert features.tolist() == padded[:6].tolist()
        assert kept is not None
        assert len(kept) == 6
    assert rows(np.zeros((4, DIM))) == 1  # a picture of which nothing is known stays one
    grid = np.concatenate([np.ones((2, 1, 3, DIM)), np.zeros((2, 1, 3, DIM))], 1)
    assert rows(grid[0]) == 6  # of a grid each cell is a place


def test_vinvl_writes_shares_beside_the_size_in_pixels(tmp_path: Path) -> None:
    """By hand: 0.5 stays 0.5; read as pixels it would be 0.5 / 200."""
    import_features(write_vinvl(tmp_path, pictures()), tmp_path / "store", dtype="fp32")
    store = FeatureStore(tmp_path / "store")
    assert store.dim == DIM + 6
    for key, (features, boxes) in pictures().items():
        assert store[key].tolist() == np.concatenate([features, six(boxes)], 1).tolist()
        assert store.boxes(key).tolist() == boxes.tolist()


SAME: list[dict[str, Any]] = [
    {"bbox": pixels(BOXES), "image_width": WIDTH, "image_height": HEIGHT},
    {"bbox": BOXES, "image_width": WIDTH, "image_height": HEIGHT},
    {"bbox": BOXES},
    {"bbox": BOXES, "image_width": None, "image_height": None},
    {"bbox": BOXES, "image_width": 1, "image_height": 1},
    {"norm_bb": six(BOXES)},
    {"bbox": pixels(BOXES).tolist(), "image_width": "200", "image_height": "100.0"},
    {"bbox": pixels(BOXES).astype(np.int64), "image_w": np.array(200), "image_h": np.float32(100)},
    {"boxes": list(pixels(BOXES)), "width": np.array([200]), "height": np.array("100")},
    {"bbox": np.array(pixels(BOXES).tolist(), object), "image_w": 200, "image_h": 100},
    {"bbox": None, "boxes": pixels(BOXES), "image_width": None, "width": 200, "height": 100},
    {"info": {"bbox": pixels(BOXES), "image_w": 200, "image_h": 100}},
]


@pytest.mark.parametrize("about", SAME)
def test_ways_to_say_the_same_boxes(about: dict[str, Any]) -> None:
    boxes = described("f", {"features": FIVE, **about}).regions.boxes
    assert boxes is not None
    np.testing.assert_allclose(boxes, BOXES, atol=1e-7)


def test_boxes_may_reach_over_the_border_by_a_pixel() -> None:
    for box in ([-1, 0, 200.9, 101], [-1 / 200, 0, 1.004, 1.01]):
        about = {"bbox": [box], "image_width": WIDTH, "image_height": HEIGHT}
        boxes = described("f", {"features": FIVE[:1], **about}).regions.boxes
        assert boxes is not None
        assert boxes.tolist() == [[0, 0, 1, 1]]


SIZED = {"image_width": WIDTH, "image_height": HEIGHT}
HALF: list[tuple[dict[str, Any], str]] = [
    ({"bbox": pixels(BOXES)}, "boxes [5, 4] in a picture of unknown x unknown; expected [L, 4]"),
    ({"bbox": pixels(BOXES), "image_width": 200}, "in a picture of 200 x unknown"),
    ({"bbox": BOXES, "image_height": 100}, "in a picture of unknown x 100"),
    ({"bbox": BOXES, **SIZED, "image_width": 0}, "in a picture of 0 x 100"),
    ({"bbox": BOXES, **SIZED, "image_width": "inf"}, "in a picture of inf x 100"),
    ({"bbox": BOXES, **SIZED, "image_width": "200 px"}, "image_width '200 px'; expected a number"),
    ({"bbox": BOXES, **SIZED, "image_width": True}, "image_width True; expected a number"),
    ({"bbox": BOXES, **SIZED, "image_height": [1, 2]}, "image_height [1, 2]; expected a number"),
    ({"bbox": [[0, 0, 1], [1]], **SIZED}, "boxes [[0, 0, 1], [1]]; expected x1, y1, x2, y2 in pix"),
    ({"bbox": np.array([["x"] * 4] * 5), **SIZED}, "boxes array([['x', 'x', 'x', 'x'], ['x', 'x'"),
    ({"bbox": BOXES[None], **SIZED}, "boxes [1, 5, 4] in a picture of 200 x 100"),
    ({"bbox": [], **SIZED}, "boxes [0] in a picture of 200 x 100"),
    ({"bbox": "none", **SIZED}, "boxes 'none'; expected x1, y1, x2, y2 in pixels"),
    ({"bbox": BOXES[:4], **SIZED}, "boxes [4, 4] of 5 regions"),
    ({"bbox": BOXES[[0] * 6], **SIZED}, "boxes [6, 4] of 5 regions"),
    ({"bbox": BOXES * np.nan, **SIZED}, "boxes lie outside of the picture"),
    ({"bbox": BOXES * 1.8, **SIZED}, "(as shares they run from 0 to 1.35); expected x1, y1"),
    ({"bbox": [[150, 20, 50, 30]] * 5, **SIZED}, "or have x2 < x1 or y2 < y1"),  # x, y, w, h
    ({"conf": [0.5] * 4}, "scores [4] of 5 regions"),
    ({"conf": np.ones((5, 2))}, "scores [10] of 5 regions"),
    ({"conf": "sure"}, "conf 'sure'; expected a number for each region"),
    ({"conf": [[0.5], [1, 2]]}, "conf [[0.5], [1, 2]]; expected a number for each region"),
]


@pytest.mark.parametrize(("about", "message"), HALF)
def test_a_description_that_is_half_readable_is_an_error(
    tmp_path: Path, about: dict[str, Any], message: str
) -> None:
    save(tmp_path / "npy" / "1.npy", FIVE)
    save(tmp_path / "npy" / "1_info.npy", about)
    with pytest.raises(DataError) as error:
        import_features(tmp_path / "npy", tmp_path / "store")
    assert str(error.value).startswith(f"{tmp_path / 'npy' / '1.npy'}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_scores_go_with_their_regions() -> None:
    """One for each row, with or without those of the padding, and for each place of a grid."""
    padded, sure = np.concatenate([FIVE, np.zeros((2, DIM))]), np.linspace(1, 0.4, 7)
    for scores in (sure, sure[:, None], sure[:5], sure.tolist(), sure.astype(np.float16)):
        kept = described("f", {"features": padded, "conf": scores}).scores
        assert kept is not None
        assert kept.tolist() == np.ravel(scores)[:5].tolist()
    grid = described("f", {"features": np.ones((1, 2, 3, DIM)), "conf": sure[:6]})
    assert grid.scores is not None
    assert len(grid.scores) == 6


def test_a_description_without_boxes_is_complete() -> None:
    for about in ({}, {"num_boxes": 3}, SIZED, {**SIZED, "bbox": None}):
        assert described("f", {"features": FIVE, **about}).regions.boxes is None


NAMED: list[dict[str, Any]] = [
    {"features": FIVE, "image_id": "0"},
    {"image_feat": FIVE, "image_text": ["a"]},
    {"feature": FIVE, "info": {"image_text": ["a"]}},
    {"image_feature": FIVE, "image_bboxes": BOXES},
]


@pytest.mark.parametrize("about", NAMED)
def test_a_file_of_numpy_may_hold_a_dictionary(tmp_path: Path, about: dict[str, Any]) -> None:
    """The names that MMF's feature_readers.py knows; and what its LMDBs make of such files."""
    save(tmp_path / "npy" / "0.npy", about)
    import_features(tmp_path / "npy", tmp_path / "store")
    assert FeatureStore(tmp_path / "store")["0"].tolist() == FIVE.tolist()
    entry = {"feature_path": "0", "features": np.array(about, object), "bbox": None}
    assert described("f", entry).regions.features.tolist() == FIVE.tolist()


def test_a_dictionary_without_features_is_named() -> None:
    with pytest.raises(DataError, match=r"f: expected a dictionary with `features`, .* holds bbox"):
        described("f", {"bbox": BOXES})
    with pytest.raises(DataError, match=r"f: features object \[\]; expected floats \[L, D\]"):
        described("f", {"features": np.array(None, object), "conf": [0.5]})
