"""Pictures with regions, written in the formats of MMF, UNITER and bottom-up attention."""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import numpy as np

WIDTH, HEIGHT, DIM = 200, 100, 4
Pictures = dict[str, tuple[np.ndarray, np.ndarray]]  # features [L, D], boxes [L, 4] as shares


def pictures() -> Pictures:
    """Two to four regions each; all numbers are exact in half precision."""
    found = {}
    for i, count in enumerate((2, 4, 3)):
        features = np.arange(count * DIM, dtype=np.float32).reshape(count, DIM) + i / 4
        boxes = np.array([[0, 0.25, 0.5, 0.75], [0.25, 0, 1, 1]] * 2, np.float32)[:count]
        found[f"COCO_val2014_{i:012d}"] = (features, boxes)
    return found


def pixels(boxes: np.ndarray) -> np.ndarray:
    return boxes * np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)


def info(boxes: np.ndarray) -> dict[str, Any]:
    """What MMF's extractors say of a picture."""
    return {
        "bbox": pixels(boxes),
        "num_boxes": len(boxes),
        "objects": np.arange(len(boxes)),
        "cls_prob": None,
        "image_width": WIDTH,
        "image_height": np.int64(HEIGHT),
    }


def fill(path: Path, records: Mapping[bytes, bytes], subdir: bool = True) -> Path:
    env = lmdb.open(str(path), map_size=1 << 22, subdir=subdir)
    with env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    env.close()
    return path


def mmf_records(found: Pictures) -> dict[bytes, bytes]:
    items = {
        key.encode(): {"feature_path": key, "features": features, **info(boxes)}
        for key, (features, boxes) in found.items()
    }
    return {**{k: pickle.dumps(v) for k, v in items.items()}, b"keys": pickle.dumps(list(items))}


def write_mmf_lmdb(folder: Path, found: Pictures) -> Path:
    return fill(folder / "features.lmdb", mmf_records(found))


def write_npy(folder: Path, found: Pictures) -> Path:
    (folder / "npy").mkdir(exist_ok=True)
    for key, (features, boxes) in found.items():
        padding = np.zeros((2, DIM), np.float32)
        np.save(folder / "npy" / f"{key}.npy", np.concatenate([features, padding]))
        about: Any = info(boxes)
        np.save(folder / "npy" / f"{key}_info.npy", about)
    return folder / "npy"


def uniter_records(found: Pictures, compress: bool) -> dict[bytes, bytes]:
    """norm_bb: the box, width and height, all as shares."""
    records = {}
    for key, (features, boxes) in found.items():
        norm = np.concatenate([boxes, boxes[:, 2:] - boxes[:, :2]], 1)
        arrays = {
            "norm_bb": norm.astype(np.float16),
            "features": features.astype(np.float16),
            "conf": np.linspace(1, 0.5, len(boxes), dtype=np.float16),
        }
        if compress:
            file = io.BytesIO()
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            records[f"{key}.npz".encode()] = file.getvalue()
        else:
            packed = {name: _numpy_map(array) for name, array in arrays.items()}
            records[f"{key}.npz".encode()] = msgspec.msgpack.encode(packed)
    records[b"__keys__"] = json.dumps([name.decode() for name in records]).encode()
    return records


def _numpy_map(array: np.ndarray) -> dict[bytes, Any]:
    """As msgpack-numpy writes an array."""
    form = {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": list(array.shape)}
    return {**form, b"data": array.tobytes()}


def write_uniter(folder: Path, found: Pictures) -> Path:
    (folder / "img").mkdir(exist_ok=True)
    return fill(folder / "img" / "feat_numbb36", uniter_records(found, False))


def write_uniter_npz(folder: Path, found: Pictures) -> Path:
    return fill(folder / "feat_compressed", uniter_records(found, True))


def cell(array: np.ndarray) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def write_tsv(folder: Path, found: Pictures) -> Path:
    lines = [
        [key, WIDTH, HEIGHT, len(boxes), cell(pixels(boxes)), cell(features)]
        for key, (features, boxes) in found.items()
    ]
    return write_cells(folder / "trainval_36.tsv", lines)


def write_lxmert_tsv(folder: Path, found: Pictures) -> Path:
    lines = []
    for key, (features, boxes) in found.items():
        other = [cell(np.zeros(len(boxes)))] * 4
        ends = [len(boxes), cell(pixels(boxes)), cell(features)]
        lines.append([key, HEIGHT, WIDTH, *other, *ends])
    return write_cells(folder / "val2014_obj36.tsv", lines)


def write_cells(path: Path, lines: list[list[Any]]) -> Path:
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path


WRITERS: list[tuple[Callable[[Path, Pictures], Path], str]] = [
    (write_mmf_lmdb, "mmf_lmdb"),
    (write_npy, "npy"),
    (write_uniter, "uniter_lmdb"),
    (write_uniter_npz, "uniter_lmdb"),
    (write_tsv, "tsv"),
    (write_lxmert_tsv, "tsv"),
]
