"""Building the teacher cache: needed FLOP/s against the matmul peak, and what shared images save.

python benchmarks/teacher_cache.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from flops import needed_flops
from rows import Row, machine, report
from timing import Shape, matmul_rates, seconds_each
from workload import CLASSES, Drawn, Workload

from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.processors.array import Array
from msdkit.teacher_cache.cache import CPU_TOKENS, cached_answers
from msdkit.types import Example, default_views

EXAMPLES, QUESTIONS, REPEATS = 96, 5, 3
SQUARE: Shape = (2048, 2048, 2048)


class Images:
    """Drawn examples as a data set; `share` that follow one another have one image."""

    task: ClassVar[str] = "single_label"
    label_names: ClassVar[list[str]] = [str(i) for i in range(CLASSES)]

    def __init__(self, workload: Workload, share: int) -> None:
        self.modalities = workload.modalities
        drawn = workload.examples(EXAMPLES)
        self.examples = [
            x._replace(regions=drawn[i - i % share].regions) for i, x in enumerate(drawn)
        ]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        words, regions, label = self.examples[index]
        return Example(str(index), {"text": words, "image": regions}, label)


class Build:
    """A teacher's answers to all views of a data set, computed into a fresh cache each time."""

    def __init__(self, workload: Workload, teacher: Any, folder: Path, share: int = 1) -> None:
        self.workload, self.teacher, self.folder = workload, teacher, folder
        self.data, self.share = Images(workload, share), share
        raw = RawSplit(self.data, "train", "single_label")
        processors = {m: Array(modality) for m, modality in workload.modalities.items()}
        self.inputs = ModelInputs(raw, processors, folder)
        self.views = default_views(workload.modalities)

    def __call__(self) -> None:
        """One build."""
        with tempfile.TemporaryDirectory(dir=self.folder) as fresh:
            size = self.workload.batch
            options: dict[str, Any] = {"nodes": {}, "folder": Path(fresh), "batch_size": size}
            cached_answers(self.teacher, self.inputs, self.views, **options)

    @property
    def example_views(self) -> int:
        """How many there are, those that repeat included."""
        return len(self.views) * len(self.data)

    def needed(self) -> int:
        """FLOPs of the distinct example-views on real tokens."""
        whole, text, image = self.views
        first = self.data.examples[:: self.share]
        seen = needed_flops(self.teacher, lengths(self.data.examples), [whole, text], False)
        alone = needed_flops(self.teacher, lengths(first), [image], False)
        regions = len(first) * self.workload.regions  # projected for the whole view already
        return seen + alone - 2 * regions * self.workload.width * self.teacher.width

    def shapes(self) -> list[Shape]:
        """The largest products of one call of the teacher."""
        hidden, inner = self.teacher.width, self.teacher.bert.config.intermediate_size
        widths = [(hidden, hidden), (hidden, inner), (inner, hidden)]
        return [(CPU_TOKENS, *pair) for pair in widths]


def lengths(examples: Sequence[Drawn]) -> dict[str, torch.Tensor]:
    """{modality: tokens or regions of each example}"""
    found = np.array([[len(x.words), len(x.regions)] for x in examples]).T
    return dict(zip(("text", "image"), map(torch.from_numpy, found), strict=True))


def measure(
    folder: Path, workload: Workload | None = None, repeats: int = REPEATS
) -> tuple[list[Row], list[str]]:
    """The rows of the table, and a note."""
    workload = workload or Workload()
    teacher = workload.model(workload.teacher, seed=1).eval()
    own = Build(workload, teacher, folder / "own")
    shared = Build(workload, teacher, folder / "shared", QUESTIONS)
    s = seconds_each({"own": own, "shared": shared}, repeats, warm=0)
    rates = matmul_rates([*own.shapes(), SQUARE])
    peak = max(rates.values())

    def share(what: str, build: Build, seconds: float) -> Row:
        rate = build.needed() / seconds
        return Row(what, rate / 1e9, peak / 1e9, "GFLOP/s", "share", 0.85)

    one, few = s["own"] / own.example_views, s["shared"] / shared.example_views
    rows = [
        share("needed FLOP/s of a teacher cache's build / matmul peak", own, s["own"]),
        share(f"the same, {QUESTIONS} texts on an image", shared, s["shared"]),
        Row(
            f"example-view of a build, {QUESTIONS} texts on an image / one",
            few,
            one,
            "s",
            "speedup",
        ),
    ]
    listed = ", ".join(f"{'×'.join(map(str, x))}: {r / 1e9:.0f}" for x, r in rates.items())
    each = f"{own.needed() / own.example_views / 1e9:.2f}"
    note = f"Teacher cache: {each} GFLOP per example-view; matrix products in GFLOP/s: {listed}."
    return rows, [note]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found, said = measure(Path(scratch))
    report(found, machine(), said, None)
