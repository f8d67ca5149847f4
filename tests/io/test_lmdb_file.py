"""LMDBs as the library writes them come back; damage ends in a DataError, never in the process."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import lmdb
import pytest
from memory import asks_at_most

from msdkit.errors import DataError
from msdkit.io.lmdb_file import reading

SIZES = (0, 1, 20, 2000, 2038, 2040, 5000, 9000)  # within a page, at its border, in several


def drawn(count: int, seed: int = 0) -> dict[bytes, bytes]:
    draw = random.Random(seed)
    return {
        draw.randbytes(draw.randrange(1, 200)): draw.randbytes(draw.choice(SIZES))
        for _ in range(count)
    }


def write(path: Path, *steps: Mapping[bytes, bytes | None]) -> Path:
    """An LMDB written in several transactions; None deletes."""
    environment = lmdb.open(str(path), map_size=1 << 26, subdir=not path.suffix)
    for step in steps:
        with environment.begin(write=True) as transaction:
            for key, value in step.items():
                if value is None:
                    transaction.delete(key)
                else:
                    transaction.put(key, value)
    environment.close()
    return path


def read(path: Path, keys: list[bytes]) -> None:
    with reading(path) as database:
        for key in keys:
            database.get(key)


@pytest.mark.parametrize("count", [0, 1, 3, 2000])
@pytest.mark.parametrize("name", ["x.mdb", "folder"])
def test_what_the_library_writes_is_read(tmp_path: Path, count: int, name: str) -> None:
    records = drawn(count)
    gone = dict.fromkeys(list(records)[::3])
    path = write(tmp_path / name, records, gone, drawn(count // 10, seed=1))
    kept = {k: v for k, v in records.items() if k not in gone} | drawn(count // 10, seed=1)
    with reading(path) as database:
        assert all(database.get(key) == value for key, value in kept.items())
        assert all(database.get(key) is None for key in [*gone, b"none", b"", b"\xff" * 300])


def test_other_kinds_of_databases_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mdb", {b"key": b"x"})
    data = bytearray(path.read_bytes())
    for page in (0, 4096):
        data[page + 92] |= 4  # several values of a key
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.mdb: no readable LMDB: keys of numbers, or sev"):
        read(path, [])


def test_a_named_database_is_no_value(tmp_path: Path) -> None:
    environment = lmdb.open(str(tmp_path / "x.mdb"), subdir=False, max_dbs=1)
    environment.open_db(b"inner")
    environment.close()
    with reading(tmp_path / "x.mdb") as database, pytest.raises(DataError, match="a database, or"):
        database.get(b"inner")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut off in its head"),
        (b"nothing of use" * 100, "not the head of an LMDB of version 1"),
        (None, "cut off: 12288 bytes of"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = write(tmp_path / "x.mdb", drawn(100))
    path.write_bytes(path.read_bytes()[:12288] if content is None else content)
    with pytest.raises(DataError, match=rf"x\.mdb: no readable LMDB: {message}"), reading(path):
        pass


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    records = drawn(100)
    path = write(tmp_path / "x.mdb", records)
    with reading(path) as database:
        path.write_bytes(path.read_bytes()[:8192])
        with pytest.raises(DataError, match="cut off in page"):
            list(map(database.get, records))


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bits(tmp_path: Path, seed: int) -> None:
    """Half of them where pages say what they hold."""
    draw, records = random.Random(seed), drawn(60)
    path = write(tmp_path / "x.mdb", records)
    data = bytearray(path.read_bytes())
    for _ in range(40):
        place = draw.randrange(len(data))
        data[place - place % 4096 + draw.randrange(64) if draw.random() < 0.5 else place] ^= (
            1 << draw.randrange(8)
        )
    path.write_bytes(data)
    told = []
    with asks_at_most(1 << 22):
        for key in records:
            try:
                read(path, [key])
            except DataError as error:
                told.append(str(error))
    assert told
    assert "\n" not in "".join(told)
