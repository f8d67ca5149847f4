"""Region features as others publish them: what readers share, folders of files and TSV files."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from msdkit.errors import DataError
from msdkit.features.description import (
    BOXES,
    FEATURES,
    SCORES,
    SHARES,
    SIDES,
    Detected,
    Selection,
    as_shares,
    checked,
    described,
)
from msdkit.io.npy import load_npy, load_npz
from msdkit.io.pickles import words

LARGEST = 1 << 28  # bytes of one record
MEGABYTE = 1 << 20


class Entry(NamedTuple):
    """A key, how far its record reaches in its source, and the function that reads the record."""

    key: str
    position: int
    load: Callable[[], Detected]


class Source(ABC):
    """Features of many pictures; each is read when its `load` is called.

    unit: what `total` and positions count. selection: which regions the format's own loader takes.
    """

    unit: ClassVar[str] = "pictures"

    def __init__(self, path: Path) -> None:
        self.path, self.selection = path, Selection()

    @property
    @abstractmethod
    def total(self) -> int:
        """Where the last record ends."""

    @abstractmethod
    def __iter__(self) -> Iterator[Entry]: ...


class _Folder(Source):
    """A file a picture, in sub-folders or not. A key is a file's path without `suffix`."""

    suffix: ClassVar[str]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.files = sorted(path.rglob(f"*{self.suffix}"))

    @property
    def total(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Entry]:
        for i, file in enumerate(self.files, start=1):
            key = file.relative_to(self.path).as_posix().removesuffix(self.suffix)
            yield Entry(key, i, lambda file=file: self._load(file))  # type: ignore[misc]

    @abstractmethod
    def _load(self, file: Path) -> Detected: ...


class NpyFolder(_Folder):
    """MMF's `.npy` files: `[L, D]`, or a grid `[H, W, D]` or `[1, H, W, D]`; or a dictionary that
    holds it, as ViLBERT's extractor writes (facebookresearch/vilbert-multi-task f22b84a,
    script/extract_features.py).

    Beside a file, or not, `NAME_info.npy` with bbox, image_width and image_height: pixels (MMF's
    extract_features_vmb.py) or shares (extract_features_vinvl.py). `NAME_full.npy`, which
    extract_features_frcnn.py writes to draw pictures, is passed over.
    """

    suffix = ".npy"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        names = set(self.files)
        self.files = [file for file in self.files if not _beside(file, names)]

    def _load(self, file: Path) -> Detected:
        about, info = {"features": load_npy(file)}, file.with_name(f"{file.stem}_info.npy")
        if info.is_file():
            said = load_npy(info)
            if said.size != 1 or not isinstance(said.item(), dict):
                raise DataError(
                    f"{info}: expected a dictionary with bbox, image_width, image_height"
                )
            about = {**said.item(), **about}
        return described(str(file), about)


def _beside(file: Path, files: set[Path]) -> bool:
    """Whether a file says more of the picture that another one holds."""
    drawn = file.stem.endswith("_full") and file.with_name(f"{file.stem.removesuffix('_full')}.npy")
    return file.stem.endswith("_info") or drawn in files


class NpzFolder(_Folder):
    """MILVLG's `.npz` files: x `[L, D]`, bbox (pixels), num_bbox, image_w, image_h
    (MILVLG/bottom-up-attention.pytorch 4dbce86, utils/extract_utils.py); width and height in
    openvqa's for GQA (MILVLG/openvqa f8f9966, data/gqa/gqa_feat_preproc.py).

    The files that mcan-vqa and openvqa read for VQA hold x as `[D, L]`, told by the number of
    boxes. Those of UNITER's extractor hold features, norm_bb and conf.
    """

    suffix = ".npz"

    def _load(self, file: Path) -> Detected:
        try:
            arrays: dict[str, Any] = load_npz(file.read_bytes(), NAMES)
        except Exception as error:  # each layer of the format has errors of its own
            raise DataError(f"{file}: not a readable .npz file: {words(error)}") from error
        x, boxes = arrays.get("x"), arrays.get("bbox")
        count = arrays.get("num_bbox") if boxes is None else len(np.atleast_1d(boxes))
        if x is not None and x.ndim == 2 and len(x) != count == x.shape[1]:
            arrays["x"] = x.T
        return described(str(file), arrays)


NAMES = ("num_bbox", *FEATURES, *BOXES, SHARES, SCORES, *chain.from_iterable(SIDES))


class Tsv(Source):
    """Bottom-up attention's TSV: image_id, image_w, image_h, num_boxes, boxes, features (Anderson
    et al., arXiv 1707.07998); or LXMERT's ten columns, img_id, img_h, img_w, objects_id, …

    Boxes and features are base64 of float32. A key is the image_id.
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
        if self.path.is_dir():
            raise DataError(f"{self.path}: a folder; accepted as tsv: a file")
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


def _decoded(row: list[bytes], where: str) -> Detected:
    try:
        width, height, count = float(row[1]), float(row[2]), int(row[3])
        boxes, features = (
            np.frombuffer(base64.b64decode(cell, validate=True), "<f4").reshape(count, -1)
            for cell in row[4:]
        )
    except ValueError as error:
        raise DataError(f"{where}: damaged or cut off: {words(error)}") from error
    return checked(where, features, as_shares(where, boxes, width, height))


def as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
