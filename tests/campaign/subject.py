"""What the campaign attacks: a small data set, a teacher, runs, a cache, a sweep and a study."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from shim import Shim
from work import command, numbers

SIZES = {"train": 24, "val": 12, "test": 12}
MODALITIES = {
    "text": {"column": "caption", "type": "text"},
    "image": {"column": "picture", "type": "image"},
    "region": {"column": "key", "type": "features"},
}
MODEL = {
    "name": "fusion_transformer",
    "hidden": 16,
    "layers": 1,
    "heads": 2,
    "processors": {
        "text": {"name": "words", "vocab_size": 100},
        "image": {"name": "patches", "size": 8, "patch": 4},
        "region": {"name": "features", "store": "store"},
    },
}
TRAIN = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "log_every": 1, "save_every": 2}
TEACHER: dict[str, Any] = {
    "dataset": {"name": "jsonl", "folder": "rows", "modalities": MODALITIES},
    "student": MODEL,
    "train": TRAIN,
    "run_dir": "runs/teacher",
}
STUDENT: dict[str, Any] = {
    **TEACHER,
    "teacher": {"run": "runs/teacher"},
    "distill": [{"name": "kl", "temperature": 2.0}],
    "weighting": {"name": "saliency"},
    "run_dir": "runs/student",
}
RUN = ("run", "student.yaml")
OTHER = (*RUN, "train.lr=0.02")
SWEEP = ("sweep", "student.yaml", "space.yaml", "--trials", "2", "--out", "sweep")
METHODS = ("compare", "a.yaml", "b.yaml", "--base", "student.yaml", "--out", "study")
LINE = "write metrics.jsonl"
IMPORT = ("features", "import", "regions", "--to", "imported")
PREPARED = (("run", "teacher.yaml"), RUN, SWEEP, METHODS)


class Subject:
    """A working folder in which all has been made, to be copied for each trial.

    expected: {what: its numbers} of runs that nobody disturbed; lines: how many their logs have;
    stopped: the run folder of one that was killed in its second epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, folder / "base"
        self.expected: dict[str, dict[str, str]] = {}
        write_rows(self.base)
        where = {"dataset": {**TEACHER["dataset"], "folder": str(self.base / "rows")}}
        for name, values in {
            "teacher": {**TEACHER, **where},
            "student": {**STUDENT, **where},
            "space": {"sweep": {"train.lr": {"choices": [0.001, 0.003]}}},
            "a": {"weighting": {"name": "saliency"}},
            "b": {"weighting": {"name": "population"}},
        }.items():
            (self.base / f"{name}.yaml").write_text(json.dumps(values), "utf-8")
        for words in PREPARED:
            self._made(self.base, *words)
        self.expected["student"] = numbers(self.base / "runs/student")
        self.expected["other"] = self._other()
        done = self.operations(*RUN, without=("runs/student",))
        self.lines = done.count(LINE)
        self.stopped = self.stop(self.folder / "half")

    def copy(self, to: Path, *without: str) -> Path:
        """The working folder once more, without some of its parts."""
        shutil.copytree(self.base, to / "work")
        for name in without:
            shutil.rmtree(to / "work" / name)
        return to / "work"

    def copy_stopped(self, to: Path) -> Path:
        """The working folder with the run half done."""
        work = self.copy(to, "runs/student")
        shutil.copytree(self.stopped, work / "runs/student")
        return work

    def operations(self, *words: str, without: tuple[str, ...] = ()) -> list[str]:
        """What a command does to files, in order."""
        place = self.folder / "counted"
        work = self.copy(place, *without)
        shim, told = Shim(work), place / "operations.json"
        command(work, *words, shim=shim, after=lambda: told.write_text(json.dumps(shim.done)))
        done = json.loads(told.read_text("utf-8"))
        shutil.rmtree(place)
        return done

    def _made(self, work: Path, *words: str) -> None:
        """A command that must end well; what it imports is imported for all later ones."""
        told = self.folder / "modules.json"

        def after() -> None:
            told.write_text(json.dumps(sorted(sys.modules)), "utf-8")

        ended = command(work, *words, timeout=300, after=after)
        if ended.code != 0:
            raise SystemExit(f"the campaign cannot begin: {' '.join(words)}: {ended.told[-3000:]}")
        for name in json.loads(told.read_text("utf-8")):
            if name not in sys.modules:
                with suppress(Exception):  # names that modules give themselves
                    importlib.import_module(name)

    def _other(self) -> dict[str, str]:
        work = self.copy(self.folder / "other", "runs/student")
        self._made(work, *OTHER)
        return numbers(work / "runs/student")

    def stop(self, to: Path, *more: str) -> Path:
        """The run folder of a student that was killed in its second epoch."""
        work = self.copy(to, "runs/student")
        command(work, *RUN, *more, shim=Shim(work, self.lines - 2, on=LINE))
        assert (work / "runs/student/last").is_dir()
        return work / "runs/student"


def write_rows(base: Path) -> None:
    """The data set: captions, pictures, and a store of region features."""
    from PIL import Image

    from msdkit.store.writer import FeatureStoreWriter

    draw = np.random.default_rng(0)
    (base / "rows/pictures").mkdir(parents=True)
    (base / "regions").mkdir()
    with FeatureStoreWriter(base / "store", 4, "fp32") as store:
        for split, size in SIZES.items():
            rows = []
            for i in range(size):
                label, name = int(draw.integers(3)), f"{split}{i}"
                pixels = draw.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(base / f"rows/pictures/{name}.png")
                features = draw.normal(size=(3, 4)).astype("float32") + label
                store.add(name, features)
                if split == "val":
                    np.save(base / f"regions/{name}.npy", features)
                text = f"word{label} noise{int(draw.integers(9))}"
                row = {"id": name, "caption": text, "picture": f"pictures/{name}.png"}
                rows.append({**row, "key": name, "label": "abc"[label]})
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (base / f"rows/{split}.jsonl").write_text(lines, "utf-8")
