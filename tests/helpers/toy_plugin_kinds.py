"""A plugin for tests: one toy data set that is asked in each of the task kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from msdkit.registry import DATASETS
from msdkit.types import Example, Modality, Task

CLASSES = ["a", "b", "c"]


@DATASETS.register("toy_kinds")
class ToyKinds:
    """A word and a few rows of numbers that tell of a class; `task` says how it is labelled."""

    label_names = CLASSES

    def __init__(self, split: str, *, task: Task = "single_label", n: int = 16) -> None:
        self.split, self.task, self.n = split, task, n
        self.modalities = self.declare(task=task)["modalities"]

    @classmethod
    def declare(cls, *, task: Task = "single_label", n: int = 16) -> dict[str, Any]:
        return {"modalities": {"text": "text", "image": Modality("features", 8)}, "task": task}

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Example:
        draw = np.random.default_rng([index, len(self.split)])
        right = int(draw.integers(3))
        rows = draw.normal(size=(int(draw.integers(2, 5)), 8)).astype("float32") + right
        raw = {"text": f"word{right} word{int(draw.integers(9))}", "image": rows}
        return Example(f"{self.split}-{index}", raw, self._label(right, draw))

    def _label(self, right: int, draw: np.random.Generator) -> Any:
        if self.task == "single_label":
            return right
        hot = np.eye(3, dtype="float32")[right]
        if self.task == "multi_label":
            return np.maximum(hot, draw.integers(2, size=3)).astype("float32")
        if self.task == "soft_target":
            return (0.7 * hot + 0.3 * draw.random(3)).astype("float32")
        return (hot + draw.normal(size=3)).astype("float32")
