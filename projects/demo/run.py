"""The demo: train the teacher, write its cache, distil one student four ways, compare.

Each step is a command that works by itself; what is finished is reused. `--tiny` tries the path.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from msdkit.cli.commands import main

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
DATA = f"{CONFIGS}/emoji_entail/data.yaml"
TEACHER = f"{CONFIGS}/emoji_entail/teacher.yaml"
METHODS = [
    f"{CONFIGS}/methods/{name}.yaml"
    for name in ("no_distillation", "kd", "msd_population", "msd_saliency")
]


def step(what: str, *arguments: str) -> None:
    """Say the command, then run it."""
    shown = " ".join(arguments).replace(f"{CONFIGS.parent}/", "")
    print(f"\n▶ {what}\n  msdkit {shown}", flush=True)
    try:
        main(list(arguments))
    except SystemExit as stop:
        if stop.code:
            raise


def demo(*options: str) -> None:
    """The four steps; `options` go to each that trains."""
    start, study = time.perf_counter(), "runs/tiny/demo" if "--tiny" in options else "runs/demo"
    step("Fetch and build the data", "data", "build", "emoji_entail", "train_size=18000")
    step("Train the teacher on frozen MiniLM and EfficientNet-Lite0", "run", TEACHER, *options)
    step("Write the teacher's answers to disk", "cache", DATA, METHODS[-1], *options)
    compare = ["compare", *METHODS, "--base", DATA, "--baseline", "kd", "--out", study]
    step("Train the same student four ways and compare", *compare, *options)
    minutes = (time.perf_counter() - start) / 60
    print(f"Done in {minutes:.1f} minutes; tables as Markdown, CSV and JSON, and every run, are in")
    print(f"run folder: {Path(study).resolve()}")


if __name__ == "__main__":
    demo(*sys.argv[1:])
