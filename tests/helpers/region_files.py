"""Pictures with regions, written as MMF, ViLBERT, UNITER, MILVLG and bottom-up attention do."""

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
    """As MMF's extract_features_vmb.py: num_boxes counts what is above a threshold, not rows."""
    return {
        "bbox": pixels(boxes),
        "num_boxes": len(boxes) - 1,
        "objects": np.arange(len(boxes)),
        "cls_prob": np.full((len(boxes), 2), 0.5, np.float32),
        "image_width": WIDTH,
        "image_height": HEIGHT,
    }


def fill(path: Path, records: Mapping[bytes, bytes], subdir: bool = True) -> Path:
    path.parent.mkdir(exist_ok=True)
    env = lmdb.open(str(path), map_size=1 << 22, subdir=subdir)
    with env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    env.close()
    return path


def pickled(items: dict[bytes, Any]) -> dict[bytes, bytes]:
    """Both writers list the names, as bytes, under `keys`."""
    return {**{k: pickle.dumps(v) for k, v in items.items()}, b"keys": pickle.dumps(list(items))}


def mmf_records(found: Pictures) -> dict[bytes, bytes]:
    """MMF's lmdb_conversion.py, mode convert."""
    return pickled(
        {
            key.encode(): {"feature_path": key, "features": features, **info(boxes)}
            for key, (features, boxes) in found.items()
        }
    )


def write_mmf_lmdb(folder: Path, found: Pictures) -> Path:
    return fill(folder / "features.lmdb", mmf_records(found))


def write_vilbert_lmdb(folder: Path, found: Pictures) -> Path:
    """vilbert-multi-task's convert_to_lmdb.py, of the files of `write_vilbert`."""
    items = {}
    for key, (features, boxes) in found.items():
        about = info(boxes)
        items[key.encode()] = {
            "image_id": key,
            "image_h": about["image_height"],
            "image_w": about["image_width"],
            "num_boxes": about["num_boxes"],
            "boxes": about["bbox"],
            "features": features,
        }
    return fill(folder / "vilbert.lmdb", pickled(items))


def save(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    np.save(path, value)


def write_npy(folder: Path, found: Pictures) -> Path:
    """MMF's extract_features_vmb.py."""
    for key, (features, boxes) in found.items():
        save(folder / "npy" / f"{key}.npy", features)
        save(folder / "npy" / f"{key}_info.npy", info(boxes))
    return folder / "npy"


def six(boxes: np.ndarray) -> np.ndarray:
    """Boxes, widths and heights, all as shares: UNITER's norm_bb, the bbox of MMF's VinVL."""
    return np.concatenate([boxes, boxes[:, 2:] - boxes[:, :2]], 1)


def write_vinvl(folder: Path, found: Pictures) -> Path:
    """MMF's extract_features_vinvl.py; features end with the six numbers of the box."""
    for key, (features, boxes) in found.items():
        about = {
            "labels": np.arange(len(boxes)),
            "scores": np.linspace(1, 0.5, len(boxes), dtype=np.float32),
            "box_features": features,
            "bbox": six(boxes),
            "image_width": WIDTH,
            "image_height": HEIGHT,
        }
        save(folder / "vinvl" / f"{key}.npy", np.concatenate([features, six(boxes)], 1))
        save(folder / "vinvl" / f"{key}_info.npy", about)
    return folder / "vinvl"


def write_vilbert(folder: Path, found: Pictures) -> Path:
    """vilbert-multi-task's extract_features.py: a dictionary in each file."""
    for key, (features, boxes) in found.items():
        about = {**info(boxes), "image_id": key, "features": features}
        save(folder / "vilbert" / f"{key}.npy", about)
    return folder / "vilbert"


def milvlg(boxes: np.ndarray, **arrays: Any) -> dict[str, Any]:
    """bottom-up-attention.pytorch's save_roi_features."""
    about = {"image_id": "0", "image_h": HEIGHT, "image_w": WIDTH, "num_boxes": len(boxes)}
    size: dict[str, Any] = {"image_h": HEIGHT, "image_w": WIDTH}
    return {"bbox": pixels(boxes), "num_bbox": len(boxes), **size, "info": about, **arrays}


def write_npz(folder: Path, found: Pictures) -> Path:
    (folder / "npz").mkdir()
    for key, (features, boxes) in found.items():
        np.savez_compressed(folder / "npz" / key, **milvlg(boxes, x=features))
    return folder / "npz"


def write_gqa_npz(folder: Path, found: Pictures) -> Path:
    """openvqa's gqa_feat_preproc.py."""
    (folder / "gqa").mkdir()
    for key, (features, boxes) in found.items():
        arrays = {"x": features, "bbox": pixels(boxes), "width": WIDTH, "height": HEIGHT}
        np.savez(folder / "gqa" / f"{key}.npz", **arrays)
    return folder / "gqa"


def uniter_records(found: Pictures, compress: bool, sure: int | None = None) -> dict[bytes, bytes]:
    """UNITER's convert_imgdir.py, of what BUTD-UNITER-NLVR2's generate_npz.py writes.

    sure: so many regions of each picture have the score 0.9, the others UNITER's threshold, 0.2;
    without it scores fall from 1 to 0.
    """
    records = {}
    for key, (features, boxes) in found.items():
        scores = np.linspace(1, 0, len(boxes))
        if sure is not None:
            scores = np.where(np.arange(len(boxes)) < sure, 0.9, 0.2)
        arrays = {
            "norm_bb": six(boxes).astype(np.float16),
            "features": features.astype(np.float16),
            "conf": scores.astype(np.float16)[:, None],
            "soft_labels": np.full((len(boxes), 2), 0.5, np.float16),
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


def write_uniter(folder: Path, found: Pictures, name: str = "feat_numbb36") -> Path:
    (folder / "img").mkdir(exist_ok=True)
    compress = name.endswith("_compressed")
    return fill(folder / "img" / name, uniter_records(found, compress))


def write_uniter_npz(folder: Path, found: Pictures) -> Path:
    return write_uniter(folder, found, "feat_numbb36_compressed")


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
    (write_vilbert_lmdb, "mmf_lmdb"),
    (write_npy, "npy"),
    (write_vilbert, "npy"),
    (write_npz, "npz"),
    (write_gqa_npz, "npz"),
    (write_uniter, "uniter_lmdb"),
    (write_uniter_npz, "uniter_lmdb"),
    (write_tsv, "tsv"),
    (write_lxmert_tsv, "tsv"),
]
