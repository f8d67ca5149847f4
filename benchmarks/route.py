"""The way of a cached MSD step through msdkit's files, and what Python takes beside torch.

A turn is one of the training loop's: the next batch is read from the feature store and the teacher
cache, `Trainer.train_step` does the update, `Trainer._after_step` looks what is due (nothing is).
B = 8, three views (multimodal, text, image), saliency weights, one `kl` term, gradients clipped,
AdamW; each model has one layer. A step is `train_step` alone, its batch in memory.

files: how many of msdkit's files have a function that is called. changes: how often a call is of a
function of another file than the call before; returns do not count. ms: Python beside torch's
operators, the wall time of a step minus that of its outermost `aten::` and autograd events in
torch.profiler, but for autograd functions written in Python; the median of many steps.

python benchmarks/route.py [--tree FOLDER]      FOLDER: another copy of msdkit, such as an older one
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

STEPS, WARM = 40, 5
TREE = Path(__file__).resolve().parents[1]
MODELS = {
    "fusion_transformer": {"hidden": 16, "layers": 1, "heads": 2},
    "visual_bert": {"hidden": 16, "layers": 1, "heads": 2, "vocab_size": 200},
}
TRAIN = {"batch_size": 8, "max_steps": 10**6, "log_every": 10**6, "save_every": 10**6}
Action = Callable[[], Any]


def route(action: Action, house: Path) -> list[str]:
    """The file of each call of a function of msdkit, in order."""
    passed: list[str] = []
    inside = f"{house}{os.sep}"

    def see(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(inside):
            passed.append(frame.f_code.co_filename.removeprefix(inside))

    threading.setprofile(see)
    sys.setprofile(see)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return passed


def changes(passed: list[str]) -> int:
    """How often a call is of another file than the one before."""
    return sum(a != b for a, b in pairwise(passed))


def beside_torch(action: Action) -> float:
    """Milliseconds of a step outside torch's operators, the median of `STEPS`."""
    from torch.profiler import ProfilerActivity, profile, record_function

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            with record_function("step"):
                action()
    steps = [event for event in profiled.events() if event.name == "step"]
    return statistics.median(e.time_range.elapsed_us() - _inside(e) for e in steps) / 1e3


def _inside(event: Any) -> float:
    """Microseconds of an event's outermost operators."""
    written_in_python = event.name.endswith("_MoveBackward")
    if event.name.startswith(("aten::", "autograd::")) and not written_in_python:
        return event.time_range.elapsed_us()
    return sum(_inside(child) for child in event.cpu_children)


def trainer(model: dict[str, Any], folder: Path) -> Any:
    """The loop of an experiment on toy data, with a teacher that a run has trained."""
    import toy

    try:
        from msdkit.runs.runner import run
    except ImportError:  # the layout before packages
        from msdkit.runs import run

    plain = {**toy.PLAIN, "student": model, "run_dir": str(folder / "teacher")}
    run(toy.configured(folder / "teacher.yaml", plain))
    teacher = {"teacher": {"run": str(folder / "teacher")}}
    made = toy.experiment(
        folder / "x.yaml", {**toy.DISTILLED, **teacher}, student=model, train=TRAIN
    )
    loop = made.trainer()
    loop.every = 10**6
    loop.model.train()
    return loop


def rows(name: str, house: Path, folder: Path) -> list[list[str]]:
    """A turn and a step of a model."""
    loop = trainer({"name": name, **MODELS[name]}, folder)
    steps = loop.batches.after(0)
    batch = next(steps)

    def turn() -> None:
        loop.train_step(next(steps))
        loop._after_step()

    def step() -> None:
        loop.train_step(batch)

    found = []
    for what, action in {"turn": turn, "step": step}.items():
        for _ in range(WARM):
            action()
        passed = route(action, house)
        counts = [str(len(set(passed))), str(changes(passed)), str(len(passed))]
        found.append([f"{name}, {what}", *counts, f"{beside_torch(action):.2f}"])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, default=TREE)
    tree = parser.parse_args().tree.resolve()
    sys.path[:0] = [str(tree), str(tree / "tests" / "helpers"), str(tree / "tests")]
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MSDKIT_CACHE"] = f"{folder}/cache"
        import torch

        from msdkit.tables import print_table

        torch.set_num_threads(1)
        lines = [row for name in MODELS for row in rows(name, tree / "msdkit", Path(folder) / name)]
    print_table(str(tree), ["", "files", "changes", "calls", "ms beside torch"], lines)


if __name__ == "__main__":
    main()
