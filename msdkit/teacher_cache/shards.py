"""The files of a teacher cache: shards that several processes write, and rows read from them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from msdkit.errors import DataError
from msdkit.io.files import VERIFIED_BELOW, whole
from msdkit.io.locks import claimed, until
from msdkit.progress import Advance, bar
from msdkit.teacher_cache.plan import Plan

PLAN = "plan.safetensors"
Tensors = dict[str, Tensor]
Arrays = dict[str, np.ndarray]


class Shards:
    """A folder with a plan and its shards, read through memory maps.

    Each file holds a checksum of each of its tensors. A shard is verified when it is first read, so
    opening takes no longer for a larger cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        arrays, self.about = read(folder / PLAN)
        self.plan = Plan(**arrays)
        self._open: dict[int, Arrays] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Shards, (self.folder,)  # a worker process maps the files itself

    def path(self, shard: int) -> Path:
        """Where a shard lies; the file is there when the shard is finished."""
        return self.folder / f"shard-{shard:05}.safetensors"

    @property
    def missing(self) -> list[int]:
        """The shards that are not finished."""
        there = {path.name for path in self.folder.glob("shard-*.safetensors")}
        return [s for s in range(len(self.plan.sizes)) if self.path(s).name not in there]

    def arrays(self, shard: int) -> Arrays:
        """{"VIEW/NAME": [entries, C or H]}; a view whose contents all stand elsewhere is absent."""
        if shard not in self._open:
            self._open[shard] = read(self.path(shard))[0]
        return self._open[shard]

    def verify_if_small(self) -> None:
        """Read a small cache once, so that damage is told before any work."""
        shards = range(len(self.plan.sizes))
        if sum(self.path(s).stat().st_size for s in shards) < VERIFIED_BELOW:
            for shard in shards:
                self.arrays(shard)

    def build(self, compute: Callable[[int, Advance], Tensors], what: str) -> None:
        """Write what is missing; return when all is there, whoever wrote it.

        Processes, also of several hosts on one disk, share the work: each takes the next shard that
        is neither finished nor claimed. What a dead process had claimed is free again.
        """
        left, sizes = self.missing, self.plan.sizes.tolist()
        done = sum(sizes) - sum(sizes[s] for s in left)
        with bar(sum(sizes), what, "example-views", done) as advance:

            def built() -> bool:
                nonlocal left
                before = None
                while left != before:  # others finish some while we work
                    before = left
                    left = [s for s in left if not self._finished(s, compute, advance)]
                return not left

            others = "other processes work on the last {} shards; waiting for them"
            until(built, lambda: f"{what}: {others.format(len(left))}")

    def _finished(
        self, shard: int, compute: Callable[[int, Advance], Tensors], advance: Advance
    ) -> bool:
        """Whether a shard is there, by our work or another's."""
        path = self.path(shard)
        with claimed(path) as ours:
            if ours:
                write(path, compute(shard, advance), {})
            elif path.exists():
                advance(int(self.plan.sizes[shard]))
            return path.exists()


@dataclass(frozen=True, eq=False)
class Rows:
    """The teacher's answers to one view, `[N, C or H]`; `rows[index]` reads those asked for.

    The index is what a tensor takes: a slice (`[:]` reads all), a number or a tensor of numbers.
    """

    shards: Shards
    name: str
    view: str

    def __len__(self) -> int:
        return self.shards.plan.entries.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self._first.shape[1]

    def __getitem__(self, index: Any) -> Tensor:
        """index -> float32 [C or H] or [B, C or H]"""
        asked = torch.from_numpy(self._of_view(self.shards.plan.entries))[index]
        entries, bounds = asked.reshape(-1).numpy(), self._of_view(self.shards.plan.bounds)
        shards = bounds.searchsorted(entries, side="right") - 1
        rows, numbers, first = entries - bounds[shards], shards.tolist(), self._first
        answers = np.empty((len(entries), *first.shape[1:]), first.dtype)
        values = {shard: self._values(shard) for shard in set(numbers)}
        # Row by row: a batch is scattered over the shards
        for place, (shard, row) in enumerate(zip(numbers, rows.tolist(), strict=True)):
            answers[place] = values[shard][row]
        return torch.from_numpy(answers).float().view(*asked.shape, *first.shape[1:])

    def _of_view(self, table: np.ndarray) -> np.ndarray:
        return table[self.shards.about["views"].index(self.view)]

    def _values(self, shard: int) -> np.ndarray:
        return self.shards.arrays(shard)[key(self.view, self.name)]

    @property
    def _first(self) -> np.ndarray:
        """The first shard that holds any."""
        bounds = self._of_view(self.shards.plan.bounds)
        return self._values(int(bounds.searchsorted(0, side="right")) - 1)


def key(view: str, name: str) -> str:
    """The name of a tensor in a shard."""
    return f"{view}/{name}"


def prepare(folder: Path, make: Callable[[], Plan], about: Mapping[str, Any]) -> Shards:
    """A folder with its plan, which one process makes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLAN

    def planned() -> bool:
        with claimed(path) as ours:
            if ours:
                write(path, {n: torch.from_numpy(x) for n, x in vars(make()).items()}, about)
            return path.exists()

    until(planned)
    return Shards(folder)


def write(path: Path, tensors: Tensors, about: Mapping[str, Any]) -> None:
    """Write a file with checksums, which appears when it is whole; its claim must be ours."""
    header = json.dumps({**about, "crc32": {n: crc(values) for n, values in tensors.items()}})
    text = f"{header} {zlib.crc32(header.encode())}"
    with whole(path) as partial:
        save_file(tensors, partial, metadata={"about": text})


def read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Memory-mapped arrays, verified, and what the file says about them."""
    try:
        with safe_open(path, "pt") as file:
            header, check = file.metadata()["about"].rsplit(" ", 1)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(header)
        found = {name: crc(values) for name, values in tensors.items()}
        right = check == str(zlib.crc32(header.encode())) and found == about["crc32"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    if not right:
        raise _damaged(path, "checksum")
    return {name: values.numpy() for name, values in tensors.items()}, about


def crc(values: Tensor) -> int:
    """A checksum of a contiguous tensor's bytes."""
    return zlib.crc32(values.view(torch.uint8).numpy())  # type: ignore[arg-type]


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"teacher cache {path} is damaged ({reason}); delete it")
