"""Raw examples as the page shows them: texts, small pictures, the shape of all else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.data.raw import RawSplit
from msdkit.errors import DataError
from msdkit.io.pictures import open_picture

SIDE = 96  # pixels of the longer side
QUALITY = 50  # WebP's: 0.8 KB for an emoji, about 2 KB for a photograph
DECODERS = 4  # threads; PIL decodes without the interpreter's lock

Shown = str | int  # a text, or the place of a picture


class Pictures:
    """The thumbnails of a page, each kept once however often it is shown."""

    def __init__(self) -> None:
        self.data: list[str] = []  # WebP in base64
        self._places: dict[str, int] = {}

    def show(self, raws: Sequence[Any]) -> list[Shown]:
        """What to show of each value of a modality that is no text."""
        paths = list(dict.fromkeys(str(raw) for raw in raws if isinstance(raw, str | Path)))
        with ThreadPoolExecutor(DECODERS) as pool:
            for path, data in zip(paths, pool.map(thumbnail, paths), strict=True):
                if data is not None and path not in self._places:
                    self._places[path] = len(self.data)
                    self.data.append(data)
        return [self._places.get(str(raw), described(raw)) for raw in raws]


def inputs(raw: RawSplit, rows: Sequence[int], pictures: Pictures) -> dict[str, list[Shown]]:
    """{modality: what to show of it for each row}"""
    kinds, shown = raw.dataset.modalities, dict[str, list[Shown]]()
    for modality in raw.modalities:
        values = [raw.raw(row, modality) for row in rows]
        text = kinds[modality] == "text"
        shown[modality] = [str(v) for v in values] if text else pictures.show(values)
    return shown


def thumbnail(path: str) -> str | None:
    """A small WebP in base64; None where the path is no picture's."""
    try:
        picture = open_picture(path)
    except DataError:
        return None
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")


def described(raw: Any) -> str:
    """The name of a file or a key; the type and shape of an array, such as `float32, 12 × 40`."""
    if isinstance(raw, str | Path):
        return Path(raw).name
    array = np.asarray(raw)
    return f"{array.dtype}, {' × '.join(map(str, array.shape))}"
