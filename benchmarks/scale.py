"""Memory and time per example as a data set grows, on synthetic examples and sparse files.

Five texts on each image; images lie in a sparse feature store, so that disks stay empty. Each size
is opened twice, in processes of their own: first everything is built, later it is only opened. The
later process is measured: it opens the data and gathers steps with the page cache warm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rows import Row

SIZES, FULL = (1_000, 10_000, 100_000), 1_000_000
STEPS, BATCH, SHARED = 50, 32, 5
REGIONS, DIM, VOCABULARY = 36, 256, 30_522


class Grown:
    """`n` examples: 8 to 47 token ids, all different, and the key of an image."""

    modalities: ClassVar[dict[str, Any]] = {"text": "array", "image": "text"}
    task = "single_label"
    label_names: ClassVar[list[str]] = ["a", "b", "c"]
    words = np.random.default_rng(0).integers(VOCABULARY, size=2048)

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        from msdkit.types import Example

        text = self.words[i % 1999 :][: 6 + i % 40]
        text = np.concatenate([[i % VOCABULARY, i // VOCABULARY], text])
        return Example(f"example-{i}", {"text": text, "image": f"image-{i // SHARED}"}, i % 3)


def write_store(path: Path, images: int) -> None:
    """A store of zeros of which nothing is written but the index."""
    from msdkit.store.format import DATA
    from msdkit.store.writer import FeatureStoreWriter

    class Sparse(FeatureStoreWriter):
        def _write(self, name: str, data: bytes) -> None:
            if name == DATA:
                file = self._files[name]
                file.truncate(os.fstat(file.fileno()).st_size + len(data))
            else:
                super()._write(name, data)

    zeros = np.zeros((REGIONS, DIM), np.float16)
    with Sparse(path, DIM, "fp16") as writer:
        for i in range(images):
            writer.add(f"image-{i}", zeros)


def anonymous_bytes() -> int:
    """The process's memory that belongs to no file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no RssAnon")


class Peak(threading.Thread):
    """The most anonymous memory seen, asked for every 5 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self._over = 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.005):
            self.bytes = max(self.bytes, anonymous_bytes())

    def stop(self) -> int:
        self._over.set()
        self.join()
        return max(self.bytes, anonymous_bytes())


def child(folder: Path, n: int) -> dict[str, float]:
    """Open `n` examples and gather steps of an epoch, twice the same: the second is timed."""
    from msdkit.config.schema import TrainConfig
    from msdkit.data.inputs import ModelInputs
    from msdkit.data.loader import Batches
    from msdkit.data.raw import RawSplit
    from msdkit.data.split import Split
    from msdkit.processors.array import Array, Features
    from msdkit.types import Modality

    peak, start = Peak(), time.perf_counter()
    raw = RawSplit(Grown(n), "train", "single_label")
    text = Array(Modality("tokens", VOCABULARY))
    image = Features(store=str(folder / f"store-{n}"))
    split = Split(ModelInputs(raw, {"text": text, "image": image}, folder / f"cache-{n}"))
    opened = time.perf_counter() - start
    batches = Batches(split, TrainConfig(batch_size=BATCH), 0)
    for _ in range(2):
        steps = batches.epoch(0)
        next(steps)  # draws the order of the epoch
        times = []
        for _ in range(min(STEPS, n // BATCH - 1)):
            start = time.perf_counter()
            next(steps)
            times.append(time.perf_counter() - start)
    return {"open": opened / n, "step": float(np.median(times)), "peak": peak.stop()}


def grown(folder: Path, n: int) -> dict[str, float]:
    """{what: seconds or bytes} of a later start with `n` examples; `first`: of the first one"""
    write_store(folder / f"store-{n}", -(-n // SHARED))
    first, later = (_in_process(folder, n) for _ in range(2))
    return {**later, "first": first["open"], "first peak": first["peak"]}


def _in_process(folder: Path, n: int) -> dict[str, float]:
    command = [sys.executable, __file__, str(folder), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(full: bool = False) -> list[Row]:
    """Every size against 1,000 examples."""
    sizes = (*SIZES, FULL) if full else SIZES
    with tempfile.TemporaryDirectory() as folder:
        found = {n: grown(Path(folder), n) for n in sizes}
    rows, small = [], found[SIZES[0]]
    for n in sizes[1:]:
        large, what = found[n], f"{n:,} examples / {SIZES[0]:,}"
        for name, key, scale, unit in (
            ("memory (anonymous, peak)", "peak", 1e-6, "MB"),
            ("first start, per example", "first", 1e6, "µs"),
            ("later start, per example", "open", 1e6, "µs"),
            ("gathering a step", "step", 1e3, "ms"),
        ):
            ours, base = scale * large[key], scale * small[key]
            rows.append(Row(f"{name}: {what}", ours, base, unit, "cost", 1.1))
    return rows


if __name__ == "__main__":
    print(json.dumps(child(Path(sys.argv[1]), int(sys.argv[2]))))
