"""What a run writes about itself: metrics as JSON lines, and the environment it ran in."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from msdkit.checkpoint import write_text

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
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if _step(line) <= step]
        write_text(self.path, "".join(f"{line}\n" for line in kept))


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
