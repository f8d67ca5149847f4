"""Region features in the formats of MMF, UNITER and bottom-up attention, and damaged ones."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from msdkit import feature_sources
from msdkit.errors import ConfigError, DataError
from msdkit.feature_import import SOURCES, detect, import_features
from msdkit.feature_shards import Shard
from msdkit.feature_store import FeatureStore
from msdkit.features_cli import app
from msdkit.plain_pickle import load_npy, load_plain
from msdkit.processors.regions import Regions as RegionsProcessor

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


def _cell(array: np.ndarray) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def write_tsv(folder: Path, found: Pictures) -> Path:
    lines = [
        [key, WIDTH, HEIGHT, len(boxes), _cell(pixels(boxes)), _cell(features)]
        for key, (features, boxes) in found.items()
    ]
    return write_cells(folder / "trainval_36.tsv", lines)


def write_lxmert_tsv(folder: Path, found: Pictures) -> Path:
    lines = []
    for key, (features, boxes) in found.items():
        other = [_cell(np.zeros(len(boxes)))] * 4
        ends = [len(boxes), _cell(pixels(boxes)), _cell(features)]
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


@pytest.mark.parametrize(("write", "format"), WRITERS)
def test_each_format_gives_the_same_store(
    tmp_path: Path, write: Callable[[Path, Pictures], Path], format: str
) -> None:
    source = write(tmp_path, pictures())
    assert detect(source) == format
    found = import_features(source, tmp_path / "store")
    assert (found.pictures, found.regions, found.dim, found.boxes) == (3, 9, DIM, True)
    store = FeatureStore(tmp_path / "store")
    assert store.keys() == list(pictures())
    for key, (features, boxes) in pictures().items():
        assert store[key].tolist() == features.tolist()
        assert np.allclose(store.boxes(key), boxes, atol=1e-6)


def test_boxes_become_the_geometry_of_uniter(tmp_path: Path) -> None:
    import_features(write_uniter(tmp_path, pictures()), tmp_path / "store")
    row = RegionsProcessor(store=str(tmp_path / "store"))(next(iter(pictures())))[0]
    assert row[DIM:].tolist() == [0, 0.25, 0.5, 0.75, 0.5, 0.5, 0.25]


def test_an_lmdb_in_a_single_file(tmp_path: Path) -> None:
    source = fill(tmp_path / "features.lmdb", mmf_records(pictures()), subdir=False)
    assert source.is_file()
    assert import_features(source, tmp_path / "store").pictures == 3


def test_options_and_features_without_boxes(tmp_path: Path) -> None:
    (tmp_path / "grids" / "a").mkdir(parents=True)
    np.save(tmp_path / "grids" / "a" / "1.npy", np.ones((1, 2, 3, DIM), np.float32))
    np.save(tmp_path / "grids" / "a" / "2.npy", np.ones((2, 2, DIM), np.float64))
    found = import_features(
        tmp_path / "grids", tmp_path / "store", format="npy", dtype="fp32", max_regions=5
    )
    store = FeatureStore(tmp_path / "store")
    assert str(found) == "2 pictures, 9 regions of width 4, without boxes"
    assert (store.dtype, store.keys(), store.lengths.tolist()) == ("fp32", ["a/1", "a/2"], [5, 4])


def test_an_interrupted_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, calls = write_tsv(tmp_path, pictures()), []
    decode = feature_sources._decoded

    def interrupted(row: list[bytes], where: str) -> Any:
        calls.append(row[0])
        if len(calls) == 3:  # the first is read once to tell width and boxes
            raise KeyboardInterrupt
        return decode(row, where)

    monkeypatch.setattr(feature_sources, "_decoded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_features(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert import_features(source, tmp_path / "store").pictures == 3
    first, second, third = (key.encode() for key in pictures())
    assert calls == [first, first, second, first, second, third]
    with pytest.raises(DataError, match="store exists; delete it"):
        import_features(source, tmp_path / "store")


def test_repeated_keys_are_counted(tmp_path: Path) -> None:
    source = write_tsv(tmp_path, pictures())
    source.write_bytes(source.read_bytes() * 2)
    found = import_features(source, tmp_path / "store")
    assert (found.pictures, found.repeated) == (3, 3)
    assert "3 repeated keys left out" in str(found)


def test_command(tmp_path: Path) -> None:
    source, store = write_tsv(tmp_path, pictures()), tmp_path / "store"
    given = ["import", str(source), "--to", str(store), "--format", "tsv", "--max-regions", "2"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0
    assert "3 pictures, 6 regions of width 4, with boxes" in result.stdout


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


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.testing\nrundocs\n)R.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x02P1\n.",
        b"\x80\x04Nr\xff\xff\xff\xffh\x01.",  # would make the usual one take all memory
        b"\x80\x04\x95",
        b"",
        b"(lp0\nI1\na.garbage"[:5],
        pickle.dumps(np.ones(3))[:-20],
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
    ],
)
def test_pickles_of_anything_else_and_damaged_ones(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^here: ") as error:
        load_plain(data, "here")
    assert "\n" not in str(error.value)


FORGED = b"cnumpy.core.numeric\n_frombuffer\n(c_codecs\nencode\n(S'AAAAAAAA'\ntRcnumpy\ndtype\n"
FORGED += b"(S'%s'\nI0\nI1\ntR(I3\nS'|'\n%s"


@pytest.mark.parametrize(
    "data",
    [
        FORGED % (b"O", b"NNNI-1\nI-1\nI0\ntb(I1\ntS'C'\ntR."),
        FORGED
        % (b"V8", b"N(S'f'\nt(dS'f'\n(cnumpy\ndtype\n(S'O'\ntRI0\ntsI8\nI1\nI0\ntb(I1\ntS'C'\ntR."),
        b"ccollections\nOrderedDict\n)R(dS'x'\nI1\nsb.",
        b"c_codecs\nencode\nN(dS'__defaults__'\n(S'x'\nts\x86b.",
    ],
)
def test_states_that_would_forge_objects(data: bytes) -> None:
    """A dtype that denies to hold objects would make addresses of the file's own bytes."""
    with pytest.raises(DataError, match=r"^here: not a readable pickle"):
        load_plain(data, "here")


