"""A file's digest follows its content, whatever its size, times and place say."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_128

from msdkit.errors import DataError
from msdkit.io import digests
from msdkit.io.digests import content_digest, contents

EMPTY = "99aa06d3014798d86001c324468d497f"  # XXH3_128bits of nothing, in xxHash's own tests


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> list[str]:
    """The files that were read; those of a moment ago count as settled."""
    found: list[str] = []
    whole: Any = digests._read_one
    monkeypatch.setattr(digests, "_read_one", lambda *a: found.append(Path(a[0]).name) or whole(*a))
    monkeypatch.setattr(digests, "SETTLED", -(10**9))
    return found


def later_start() -> None:
    """What another process begins with: nothing but the files."""
    digests._index.cache_clear()


def write(folder: Path, *texts: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
        os.utime(path, ns=(10**18, 10**18))
    return list(map(str, paths))


def told(paths: list[str]) -> list[str]:
    return contents(paths).digests


def of(*texts: str) -> list[str]:
    return [xxh3_128(text.encode()).hexdigest() for text in texts]


def test_the_hash_is_xxh3_128(tmp_path: Path, own_cache: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(digests, "BUFFER", 4)
    (tmp_path / "empty").touch()
    (tmp_path / "long").write_bytes(b"of several buffers")
    assert content_digest(tmp_path / "empty") == EMPTY
    assert [content_digest(tmp_path / "long")] == of("of several buffers")


def test_what_has_not_changed_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    paths = write(tmp_path / "data", *"aba")
    assert told(paths) == told(paths) == of(*"aba")
    assert sorted(reads) == ["0.png", "1.png", "2.png"]
    later_start()
    assert told(paths) == of(*"aba")
    assert len(reads) == 3


@pytest.mark.parametrize("how", ["rename", "rewrite", "copy"])
def test_a_swap_that_keeps_size_and_time_is_told(
    tmp_path: Path, reads: list[str], how: str
) -> None:
    one, two = write(tmp_path / "data", "a", "b")
    assert told([one, two]) == of("a", "b")
    if how == "rename":
        os.rename(one, f"{one}.old")  # noqa: PTH104
        os.rename(two, one)  # noqa: PTH104
        os.rename(f"{one}.old", two)  # noqa: PTH104
    elif how == "rewrite":
        write(tmp_path / "data", "b", "a")
    else:
        swapped = write(tmp_path / "other", "b", "a")
        for source, target in zip(swapped, (one, two), strict=True):
            shutil.copy2(source, target)
    later_start()
    assert told([one, two]) == of("b", "a")


def test_a_place_is_no_part_of_a_file(tmp_path: Path, reads: list[str]) -> None:
    """Moved and linked folders are not even read; copies and hard links are, and are the same."""
    data = tmp_path / "data"
    write(data, "a", "b")
    assert told([f"{data}/0.png", f"{data}/1.png"]) == of("a", "b")
    (tmp_path / "link").symlink_to(data)
    assert told([f"{tmp_path}/link/0.png", f"{tmp_path}/link/1.png"]) == of("a", "b")
    data.rename(tmp_path / "moved")
    later_start()
    assert told([f"{tmp_path}/moved/0.png", f"{tmp_path}/moved/1.png"]) == of("a", "b")
    assert len(reads) == 2
    os.link(tmp_path / "moved" / "0.png", tmp_path / "hard.png")
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert told([f"{tmp_path}/hard.png", f"{tmp_path}/copy/1.png"]) == of("a", "b")


def test_a_file_of_this_moment_is_not_trusted(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git does it: where the clock of a disk is coarse, two contents have one state."""
    monkeypatch.setattr(digests, "_state", lambda of: f"{of.st_ino} {of.st_size}")
    (path,) = write(tmp_path / "data", "a")
    assert told([path]) == of("a")
    write(tmp_path / "data", "b")
    assert told([path]) == of("b")
    monkeypatch.setattr(digests, "SETTLED", -(10**9))
    assert told([path]) == of("b")
    write(tmp_path / "data", "c")
    assert told([path]) == of("b"), "what is settled is not read again"


@pytest.mark.parametrize("damage", [b"", b"x" * 16, b"x" * 48, None])
def test_a_damaged_index_is_built_anew(
    tmp_path: Path, own_cache: Path, reads: list[str], damage: bytes | None
) -> None:
    paths = write(tmp_path / "data", "a", "b")
    told(paths)
    index = own_cache / "digests" / digests.INDEX
    whole = index.read_bytes()
    index.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    later_start()
    assert told(paths) == of("a", "b")
    assert len(reads) == 4
    assert index.read_bytes() == whole
    assert [path.name for path in index.parent.iterdir()] == [index.name]


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSDKIT_CACHE", "/proc/none")  # not even root makes folders there
    assert told(write(tmp_path / "data", "a", "b")) == of("a", "b")


def test_what_several_processes_find_is_kept(tmp_path: Path, reads: list[str]) -> None:
    """Whoever writes last keeps what others wrote since it began."""
    one, two = (digests._Index(tmp_path / "x" / digests.INDEX) for _ in range(2))
    paths = write(tmp_path / "data", "a", "b", "c")
    one.contents(paths[:1], at_once=False)
    two.contents(paths[1:2])
    one.contents(paths[2:])
    third = digests._Index(tmp_path / "x" / digests.INDEX)
    assert third.contents(paths).digests == of("a", "b", "c")
    assert len(reads) == 3


def test_processes_share_the_reading(tmp_path: Path, reads: list[str], monkeypatch: Any) -> None:
    """Threads stand for processes: the locks are those of open files."""
    slow: Any = digests._read_one
    monkeypatch.setattr(digests, "_read_one", lambda *given: time.sleep(0.01) or slow(*given))
    paths = write(tmp_path / "data", *"abcdef")
    indices = [digests._Index(tmp_path / "x" / digests.INDEX) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda index: index.contents(paths), indices))
    assert [one.digests for one in found] == [of(*"abcdef")] * 3
    assert sorted(reads) == [f"{i}.png" for i in range(6)]


def test_what_cannot_be_read(tmp_path: Path, own_cache: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    odd = [str(tmp_path / "none"), str(tmp_path), str(tmp_path / "pipe"), "", "a\0b", "x" * 5000]
    assert told(odd) == [""] * len(odd)
    with pytest.raises(DataError, match=r"cannot read the file .*none: .*No such file"):
        content_digest(tmp_path / "none")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError, match=r"cannot read the file .*: it is no regular file"):
            content_digest(path)


def test_a_file_that_is_being_written_is_named(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write(tmp_path / "data", "a")
    states = iter(range(99))
    monkeypatch.setattr(digests, "_state", lambda of: f"state {next(states)}")
    with pytest.raises(DataError, match=r"0\.png is being written; start again when it is whole"):
        contents([path])
