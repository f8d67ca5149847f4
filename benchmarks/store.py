"""Random batches from a feature store, against memcpy and an LMDB of pickles; page cache warm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from baselines import PicklesInLmdb, copy_bytes
from rows import Row
from timing import seconds_each

from msdkit.store.store import FeatureStore
from msdkit.store.writer import FeatureStoreWriter

RECORDS, BATCH, REGIONS, DIM, REPEATS = 1000, 32, 36, 2048, 100


def measure(folder: Path) -> list[Row]:
    """Batches of 32 records of 36 regions, fp32."""
    draw = np.random.default_rng(0)
    records = {
        f"image {i}": draw.normal(size=(REGIONS, DIM)).astype(np.float32) for i in range(RECORDS)
    }
    with FeatureStoreWriter(folder / "store", DIM, "fp32") as writer:
        for key, record in records.items():
            writer.add(key, record)
    store, pickles = FeatureStore(folder / "store"), PicklesInLmdb(folder / "lmdb", records)
    keys = list(records)
    source = np.ones((BATCH, REGIONS, DIM), np.float32)
    target = np.empty_like(source)

    def random_rows() -> np.ndarray:
        return draw.integers(RECORDS, size=BATCH)

    seconds = seconds_each(
        {
            "store": lambda: store.gather(random_rows()),
            "memcpy": lambda: copy_bytes(source, target),
            "lmdb": lambda: pickles.gather([keys[i] for i in random_rows()]),
        },
        REPEATS,
    )
    rate = {name: source.nbytes / 1e9 / s for name, s in seconds.items()}
    ours, lmdb = 1e3 * seconds["store"], 1e3 * seconds["lmdb"]
    return [
        Row("feature store / memcpy", rate["store"], rate["memcpy"], "GB/s", "share", 0.8),
        Row("feature store / LMDB of pickles", ours, lmdb, "ms", "speedup", 5),
    ]
