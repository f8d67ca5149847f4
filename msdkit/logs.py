"""What a run writes about itself: metrics as JSON lines, and the environment it ran in."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdkit.checkpoint import write_text

if TYPE_CHECKING:
    from torch import Tensor

BINS = 20  # of the histograms of weights, from 0 to 1
PACKAGES = ("msdkit", "torch", "transformers", "accelerate", "torchmetrics", "timm", "numpy")


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, each with its `step` and `split`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def cut(self, step: int) -> None:
        """Forget all after `step`, and a last line that a kill left half-written."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step(line) <= step]
        write_text(self.path, "".join(f"{line}\n" for line in kept))


class WeightLog(MetricsLog):
    """`weights.jsonl`: how a weighting weighed each view for the examples of each class.

    One line per view and class at each evaluation, over the steps since the last: the count, mean
    and sd of the weights and a histogram; its bins are `BINS` equal ones from 0 to 1, then one for
    all above. An example counts for each class that its label names; `all` counts every example.
    """

    def __init__(self, path: Path, views: Sequence[str], classes: Sequence[str]) -> None:
        super().__init__(path)
        self.views, self.classes = list(views), ["all", *classes]
        self.sums: dict[str, Tensor] = {}

    def add(self, weights: Tensor, labels: Tensor | None) -> None:
        """[B, V], labels"""
        import torch

        weights = weights.detach().double()
        edges = torch.arange(1, BINS + 1, device=weights.device).double() / BINS
        bins = torch.bucketize(weights, edges, right=True)
        hot = torch.nn.functional.one_hot(bins, BINS + 1).to(weights)
        named = self._named(labels, weights)
        for key, values in (("sum", weights), ("square", weights**2), ("histogram", hot)):
            found = torch.einsum("bc,bv...->vc...", named, values)
            self.sums[key] = self.sums[key] + found if key in self.sums else found

    def _named(self, labels: Tensor | None, weights: Tensor) -> Tensor:
        """[B, 1 + classes]: 1 where the example counts."""
        import torch

        first = weights.new_ones(len(weights), 1)
        if labels is None or len(self.classes) == 1:
            return first
        if labels.dim() == 1:
            shown = torch.nn.functional.one_hot(labels, len(self.classes) - 1)
        else:
            shown = labels > 0
        return torch.cat([first, shown.to(first)], 1)

    def write(self, **now: Any) -> None:
        sums, self.sums = self.sums, {}
        if not sums:
            return
        count = sums["histogram"].sum(-1)
        mean = sums["sum"] / count.clamp(min=1)
        sd = (sums["square"] / count.clamp(min=1) - mean**2).clamp(min=0).sqrt()
        for v, view in enumerate(self.views):
            for c, name in enumerate(self.classes[: count.shape[1]]):
                if count[v, c]:
                    super().write(
                        **now,
                        view=view,
                        label=name,
                        count=int(count[v, c]),
                        mean=float(mean[v, c]),
                        sd=float(sd[v, c]),
                        histogram=sums["histogram"][v, c].int().tolist(),
                    )


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return float("inf")


class Window:
    """Sums over the steps since the last line of the log."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}

    def add(self, key: str, value: float) -> None:
        self.sums[key] = self.sums.get(key, 0.0) + value

    def count_step(self, examples: int, seconds: float) -> None:
        for key, value in (("steps", 1), ("examples", examples), ("seconds", seconds)):
            self.add(key, value)

    def means(self) -> dict[str, float]:
        """Means per step and examples a second; the sums start anew."""
        sums, self.sums = self.sums, {}
        steps, examples, seconds = (sums.pop(k) for k in ("steps", "examples", "seconds"))
        means = {key: value / steps for key, value in sums.items()}
        return {**means, "examples_per_second": round(examples / max(seconds, 1e-9), 1)}


def environment(seed: int) -> dict[str, Any]:
    """The seed, the git commit, package versions and the machine."""
    import torch

    return {
        "seed": seed,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain")),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
