"""Digests of pictures against reading them, and what they add to a later start.

python benchmarks/digests.py                  2,000 pictures of 60 kB
python benchmarks/digests.py --files 100000   6 GB, in a temporary folder

Reading is what any digest must do: the same files in the same tasks by as many threads, into one
buffer. Cold means that the system was asked to drop its copies of all files (posix_fadvise).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rows import Row, machine, report
from timing import Seconds, seconds_each

FILES, SIZE = 2_000, 60_000  # pictures, bytes of each
REPEATS, COLD = 5, 3  # of reading, from the page cache and the disk


def write_files(folder: Path, count: int) -> list[str]:
    """Files of random bytes, all different, on the disk."""
    folder.mkdir()
    block = np.random.default_rng(0).integers(256, size=SIZE, dtype=np.uint8)
    paths = [str(folder / f"{i:07}.jpg") for i in range(count)]
    for i, path in enumerate(paths):
        block[:8] = np.frombuffer(i.to_bytes(8, "little"), np.uint8)
        Path(path).write_bytes(block.tobytes())
    os.sync()
    return paths


def read(paths: Sequence[str]) -> None:
    """Read files one after the other."""
    buffer = bytearray(1 << 20)
    for path in paths:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            while file.readinto(buffer):
                pass


def read_all(paths: Sequence[str]) -> None:
    """Read files by as many threads as digests are made by."""
    from msdkit.io.digests import TASK, THREADS

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, [paths[i : i + TASK] for i in range(0, len(paths), TASK)]))


def digest_all(paths: Sequence[str], folder: Path) -> list[str]:
    """Their digests, in a cache that has none."""
    from msdkit.io import digests
    from msdkit.io.strings import chunks

    os.environ["MSDKIT_CACHE"] = tempfile.mkdtemp(dir=folder)
    return [found for part in chunks(paths) for found in digests.contents(part).digests]


def digest_by_processes(paths: Sequence[str]) -> None:
    """The same by processes in place of threads; nothing is kept."""
    from msdkit.io.digests import TASK, _read, state_of

    files = [(state_of(path), path) for path in paths]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_read, [files[i : i + TASK] for i in range(0, len(files), TASK)]))


def drop(paths: Sequence[str]) -> None:
    """Ask the system to forget what files hold."""
    for path in paths:
        with Path(path).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold(paths: Sequence[str], action: Callable[[], Any]) -> Callable[[], Seconds]:
    """The action on files that the system has dropped; dropping is not timed."""

    def run() -> Seconds:
        drop(paths)
        start = time.perf_counter()
        action()
        return Seconds(time.perf_counter() - start)

    return run


class Pictures:
    """`n` examples, each a picture; a list of paths is all that it reads."""

    modalities: ClassVar[dict[str, Any]] = {"image": "image"}
    task = "single_label"
    label_names: ClassVar[list[str]] = ["a", "b"]

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = f"{folder}/", n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        from msdkit.types import Example

        return Example(str(i), {"image": f"{self.folder}{i:07}.jpg"}, i % 2)


def child(folder: Path, n: int) -> dict[str, float]:
    """Open `n` examples and ask for their fingerprint, in seconds of the processor, of which one is
    busy; digests: the part that these take."""
    from msdkit.data.raw import RawSplit

    start = time.process_time()
    raw = RawSplit(Pictures(folder / "pictures", n), "train", "single_label")
    opened = time.process_time()
    assert raw.fingerprint
    return {"all": time.process_time() - start, "digests": time.process_time() - opened}


def later_start(folder: Path, n: int) -> dict[str, float]:
    """Medians over processes of their own; the first one builds the cache and does not count."""
    environment = {**os.environ, "MSDKIT_CACHE": str(folder / f"cache-{n}")}
    command = [sys.executable, __file__, "--child", str(folder), "--files", str(n)]
    time.sleep(2.1)  # files of the last two seconds are read once more
    found = []
    for _ in range(1 + REPEATS):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: float(np.median([one[key] for one in found[1:]])) for key in found[0]}


def measure(folder: Path, count: int = FILES) -> tuple[list[Row], list[str]]:
    """Rows of the table, and what was tried beside."""
    before = os.environ.get("MSDKIT_CACHE")
    paths = write_files(folder / "pictures", count)
    ours, base = lambda: digest_all(paths, folder), lambda: read_all(paths)
    warm = seconds_each(
        {"ours": ours, "base": base, "processes": lambda: digest_by_processes(paths)}, REPEATS, 1
    )
    dropped = seconds_each({"ours": cold(paths, ours), "base": cold(paths, base)}, COLD, 0)
    many, none = (later_start(folder, n) for n in (count, 1))
    if before is None:
        os.environ.pop("MSDKIT_CACHE", None)
    else:
        os.environ["MSDKIT_CACHE"] = before
    what, goal = f"{count:,} pictures of {SIZE // 1000} kB", count / 100_000
    return [
        Row(f"digests / reading, page cache: {what}", warm["ours"], warm["base"], "s", "cost", 2.5),
        Row(f"digests / reading, cold: {what}", dropped["ours"], dropped["base"], "s", "cost", 1.2),
        Row(
            f"digests of a later start, CPU: {count:,} pictures / 1",
            many["digests"],
            none["digests"],
            "s",
            "beyond",
            goal,
        ),
        Row(f"a later start, CPU: {count:,} pictures / 1", many["all"], none["all"], "s", "beyond"),
    ], [f"Digests by processes in place of threads, page cache: {warm['processes']:.3g} s."]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--folder", type=Path, help="where there is room; default: the system's")
    parser.add_argument("--child", type=Path)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(given.child, given.files)))
    else:
        with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
            found, notes = measure(Path(scratch), given.files)
        report(found, machine(), notes, None)