def test_a_pickle_leaves_the_types_of_numpy_alone() -> None:
    data = b"cnumpy\ndtype\n(S'f4'\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb."
    assert load_plain(data, "here") == np.dtype(">f4")
    assert np.dtype("f4").byteorder == "="


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_come_back(protocol: int) -> None:
    value = {
        "array": np.arange(6, dtype=np.float16).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "texts": np.array(["a", "bc"]),
        "objects": np.array([{"x": 1}, None], dtype=object),
        "number": np.float32(1.5),
        "plain": [1, 2.5, "x", b"\xff", None, True, (1, 2), {3}, frozenset({4}), 1j],
    }
    found = load_plain(pickle.dumps(value, protocol), "here")
    for name in ("array", "fortran", "texts", "objects"):
        expected: Any = value[name]
        assert found[name].dtype == expected.dtype
        assert found[name].tolist() == expected.tolist()
    assert found["number"] == value["number"]
    assert found["plain"] == value["plain"]


def test_a_pickle_of_python_2() -> None:
    data = b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\n"
    data += b"tp4\nRp5\n(I1\n(I2\ntp6\ncnumpy\ndtype\np7\n(S'f4'\np8\nI0\nI1\ntp9\nRp10\n(I3\n"
    data += b"S'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00@'\np13\n"
    assert load_plain(data + b"tp14\nb.", "here").tolist() == [1, 2]


def test_npy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3))
    assert load_npy(tmp_path / "x.npy").tolist() == [0, 1, 2]
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"x\.npy: not a readable \.npy file"):
        load_npy(tmp_path / "x.npy")


def edited(records: dict[bytes, bytes], key: bytes, value: Any) -> dict[bytes, bytes]:
    return {**records, key: value}


KEY = next(iter(pictures())).encode()
ROW = [KEY.decode(), WIDTH, HEIGHT, 2, _cell(np.zeros((2, 4))), _cell(np.ones((2, DIM)))]
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
    (mmf(features=np.ones(3)), "features float64 [2]; expected floats [L, D]"),
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


def test_damaged_lmdbs(tmp_path: Path) -> None:
    records = mmf_records(pictures())
    del records[KEY]
    with pytest.raises(DataError, match="is listed but not there"):
        import_features(fill(tmp_path / "less.lmdb", records), tmp_path / "store")
    many = {**records, **{str(i).encode(): b"x" * 5000 for i in range(20)}}
    data = fill(tmp_path / "cut.lmdb", many) / "data.mdb"
    data.write_bytes(data.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"cut\.lmdb: cut off: 20000 bytes of"):
        import_features(data.parent, tmp_path / "store")
    data.write_bytes(b"nothing of use")
    with pytest.raises(DataError, match=r"cut\.lmdb: no readable LMDB"):
        import_features(data.parent, tmp_path / "store")
    with pytest.raises(DataError, match=r"an LMDB without 'keys' \(MMF\)"):
        detect(fill(tmp_path / "other.lmdb", {b"x": b"y"}))
    bad = {**uniter_records(pictures(), False), b"__keys__": b"{"}
    with pytest.raises(DataError, match="entry '__keys__': expected a json list"):
        import_features(fill(tmp_path / "names", bad), tmp_path / "store")


def test_unknown_sources(tmp_path: Path) -> None:
    write_uniter(tmp_path, pictures())
    with pytest.raises(DataError, match=r"did you mean .*feat_numbb36\?"):
        detect(tmp_path / "img")
    with pytest.raises(DataError, match="does not exist"):
        import_features(tmp_path / "none", tmp_path / "store")
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(DataError, match="set the format to force one"):
        detect(tmp_path / "x.bin")
    with pytest.raises(ConfigError, match=r"unknown format 'ts'\. Did you mean 'tsv'\?"):
        import_features(tmp_path / "x.bin", tmp_path / "store", format="ts")
    assert set(SOURCES) == {"mmf_lmdb", "npy", "tsv", "uniter_lmdb"}


def test_shards_make_the_same_store(tmp_path: Path) -> None:
    """Whichever order they are built in; a call that comes again does no harm."""
    source = write_uniter(tmp_path, pictures())
    import_features(source, tmp_path / "whole")
    found = [
        import_features(source, tmp_path / "parts", shard=Shard.parse(text)).pictures
        for text in ("2/2", "1/2", "1/2")
    ]
    assert found[0] + found[1] == 3
    assert found[1] == found[2]
    whole, parts = FeatureStore(tmp_path / "whole"), FeatureStore(tmp_path / "parts")
    parts.verify()
    assert sorted(parts) == sorted(whole)
    for key in whole:
        np.testing.assert_array_equal(parts[key], whole[key])
        np.testing.assert_array_equal(parts.boxes(key), whole.boxes(key))
