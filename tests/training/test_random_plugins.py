"""A plugin that draws from global generators goes on as if its run had never been stopped."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import forked
import numpy as np
import torch
import toy

from msdkit.training import trainer as training
from msdkit.training.seeding import rng_state, set_rng_state, undisturbed

STOP = 5
DRAWING: dict[str, Any] = {
    **toy.DISTILLED,
    "plugins": ["toy_plugin", "toy_plugin_drawing"],
    "distill": [{"name": "drawing"}],
    "train": {**toy.TRAIN, "evaluate_every": 4, "log_every": 2},
    "evaluate": {"metrics": ["accuracy", "drawing"], "test": False},
}


def config(path: Path, teacher: Path) -> Path:
    toy.configured(path, DRAWING, teacher={"run": str(teacher)})
    return path


def killed(file: Path, cache: Path, cwd: Path) -> None:
    """The program up to a step whose update is made and not saved; progress speaks meanwhile."""
    original = training.Trainer.train_step

    def train_step(self: training.Trainer, parts: Any) -> Any:
        loss = original(self, parts)
        if self.step == STOP:
            signal.raise_signal(signal.SIGKILL)
        return loss

    training.Trainer.train_step = train_step  # type: ignore[method-assign]
    forked.program([str(file)], cache, cwd)


def talkative(file: Path, cache: Path, cwd: Path) -> None:
    """The program whose progress has a line to say at each step, and imports for it."""
    from msdkit import progress

    progress.EVERY = 0.0
    forked.program([str(file)], cache, cwd)


def test_draws_go_on_in_another_process(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    """What a process imports on its way, and what it says, takes no number from a plugin."""
    whole, broken = (config(tmp_path / f"{n}.yaml", toy_teacher) for n in ("whole", "broken"))
    assert forked.ended(talkative, whole, own_cache, tmp_path) == 0
    assert forked.ended(killed, broken, own_cache, tmp_path) == -signal.SIGKILL
    assert max(row["step"] for row in toy.log(tmp_path / "broken")) < STOP
    assert forked.ended(forked.program, [str(broken)], own_cache, tmp_path) == 0
    assert toy.log(tmp_path / "whole") == toy.log(tmp_path / "broken")
    for which in ("best", "last"):
        mine, theirs = (toy.weights(tmp_path / name, which) for name in ("whole", "broken"))
        assert toy.equal(mine, theirs)


def test_undisturbed() -> None:
    def draw() -> list[float]:
        return [random.random(), np.random.rand(), torch.rand(()).item()]

    state = rng_state()
    expected = draw()
    set_rng_state(state)
    with undisturbed():
        assert draw() == expected
    assert draw() == expected
