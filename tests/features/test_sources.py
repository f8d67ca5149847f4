"""Damaged and hostile files of region features end with one line that names the place."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from region_files import (
    DIM,
    HEIGHT,
    WIDTH,
    cell,
    fill,
    info,
    mmf_records,
    pictures,
    pixels,
    uniter_records,
    write_cells,
    write_npy,
)

from msdkit.errors import DataError
from msdkit.features.importing import detect, import_features

KEY = next(iter(pictures())).encode()
ROW = [KEY.decode(), WIDTH, HEIGHT, 2, cell(np.zeros((2, 4))), cell(np.ones((2, DIM)))]
BOXES = np.array([[0, 0, 1, 1]] * 2, np.float32)


def mmf(**changes: Any) -> Callable[[Path], Path]:
    """An LMDB whose first item is changed; a value of None leaves it out."""

    def write(folder: Path) -> Path:
        item = {"features": np.ones((2, DIM), np.float32), **info(BOXES), **changes}
        records = {KEY: pickle.dumps(item), b"keys": pickle.dumps([KEY])}
        return fill(folder / "x.lmdb", records)

    return write


def uniter(data: bytes) -> Callable[[Path], Path]:
    names = json.dumps([f"{KEY.decode()}.npz"]).encode()
    return lambda folder: fill(folder / "x", {KEY + b".npz": data, b"__keys__": names})


def tsv(*changes: tuple[int, Any]) -> Callable[[Path], Path]:
    row = [dict(changes).get(i, cell) for i, cell in enumerate(ROW)]
    return lambda folder: write_cells(folder / "x.tsv", [row])


def _npz_of(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


DAMAGED: list[tuple[Callable[[Path], Path], str]] = [
    (mmf(features=[1]), "x.lmdb, entry 'COCO_val2014_000000000000': expected a dictionary with"),
    (mmf(features=np.ones(3)), "features float64 [3]; expected floats [L, D]"),
    (mmf(features=np.ones((2, 3), int)), "features int64 [2, 3]; expected floats [L, D]"),
    (
        mmf(features=np.full((2, DIM), np.nan)),
        "entry 'COCO_val2014_000000000000': features hold NaN or infinity",
    ),
    (mmf(bbox=pixels(BOXES)[:1]), "boxes [1, 4] of 2 regions"),
    (mmf(bbox=pixels(BOXES) * 2), "boxes lie outside of the picture"),
    (mmf(bbox=pixels(BOXES)[:, ::-1]), "x2 < x1"),
    (mmf(bbox=np.ones((2, 3))), "boxes [2, 3] in a picture of 200 x 100"),
    (mmf(image_width=0), "in a picture of 0 x 100"),
    (uniter(b"\xc1"), "x, entry 'COCO_val2014_000000000000.npz': damaged"),
    (uniter(b"PK\x03\x04 and no more"), "damaged: File is not a zip file"),
    (uniter(msgspec.msgpack.encode({"norm_bb": 1})), "has no 'features', only norm_bb"),
    (uniter(_npz_of(features=np.array([Path()]), norm_bb=BOXES)), "Object arrays cannot be loaded"),
    (tsv((5, "!!")), "x.tsv:1: damaged or cut off"),
    (tsv((5, ROW[5][:-3])), "x.tsv:1: damaged or cut off"),
    (tsv((3, 3)), "x.tsv:1: damaged or cut off"),
    (tsv((3, "many")), "x.tsv:1: damaged or cut off: invalid literal"),
    (tsv((1, "nan")), "in a picture of nan x 100"),
    (lambda f: write_cells(f / "x.tsv", [ROW[:4]]), "x.tsv:1: 4 columns in "),
    (lambda f: write_cells(f / "x.tsv", []), "x.tsv: holds no features"),
]


@pytest.mark.parametrize(("write", "message"), DAMAGED)
def test_damaged_records_are_named(
    tmp_path: Path, write: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(DataError) as error:
        import_features(write(tmp_path), tmp_path / "store")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "store").exists()


class Hostile:
    """Unpickled by the usual means, it would make a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_hostile_pickles_are_refused(tmp_path: Path) -> None:
    made, one_line = tmp_path / "made", r"asks for 'posix\.mkdir' and was refused; only numpy"
    records = mmf_records(pictures())
    key = next(iter(records))
    evil = {**records, key: pickle.dumps({"features": Hostile(made)})}
    with pytest.raises(DataError, match=one_line) as error:
        import_features(fill(tmp_path / "a.lmdb", evil), tmp_path / "store")
    assert f"a.lmdb, entry '{key.decode()}'" in str(error.value)
    assert "\n" not in str(error.value)
    evil = {**records, b"keys": pickle.dumps([Hostile(made)])}
    with pytest.raises(DataError, match=one_line):
        import_features(fill(tmp_path / "b.lmdb", evil), tmp_path / "store")
    folder = write_npy(tmp_path, pictures())
    about: Any = {"bbox": Hostile(made)}
    np.save(folder / f"{key.decode()}_info.npy", about)
    with pytest.raises(DataError, match=one_line):
        import_features(folder, tmp_path / "store")
    assert not made.exists()


def test_damaged_lmdbs(tmp_path: Path) -> None:
    records = mmf_records(pictures())
    del records[KEY]
    with pytest.raises(DataError, match="is listed but not there"):
        import_features(fill(tmp_path / "less.lmdb", records), tmp_path / "store")
    many = {**records, **{str(i).encode(): b"x" * 5000 for i in range(20)}}
    data = fill(tmp_path / "cut.lmdb", many) / "data.mdb"
    data.write_bytes(data.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"cut\.lmdb: no readable LMDB: cut off: 20000 bytes of"):
        import_features(data.parent, tmp_path / "store")
    data.write_bytes(b"nothing of use")
    with pytest.raises(DataError, match=r"cut\.lmdb: no readable LMDB"):
        import_features(data.parent, tmp_path / "store")
    with pytest.raises(DataError, match=r"an LMDB without 'keys' \(MMF\)"):
        detect(fill(tmp_path / "other.lmdb", {b"x": b"y"}))
    bad = {**uniter_records(pictures(), False), b"__keys__": b"{"}
    with pytest.raises(DataError, match="entry '__keys__': expected a json list"):
        import_features(fill(tmp_path / "names", bad), tmp_path / "store")
