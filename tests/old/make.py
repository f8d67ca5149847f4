"""Makes what lies beside it, by the code before the packages; README.md says how to call it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from msdkit.builtin import BUILTIN
from msdkit.config_files import load_raw
from msdkit.feature_store import FeatureStoreWriter
from msdkit.registry import DATASETS, PROCESSORS
from msdkit.runs import evaluate_run, run
from msdkit.trainer import Trainer
from msdkit.validation import validate

HERE = Path(__file__).resolve().parent
MADE = ("cache", "ended", "features", "runs", "names.json")
STOP = 7  # the step after which a run is stopped: its last checkpoint is older


class Stopped(BaseException):
    """A kill."""


def main(folder: Path) -> None:
    """Everything, in a new folder; then in place of what is here."""
    folder.mkdir(parents=True)
    for file in (*HERE.glob("*.yaml"), HERE / "chimes.py"):
        shutil.copy(file, folder)
    os.chdir(folder)
    os.environ["MSDKIT_CACHE"] = "cache"
    write_features()
    for name in ("teacher", "student", "ensemble"):
        train(name)
    evaluate_run(Path("runs/student"), "val")
    keep_both_ends()
    for path in Path().rglob("environment.json"):
        forget_the_machine(path)
    for finished in ("teacher", "student"):
        shutil.rmtree(f"runs/{finished}/last")  # it takes the most room
    Path("runs/student/weights.jsonl").unlink()
    Path("names.json").write_text(json.dumps(names(), indent=1) + "\n", "utf-8")
    for name in MADE:
        place = HERE / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        shutil.copytree(name, place) if Path(name).is_dir() else shutil.copy(name, place)


def write_features() -> None:
    """A store of six records of width 3."""
    draw = np.random.default_rng(0)
    with FeatureStoreWriter("features", 3) as writer:
        for key in "abcdef":
            writer.add(key, draw.normal(size=(int(draw.integers(1, 5)), 3)).astype("float32"))


def train(name: str, *changes: str) -> None:
    run(validate(load_raw([Path(f"{name}.yaml")], list(changes))).require())


def keep_both_ends() -> None:
    """`runs/stopped`: the student's run, killed; `ended`: what came of it when it went on."""
    whole = Trainer.train_step

    def train_step(self, batches):  # type: ignore[no-untyped-def]
        loss = whole(self, batches)
        if self.step > STOP:
            raise Stopped
        return loss

    Trainer.train_step = train_step
    try:
        train("student", "run_dir=runs/stopped")
    except Stopped:
        shutil.copytree("runs/stopped", "stopped")
    Trainer.train_step = whole
    train("student", "run_dir=runs/stopped")
    Path("ended").mkdir()
    for name in ("results.json", "predictions.jsonl", "metrics.jsonl"):
        shutil.copy(Path("runs/stopped") / name, "ended")
    shutil.rmtree("runs/stopped")
    Path("stopped").rename("runs/stopped")


def names() -> dict[str, dict[str, str]]:
    """What names the caches of processors, and the folders of data sets that are built."""
    processors = {name: PROCESSORS.get(name) for name in BUILTIN["processors"]}
    recipes = {name: getattr(DATASETS.get(name), "recipe", None) for name in BUILTIN["datasets"]}
    return {
        "processors": {
            name: f"{cls.__module__}:{cls.__qualname__}:{cls.version}"
            for name, cls in processors.items()
        },
        "datasets": {name: made().plan.folder.name for name, made in recipes.items() if made},
    }


def forget_the_machine(path: Path) -> None:
    """Leave out of environment.json what tells of the machine alone."""
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**about, "machine": "", "processor": ""}, indent=1), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
