"""Region features as others publish them: what readers share, `.npy` folders and TSV files."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from msdkit.errors import DataError
from msdkit.io.pickles import load_npy

LARGEST = 1 << 28  # bytes of one record, unpacked
MEGABYTE = 1 << 20


class Regions(NamedTuple):
    """One picture: features `[L, D]`; boxes `[L, 4]`, x1, y1, x2, y2 as shares of the picture's
    sides, or None."""

    features: np.ndarray
    boxes: np.ndarray | None = None


class Entry(NamedTuple):
    """A key, how far its record reaches in its source, and the function that reads the record."""

    key: str
    position: int
    load: Callable[[], Regions]


class Source(ABC):
    """Features of many pictures; each is read when its `load` is called.

    unit: what `total` and positions count.
    """

    unit: ClassVar[str] = "pictures"

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def total(self) -> int:
        """Where the last record ends."""

    @abstractmethod
    def __iter__(self) -> Iterator[Entry]: ...


class NpyFolder(Source):
    """A `.npy` file a picture, `[L, D]` or a grid `[H, W, D]` or `[1, H, W, D]`, and beside it, or
    not, `NAME_info.npy` with bbox (pixels), image_width and image_height: MMF's extractors.

    A key is the file's path in the folder, without its suffix.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        found = sorted(path.rglob("*.npy"))
        self.files = [file for file in found if not file.stem.endswith("_info")]

    @property
    def total(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Entry]:
        for i, file in enumerate(self.files, start=1):
            key = file.relative_to(self.path).with_suffix("").as_posix()
            yield Entry(key, i, lambda file=file: self._load(file))  # type: ignore[misc]

    def _load(self, file: Path) -> Regions:
        features, info = load_npy(file), file.with_name(f"{file.stem}_info.npy")
        if not info.is_file():
            return described(str(file), features, {})
        about = load_npy(info)
        if about.shape != () or not isinstance(about.item(), dict):
            raise DataError(f"{info}: expected a dictionary with bbox, image_width, image_height")
        return described(str(file), features, about.item())


class Tsv(Source):
    """Bottom-up attention's TSV: image_id, image_w, image_h, num_boxes, boxes, features (Anderson
    et al., arXiv 1707.07998); or LXMERT's ten columns, img_id, img_h, img_w, objects_id, …

    Boxes (pixels) and features are base64 of float32. A key is the image_id.
    """

    unit = "MB"
    COLUMNS: ClassVar[dict[int, tuple[int, ...]]] = {
        6: (0, 1, 2, 3, 4, 5),  # places of id, width, height, number, boxes and features
        10: (0, 2, 1, 7, 8, 9),
    }

    @property
    def total(self) -> int:
        return self.path.stat().st_size // MEGABYTE

    def __iter__(self) -> Iterator[Entry]:
        position, number = 0, 0
        with self.path.open("rb") as file:
            while line := file.readline(LARGEST):
                number, position = number + 1, position + len(line)
                where = f"{self.path}:{number}"
                if not line.strip():
                    continue
                cells = line.rstrip(b"\r\n").split(b"\t")
                if len(cells) not in self.COLUMNS or len(line) == LARGEST:
                    found = f"{len(cells)} columns in {len(line)} bytes"
                    raise DataError(f"{where}: {found}; expected 6, or LXMERT's 10, tabs between")
                row = [cells[place] for place in self.COLUMNS[len(cells)]]
                yield Entry(
                    as_text(row[0]),
                    position // MEGABYTE,
                    lambda row=row, where=where: _decoded(row, where),  # type: ignore[misc]
                )


def _decoded(row: list[bytes], where: str) -> Regions:
    try:
        width, height, count = float(row[1]), float(row[2]), int(row[3])
        boxes, features = (
            np.frombuffer(base64.b64decode(cell, validate=True), "<f4").reshape(count, -1)
            for cell in row[4:]
        )
    except ValueError as error:
        raise DataError(f"{where}: damaged or cut off: {words(error)}") from error
    return checked(where, features, _shares(where, boxes, width, height))


def described(where: str, features: np.ndarray, about: Mapping[str, Any]) -> Regions:
    """With the boxes of MMF's descriptions, where they are complete; padding is cut off."""
    if features.ndim == 4 and len(features) == 1:
        features = features[0]
    if features.ndim == 3:  # a grid
        features = features.reshape(-1, features.shape[-1])
    count, boxes = about.get("num_boxes"), about.get("bbox")
    if isinstance(count, int | np.integer) and 0 < count < len(features):
        features = features[:count]
    width, height = about.get("image_width"), about.get("image_height")
    numbers = int | float | np.number
    if not (
        isinstance(boxes, np.ndarray) and isinstance(width, numbers) and isinstance(height, numbers)
    ):
        return checked(where, features, None)
    shares = _shares(where, boxes[: len(features)], float(width), float(height))
    return checked(where, features, shares)


def _shares(where: str, boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """Pixels -> shares; a box may reach over the border by a pixel."""
    if boxes.ndim != 2 or boxes.shape[1] < 4 or not (width > 0 and height > 0):
        form = f"boxes {list(boxes.shape)} in a picture of {width:g} x {height:g}"
        raise DataError(f"{where}: {form}; expected [L, 4] in pixels, and its size")
    sides = np.array([width, height, width, height], np.float32)
    beyond = (boxes[:, :4] < -1).any() or (boxes[:, :4] > sides + 1).any()
    shares = boxes[:, :4].astype(np.float32) / sides
    return shares if beyond else shares.clip(0, 1)


def checked(where: str, features: np.ndarray, boxes: np.ndarray | None) -> Regions:
    if features.ndim != 2 or features.dtype.kind != "f" or not features.size:
        form = f"{features.dtype} {list(features.shape)}"
        raise DataError(f"{where}: features {form}; expected floats [L, D]")
    if not np.isfinite(features).all():
        raise DataError(f"{where}: features hold NaN or infinity")
    if boxes is None:
        return Regions(features)
    boxes = boxes.astype(np.float32)
    if boxes.shape != (len(features), 4):
        raise DataError(f"{where}: boxes {list(boxes.shape)} of {len(features)} regions")
    # NaN fails this too; 1e-3: rounding in half precision
    if not (
        boxes.min() >= -1e-3 and boxes.max() <= 1 + 1e-3 and (boxes[:, :2] <= boxes[:, 2:]).all()
    ):
        raise DataError(f"{where}: boxes lie outside of the picture or have x2 < x1 or y2 < y1")
    return Regions(features, boxes.clip(0, 1))


def as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
