"""A run that was stopped at any moment ends as if nothing had happened: equal to the bit."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import forked
import pytest
import toy

from msdkit.config.schema import ExperimentConfig
from msdkit.errors import DataError
from msdkit.runs.runner import run
from msdkit.training import trainer as training
from msdkit.training.checkpoint import batches_per_step
from msdkit.training.stopping import SIGNALS
from msdkit.training.tree import save_tree

# Dropout, hidden modalities, weights per example, accumulation: all that draws or remembers
SALIENCY = {"name": "saliency", "scale": 0.7}
EVERYTHING: dict[str, Any] = {
    **toy.DISTILLED,
    "dataset": {"name": "toy", "n": 64},
    "weighting": {"name": "control", "kind": "shuffle", "of": SALIENCY},
    "train": {
        **toy.TRAIN,
        "epochs": 3,
        "accumulate": 2,
        "evaluate_every": 4,
        "log_every": 2,
        "modality_dropout": 0.2,
        "early_stopping": 30,
    },
}
VARIANTS: dict[str, dict[str, Any]] = {
    "control": {},
    "saliency": {"weighting": SALIENCY},
    "stops early": {"train": {"early_stopping": 3, "evaluate_every": 2, "lr": 1e-9}},
    "live teacher, random processor": {
        "student": {"processors": {"image": "toy_noise"}},
        "weighting": SALIENCY,
        "train": {"teacher_cache": False, "accumulate": 1, "epochs": 2},
    },
    "one view a step": {
        "weighting": SALIENCY,
        "train": {"views_per_step": "sample", "group_by": "image"},
    },
    "mean masking": {"masking": {"name": "mean"}, "train": {"modality_dropout": 0.0}},
}


def configured(path: Path, teacher: Path, **more: Any) -> ExperimentConfig:
    return toy.configured(path, EVERYTHING, more, teacher={"run": str(teacher)})


def assert_same_runs(a: Path, b: Path) -> None:
    for which in ("best", "last"):
        assert toy.equal(toy.weights(a, which), toy.weights(b, which))
    assert toy.log(a) == toy.log(b)
    assert (a / "predictions.jsonl").read_bytes() == (b / "predictions.jsonl").read_bytes()
    assert sorted(p.name for p in a.iterdir()) == sorted(p.name for p in b.iterdir())


@pytest.fixture
def no_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting FLOPs takes longer than training here."""
    monkeypatch.setattr("msdkit.runs.evaluate.costs", lambda *_: {})


class Killed(BaseException):
    """A kill that tests can catch."""


@pytest.mark.usefixtures("own_cache", "no_costs")
@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_at_random_steps(
    tmp_path: Path, toy_teacher: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    more = VARIANTS[variant]
    run(configured(tmp_path / "whole.yaml", toy_teacher, **more))
    steps = max(row["step"] for row in toy.log(tmp_path / "whole"))
    config = configured(tmp_path / "broken.yaml", toy_teacher, **more)
    for stop in random.Random(variant).choices(range(steps), k=2):
        with monkeypatch.context() as patch:
            _kill_in_step(patch, stop)
            with pytest.raises(Killed):
                run(config)
    run(config)
    assert_same_runs(tmp_path / "whole", tmp_path / "broken")


def _kill_in_step(patch: pytest.MonkeyPatch, step: int) -> None:
    original = training.Trainer.train_step

    def train_step(self: training.Trainer, batches: Any) -> float:
        loss = original(self, batches)
        if self.step > step:  # the update is made and not yet saved
            raise Killed
        return loss

    patch.setattr(training.Trainer, "train_step", train_step)


@pytest.mark.usefixtures("own_cache", "no_costs")
@pytest.mark.parametrize("seed", range(2))
def test_stopped_while_writing(
    tmp_path: Path, toy_teacher: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Between any two changes of the disk that make a checkpoint."""
    run(configured(tmp_path / "whole.yaml", toy_teacher))
    config, draw = configured(tmp_path / "broken.yaml", toy_teacher), random.Random(seed)
    for _ in range(4):
        with monkeypatch.context() as patch:
            _kill_at_rename(patch, draw.randrange(12))
            try:
                run(config)
            except Killed:
                continue
            break
    run(config)
    assert_same_runs(tmp_path / "whole", tmp_path / "broken")


def _kill_at_rename(patch: pytest.MonkeyPatch, number: int) -> None:
    done: list[Path] = []
    for name in ("rename", "replace"):
        original = getattr(Path, name)

        def change(self: Path, target: Path, original: Any = original) -> Path:
            if len(done) == number:
                raise Killed
            done.append(target)
            return original(self, target)

        patch.setattr(Path, name, change)


@pytest.mark.usefixtures("own_cache", "no_costs")
def test_a_half_written_line_is_forgotten(
    tmp_path: Path, toy_teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(configured(tmp_path / "whole.yaml", toy_teacher))
    config = configured(tmp_path / "broken.yaml", toy_teacher)
    with monkeypatch.context() as patch:
        _kill_in_step(patch, 7)
        with pytest.raises(Killed):
            run(config)
    with (tmp_path / "broken" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "epo')
    run(config)
    assert_same_runs(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.usefixtures("no_costs")
def test_processes_that_are_killed(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    """SIGKILL at any moment; other signals save first and exit with 128 and their number."""
    long = {"train": {"epochs": 20}}
    run(configured(tmp_path / "whole.yaml", toy_teacher, **long))
    config = configured(tmp_path / "broken.yaml", toy_teacher, **long)
    draw, reached = random.Random(0), []
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in (signal.SIGKILL, *heard, signal.SIGKILL):
        code, step = _stopped_by(number, tmp_path, own_cache, after=draw.randint(2, 8))
        assert code == (-number if number == signal.SIGKILL else 128 + number)
        reached.append(step)
    assert reached == sorted(reached)
    assert not (tmp_path / "broken" / "results.json").exists()
    run(config)
    assert_same_runs(tmp_path / "whole", tmp_path / "broken")


def _stopped_by(number: int, folder: Path, cache: Path, after: int) -> tuple[int | None, int]:
    """(exit code, last step in the log) of a process stopped some steps beyond the last one."""
    log = folder / "broken" / "metrics.jsonl"
    goal = _last_step(log) + after
    process = forked.start(forked.program, [str(folder / "broken.yaml")], cache, folder)
    while process.is_alive() and _last_step(log) < goal:
        time.sleep(0.002)
    os.kill(process.pid or 0, number)
    process.join()
    return process.exitcode, _last_step(log)


def _last_step(log: Path) -> int:
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def test_a_checkpoint_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    save_tree(tmp_path / "last" / "state.safetensors", {"step": 3, "best": 0.5, "bad": 0})
    with pytest.raises(DataError, match=r"an earlier version wrote it; delete .* to start anew"):
        batches_per_step(tmp_path)
