"""What each of two processes does for `training/test_processes`: many small runs in one launch."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import toy

from msdkit import parallel
from msdkit.config.schema import ExperimentConfig
from msdkit.errors import DataError, MsdkitError
from msdkit.runs import evaluate
from msdkit.runs.experiment import Experiment
from msdkit.runs.runner import run
from msdkit.training.processes import settle
from msdkit.training.trainer import Trainer

BASE: dict[str, Any] = {
    **toy.DISTILLED,
    "dataset": {"name": "toy", "n": 49},  # 16 + 16 + 16 + 1: in the last step one has no example
    "student": {**toy.MODEL, "dropout": 0.0},  # as each process draws its own
    "train": {**toy.TRAIN, "clip": 0.5, "save_every": 4},
    "evaluate": {"batch_size": 10},
}
LEARNED = {"name": "learned", "interval": 1, "virtual_lr": 1.0, "lr": 0.05}
JOBS: dict[str, dict[str, Any]] = {
    "ddp": {},
    "accumulate": {"train": {"accumulate": 2}},
    "learned": {"weighting": LEARNED, "train": {"held_out": 0.32}},  # 33 train, 16 are held out
    "mean": {"masking": {"name": "mean"}},
    "fsdp": {"train": {"parallel": "fsdp"}},
}
# Whatever draws must go on where it stood, and what is yet to be logged must not be lost
DRAWS = {"student": {"dropout": 0.2}, "train": {"modality_dropout": 0.2, "log_every": 3}}
OTHERS: dict[str, dict[str, Any]] = {
    # So slow that embeddings stay as they are, whatever negatives are drawn
    "crd": {"distill": [{"name": "crd", "dim": 8, "negatives": 4}], "train": {"lr": 1e-12}},
    "whole": DRAWS,
    "broken": DRAWS,
    "sharded": {"train": {"parallel": "fsdp"}},
    "fewer": {},
    "nan": {"distill": [{"name": "toy_nan", "ids": ["train-3"], "after": 3}]},
}
STOP = 5  # where runs are killed, a step after they were last saved


def configured(folder: Path, teacher: Path, name: str, **more: Any) -> ExperimentConfig:
    """The config of a job, which runs in `folder / name`."""
    layers = [BASE, {"teacher": {"run": str(teacher)}}, {**JOBS, **OTHERS}[name]]
    file = folder / f"{name}-{parallel.rank()}.yaml"
    return toy.configured(file, *layers, run_dir=str(folder / name), **more)


class Killed(BaseException):
    """A kill that can be caught."""


def killed(config: ExperimentConfig) -> None:
    """A run that ends after a step without a word."""
    original = Trainer.train_step

    def train_step(self: Trainer, parts: Any) -> Any:
        loss = original(self, parts)
        if self.step == STOP:
            raise Killed
        return loss

    Trainer.train_step = train_step  # type: ignore[method-assign]
    with suppress(Killed):
        run(config)
    Trainer.train_step = original  # type: ignore[method-assign]


def mistake(action: Callable[[], Any]) -> str:
    """What the error says that an action ends with."""
    try:
        action()
    except (MsdkitError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def exchanges() -> dict[str, Any]:
    """Each exchange once, with another number of rows in each process."""
    me = parallel.rank()
    rows = torch.arange(3.0 + me)[:, None] + 10 * me

    def wrong() -> None:
        raise DataError("found by the main process")

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    norm = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    norm[0].running_mean.fill_(1.0 + me)
    settle(norm)
    with parallel.idle(me == 1):
        idle = [parallel.total(torch.ones(2)), parallel.together(rows), parallel.listed([me])]
    return {
        "means": parallel.means([torch.full((2,), 1.0 + me), torch.tensor(5.0)], 1 + 2 * me),
        "together": parallel.together(rows),
        "listed": parallel.listed(["a"] * (1 + me)),
        "to_main": parallel.to_main(rows if me else None, [0, 4]),
        "anywhere": [parallel.anywhere(me == 1), parallel.anywhere(False)],
        "idle": idle,
        "norm": norm[0].running_mean,
        "from_main": parallel.from_main(lambda: me),
        "mistake": mistake(lambda: parallel.from_main(wrong)),
        "failure": mistake(lambda: parallel.from_main(full)),
    }


def main(folder: Path, teacher: Path) -> None:
    """All runs of one process; what it has to tell goes into `said-RANK.pt`."""
    os.environ["MSDKIT_CACHE"] = str(folder / "cache")
    parallel.join()
    evaluate.costs = lambda *_: {}  # type: ignore[assignment]
    made = {name: configured(folder, teacher, name) for name in (*JOBS, *OTHERS)}
    said: dict[str, Any] = {"exchanges": exchanges()}
    for name in (*JOBS, "whole"):
        run(made[name])
    for name in ("broken", "sharded", "fewer"):
        killed(made[name])
    run(made["broken"])
    run(made["sharded"])
    said["nan"] = mistake(lambda: run(made["nan"]))
    crd = Experiment(made["crd"])
    crd.trainer().fit()
    said["crd"] = crd.distiller.losses.state_dict()
    torch.save(said, folder / f"said-{parallel.rank()}.pt")
