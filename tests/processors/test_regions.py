"""Regions: stored features with the geometry of their boxes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from msdkit.data.inputs import processed_store
from msdkit.errors import DataError
from msdkit.processors.regions import Regions
from msdkit.store.writer import FeatureStoreWriter
from msdkit.testing.data import check_processor
from msdkit.types import Modality

BOXES = {
    "a": [[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 0.75]],
    "b": [[0.5, 0.0, 0.5, 1.0]],
}
# By hand: x1, y1, x2, y2, width, height, width * height
GEOMETRY = {
    "a": [[0, 0, 1, 1, 1, 1, 1], [0.25, 0.5, 0.75, 0.75, 0.5, 0.25, 0.125]],
    "b": [[0.5, 0, 0.5, 1, 0, 1, 0]],
}


def store(folder, boxes=BOXES, dtype="fp16"):
    with FeatureStoreWriter(folder / "store", 3, dtype, boxes=boxes is not None) as writer:
        for number, key in enumerate(BOXES):
            rows = np.full((len(BOXES[key]), 3), number + 1, np.float32)
            writer.add(key, rows, None if boxes is None else np.array(boxes[key], np.float32))
    return str(folder / "store")


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_rows_end_with_the_geometry(tmp_path, dtype):
    regions = Regions(store=store(tmp_path, dtype=dtype))
    assert regions.modality == Modality("features", 10)
    for number, key in enumerate(BOXES):
        rows = regions(key)
        assert rows.dtype == np.float32
        assert (rows[:, :3] == number + 1).all()
        np.testing.assert_allclose(rows[:, 3:], GEOMETRY[key])
    check_processor(regions, ["a", "b"])


def test_batches_are_read_where_the_store_lies(tmp_path):
    regions = Regions(store=store(tmp_path))
    held = processed_store(None, "image", regions, [], tmp_path)
    assert held is regions.store
    values, mask = held.gather(held.rows(["b", "a", "b"]))
    assert mask.tolist() == [[True, False], [True, True], [True, False]]
    np.testing.assert_allclose(values[1], regions("a"))
    np.testing.assert_allclose(values[2, :1], regions("b"))
    assert not values[0, 1].any()
    again = pickle.loads(pickle.dumps(held))
    np.testing.assert_allclose(again.gather(np.array([0]))[0][0], regions("a"))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (None, "holds no boxes"),
        ({**BOXES, "b": [[0, 0, 640, 480]]}, "boxes run from 0 to 640; accepted: .* shares"),
        ({**BOXES, "b": [[0.5, 0.2, 0.4, 0.9]]}, r"box 2 is \[0\.5, .*; accepted: .*x1 <= x2"),
    ],
)
def test_stores_that_cannot_work_are_refused(tmp_path, boxes, message):
    with pytest.raises(DataError, match=message):
        _ = Regions(store=store(tmp_path, boxes)).modality


def test_paths_stand_for_their_stems(tmp_path):
    regions = Regions(store=store(tmp_path))
    for path in ("img/a.png", tmp_path / "a.jpg"):
        assert regions.key(path) == "a"
        np.testing.assert_array_equal(regions(path), regions("a"))
    with pytest.raises(DataError, match=r"has no key 'img/c\.png'"):
        regions("img/c.png")
