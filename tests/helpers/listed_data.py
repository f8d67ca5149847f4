"""Data sets and a processor of a few lines, for what opens and processes data."""

from __future__ import annotations

import numpy as np

from msdkit.data.raw import RawSplit
from msdkit.processors.base import Processor
from msdkit.types import Example, Modality

NAMES = ["a", "b", "c"]


class Listed:
    """Examples from a list."""

    modalities = {"text": "text"}  # noqa: RUF012
    label_names = NAMES

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


class Letters(Processor):
    """Letters by their code; counts its calls."""

    def __init__(self, *, shift: int = 0) -> None:
        self.shift, self.seen = shift, 0
        self.stop_at: int | None = None

    @property
    def modality(self) -> Modality:
        return Modality("tokens", 200)

    def __call__(self, raw: str) -> np.ndarray:
        """text -> int64 [L]"""
        if self.seen == self.stop_at:
            raise KeyboardInterrupt
        self.seen += 1
        return np.array([ord(c) + self.shift for c in raw], np.int64)


def texts(*values: str) -> RawSplit:
    """An opened split of these texts, each labelled b."""
    examples = [Example(f"e{i}", {"text": text}, "b") for i, text in enumerate(values)]
    return RawSplit(Listed(examples), "train", "single_label")


class Many(Listed):
    """So many examples, each made when it is asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        return Example(f"example {index}", {"text": f"text {index // 5}"}, index % 3)
