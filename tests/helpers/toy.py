"""A toy data set and odd plugins, and the helpers of tests that train on it in a second.

`toy_plugin` registers the classes: configs name it, so that no test registers what it needs not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from msdkit.config.files import load_raw, merge
from msdkit.config.schema import ExperimentConfig
from msdkit.config.validation import validate
from msdkit.models.base import Model
from msdkit.processors.array import Array
from msdkit.runs.experiment import Experiment
from msdkit.types import Example, Modality, ModelOutput

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tools" / "run.py"


class Toy:
    """A word and a few rows of numbers; each tells something of the class."""

    modalities: ClassVar[dict[str, Any]] = {"text": "text", "image": Modality("features", 8)}
    task = "single_label"
    label_names: ClassVar[list[str]] = ["a", "b", "c"]

    def __init__(self, split: str, *, n: int = 40, shift: float = 0.0) -> None:
        self.split, self.n, self.shift = split, n, shift

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Example:
        draw = np.random.default_rng([index, len(self.split)])
        label = int(draw.integers(3))
        text = f"word{label} noise{int(draw.integers(9))}" + " more" * int(draw.integers(3))
        rows = draw.normal(size=(int(draw.integers(2, 5)), 8)).astype("float32")
        return Example(
            f"{self.split}-{index}", {"text": text, "image": rows + label + self.shift}, label
        )


class NotANumber(nn.Module):
    """The squared difference; NaN for the examples of these ids after so many calls."""

    def __init__(self, *, ids: list[str], after: int = 0) -> None:
        super().__init__()
        self.ids, self.after, self.calls = ids, after, 0

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        self.calls += 1
        loss = (student.logits - teacher.logits).square().mean(-1)
        hit = torch.tensor([key in self.ids for key in student.ids or []])
        return torch.where(hit & (self.calls > self.after), torch.nan, loss)


class Noise(Array):
    """Adds noise to the rows that training sees."""

    random = True

    def augment(self, raw: Any) -> np.ndarray:
        """[L, D] -> [L, D]"""
        rows = self(raw)
        return rows + torch.randn(rows.shape).numpy()


class Tied(Model):
    """Two layers that share their weights, for a modality of rows."""

    def __init__(self, modalities: Any, num_classes: int, masking: Any = None) -> None:
        super().__init__(modalities, num_classes, masking)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.head = nn.Linear(8, num_classes)

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        """{modality: [B, L, 8]} -> logits [B, C]"""
        if "image" not in inputs:
            return ModelOutput(self.head.bias.expand(len(inputs["text"].mask), -1))
        values = inputs["image"].values
        return ModelOutput(self.head(self.second(self.first(values).relu()).mean(1)))


MODEL = {"name": "fusion_transformer", "hidden": 16, "layers": 1, "heads": 2}
TRAIN = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "log_every": 1, "save_every": 3}
PLAIN: dict[str, Any] = {
    "plugins": ["toy_plugin"],
    "dataset": {"name": "toy"},
    "student": MODEL,
    "train": TRAIN,
}
DISTILLED: dict[str, Any] = {
    **PLAIN,
    "distill": [{"name": "kl", "temperature": 2.0}],
    "weighting": {"name": "saliency"},
}


def write(path: Path, values: dict[str, Any]) -> Path:
    """A config file (JSON is YAML)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def configured(path: Path, *layers: dict[str, Any], **top: Any) -> ExperimentConfig:
    """The checked config of merged layers, written to `path`; it runs in `path` without .yaml."""
    values: dict[str, Any] = {"run_dir": str(path.with_suffix(""))}
    for layer in (*layers, top):
        values = merge(values, layer)
    return validate(load_raw([write(path, values)])).require()


def experiment(path: Path, *layers: dict[str, Any], **top: Any) -> Experiment:
    """The same as a live experiment."""
    return Experiment(configured(path, *layers, **top))


def weights(run: Path, which: str = "best") -> dict[str, Tensor]:
    """The tensors of a run's model."""
    from safetensors.torch import load_file

    return load_file(run / which / "model.safetensors")


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether all tensors agree to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a `.jsonl` file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def log(run: Path) -> list[dict[str, Any]]:
    """`metrics.jsonl` without speeds."""
    timeless = rows(run / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k != "examples_per_second"} for row in timeless]


def command(*arguments: str | Path) -> list[str]:
    """`python tools/run.py …`"""
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


def environment(cache: Path) -> dict[str, str]:
    """The environment of a subprocess: as many threads, its own cache, this file as a plugin."""
    threads = str(torch.get_num_threads())  # sums in another order differ in their last bits
    own = {"MSDKIT_CACHE": str(cache), "OMP_NUM_THREADS": threads}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT / "tests" / "helpers")}


def main(*arguments: Any) -> int:
    """The program in this process: its exit code."""
    from msdkit.cli import commands as cli

    try:
        cli.main(list(map(str, arguments)))
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def program(*arguments: str | Path, cache: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `tools/run.py` to its end."""
    return subprocess.run(
        command(*arguments),
        env=environment(cache),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
