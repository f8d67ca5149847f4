"""Features of pictures by a detector and by a grid: keys, boxes, batches, resuming, weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou
from typer.testing import CliRunner

from msdkit.cli.features import app
from msdkit.errors import ConfigError, DataError
from msdkit.features.description import Regions
from msdkit.features.extraction import (
    DETECTOR,
    Boxes,
    Extractor,
    Grid,
    build_extractor,
    extract_features,
    pictures_of,
    pixels,
)
from msdkit.processors.regions import Regions as RegionsProcessor
from msdkit.store.shards import Shard
from msdkit.store.store import FeatureStore

TIMM = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of different sides, one of them in a folder of its own."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "more").mkdir()
    draw = np.random.default_rng(0)
    for name, side in {"b.png": (60, 40), "a.jpg": (40, 60), "more/c.png": (50, 50)}.items():
        pixels = draw.integers(0, 255, (*side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def detector() -> Boxes:
    return Boxes("random", size=32, min_regions=4, max_regions=6, min_score=0.5)


class Counting(Extractor):
    """One row a picture, its width and height; stops after so many batches."""

    dim, boxes = 2, False

    def __init__(self, batches: int = 99) -> None:
        self.left, self.seen = batches, []  # type: ignore[var-annotated]

    def __call__(self, paths: Sequence[Path]) -> list[Regions]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.seen += [path.name for path in paths]
        return [Regions(np.array([_size(path)], np.float32)) for path in paths]


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_detected_regions(images: Path, detector: Boxes, tmp_path: Path) -> None:
    found = extract_features(images, tmp_path / "store", detector, batch_size=2)
    assert (found.pictures, found.dim, found.boxes) == (3, 1024, True)
    store = FeatureStore(tmp_path / "store")
    assert store.keys() == ["a", "b", "more/c"]
    assert store.lengths.tolist() == [4, 4, 4]  # random weights are sure of nothing: the least
    assert store["a"].std() > 0
    RegionsProcessor(store=str(tmp_path / "store"))("a")  # which checks the boxes


def test_regions_are_the_surest_that_overlap_little(detector: Boxes) -> None:
    boxes = torch.tensor(
        [[0, 0, 10, 10], [0, 0, 10, 9], [0, 10, 20, 40], [5, 5, 9, 9], [0, 0, 1, 1]]
    )
    chances = torch.tensor([[0.9, 0.1], [0.8, 0.1], [0.1, 0.95], [0.7, 0.0], [0.3, 0.6]])
    states = torch.arange(5.0)[:, None]
    found = detector._surest(boxes.float(), states, chances, (40, 20))
    assert found.features[:, 0].tolist() == [2, 0, 3, 4]  # 1 hides behind 0
    assert found.boxes is not None
    assert found.boxes[0].tolist() == [0, 0.25, 1, 1]
    assert box_iou(boxes[:1].float(), boxes[1:2].float()).item() == pytest.approx(0.9)


def test_a_batch_gives_what_single_pictures_give(images: Path, detector: Boxes) -> None:
    paths = [images / "more" / "c.png", images / "more" / "c.png"]
    together, alone = detector(paths), detector(paths[:1])
    assert np.allclose(together[1].features, alone[0].features, atol=1e-4)


def test_weights_from_a_file(images: Path, detector: Boxes, tmp_path: Path) -> None:
    torch.save(detector.model.state_dict(), tmp_path / "weights.pth")
    loaded = Boxes(str(tmp_path / "weights.pth"), size=32, min_regions=4, max_regions=6)
    one, other = (d([images / "a.jpg"])[0].features for d in (detector, loaded))
    assert np.array_equal(one[:4], other[:4])
    (tmp_path / "weights.pth").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"weights\.pth: no state_dict of fasterrcnn") as error:
        Boxes(str(tmp_path / "weights.pth"))
    assert "\n" not in str(error.value)


def test_pictures_are_opened_as_everywhere(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.array([[0, 257 * 64]], np.uint16))
    deep.save(tmp_path / "deep.tif", exif=exif)
    (tmp_path / "folder.png").mkdir()
    found = pictures_of(tmp_path)
    assert list(found) == ["clear", "deep"]
    assert (pixels(found["clear"]) == 1).all()
    assert (pixels(found["deep"])[0] * 255).tolist() == [[0], [64]]


def test_grid_of_a_timm_backbone(images: Path, tmp_path: Path) -> None:
    grid = build_extractor(TIMM, "random", size=64, batch_size=2)
    assert isinstance(grid, Grid)
    found = extract_features(images, tmp_path / "store", grid, batch_size=2)
    assert (found.pictures, found.regions, found.boxes) == (3, 12, False)  # 64 / 32 squared each
    again = build_extractor(TIMM, "random", size=64)([images / "a.jpg"])[0].features
    assert np.allclose(FeatureStore(tmp_path / "store")["a"], again, atol=1e-3)


def test_an_interrupted_extraction_goes_on(images: Path, tmp_path: Path) -> None:
    first, second = Counting(batches=1), Counting()
    with pytest.raises(KeyboardInterrupt):
        extract_features(images, tmp_path / "store", first, batch_size=2)
    assert not (tmp_path / "store").exists()
    extract_features(images, tmp_path / "store", second, batch_size=2)
    assert (first.seen, second.seen) == (["a.jpg", "b.png"], ["c.png"])
    assert FeatureStore(tmp_path / "store")["a"].tolist() == [[60, 40]]


def test_shards_make_the_same_store(images: Path, tmp_path: Path) -> None:
    """Each picture is seen by one of the processes, wherever it stopped before."""
    extractors = [Counting(batches=1), Counting(), Counting()]
    for text, extractor in zip(("1/2", "1/2", "2/2"), extractors, strict=True):
        with suppress(KeyboardInterrupt):
            shard = Shard.parse(text)
            extract_features(images, tmp_path / "store", extractor, batch_size=1, shard=shard)
    assert sorted(name for e in extractors for name in e.seen) == ["a.jpg", "b.png", "c.png"]
    store = FeatureStore(tmp_path / "store")
    assert {key: store[key].tolist() for key in store} == {
        "a": [[60, 40]],
        "b": [[40, 60]],
        "more/c": [[50, 50]],
    }


def test_mistakes(images: Path, tmp_path: Path, detector: Boxes) -> None:
    with pytest.raises(ConfigError, match="needs `weights`, a local state_dict"):
        build_extractor(DETECTOR)
    with pytest.raises(ConfigError, match="device 'gpu9' cannot be used here"):
        build_extractor(TIMM, "random", "gpu9")
    with pytest.raises(ConfigError, match="unknown timm model 'mobilenetv9'"):
        extract_features(images, tmp_path / "s", build_extractor("mobilenetv9", "random"))
    with pytest.raises(DataError, match="holds no picture"):
        extract_features(tmp_path, tmp_path / "store", detector)
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot read the picture .*x\.png"):
        extract_features(tmp_path, tmp_path / "store", detector)
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="would have the same key 'x'"):
        extract_features(tmp_path, tmp_path / "store", detector)


def test_command(images: Path, tmp_path: Path) -> None:
    given = ["--to", str(tmp_path / "store"), "--backbone", TIMM, "--weights", "random"]
    result = CliRunner().invoke(app, ["extract", str(images), *given, "--size", "32"])
    assert result.exit_code == 0
    assert "3 pictures, 3 regions of width 288, without boxes" in result.stdout
