"""Numbers that are not finite are told, and an accelerator is not waited for."""

from __future__ import annotations

import math
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from msdkit.errors import TrainingError
from msdkit.runs.runner import run
from msdkit.training.watch import FiniteCheck
from msdkit.types import StepOutput


def test_a_loss_that_is_not_finite_names_its_cause(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        teacher={"run": str(toy_teacher)},
        distill=[{"name": "kl"}, {"name": "toy_nan", "ids": ["train-3", "train-9"], "after": 9}],
        train={"batch_size": 20},
    )
    with pytest.raises(TrainingError, match=r"^step 4: the loss is nan") as error:
        run(config)
    message = str(error.value)
    assert "'toy_nan': nan" in message
    assert "'kl': 0" in message
    named = message.partition("examples: ")[2].split(", ")
    assert named
    assert set(named) <= {"train-3", "train-9"}
    assert (tmp_path / "x" / "last" / "state.safetensors").exists()
    assert not (tmp_path / "x" / "results.json").exists()


def output_of(loss: float, bad: int | None = None) -> StepOutput:
    task, distill = torch.full((4,), loss), torch.zeros(4, 2)
    if bad is not None:
        distill[bad, 1] = math.inf
    total = (task + distill.sum(1)).mean().requires_grad_()
    return StepOutput(total, task, distill, torch.ones(4, 2), {"kl": distill}, {})


def test_an_accelerator_is_asked_once_for_many_steps() -> None:
    watch = FiniteCheck(torch.device("cuda"))
    ids = [["a", "b", "c", "d"], ["e", "f", "g", "h"]]
    for step in range(1, 9):
        output = output_of(1.0, bad=2 if step in (4, 6) else None)
        watch.loss(step, output, 1.0, ids[step % 2])
        watch.gradient(step, torch.tensor(math.nan if step > 4 else 1.0), ids[0])
    with pytest.raises(TrainingError, match=r"^step 4: the loss is inf .* examples: c$"):
        watch.look()
    watch.look()  # what was told is forgotten


def test_a_gradient_that_is_not_finite_is_named() -> None:
    watch = FiniteCheck(torch.device("cpu"))
    watch.loss(3, output_of(1.0), 1.0, ["a"])
    with pytest.raises(TrainingError, match=r"^step 3: the gradient is inf .* examples: a, b$"):
        watch.gradient(3, torch.tensor(math.inf), ["a", "b"])


class Asked(TorchDispatchMode):
    """Notes from where in msdkit a tensor's value is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            frames = [f.filename for f in traceback.extract_stack() if "/msdkit/" in f.filename]
            self.places.add(Path(frames[-1]).name)
        return func(*args, **(kwargs or {}))


def test_a_step_asks_an_accelerator_for_nothing(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    made = toy.experiment(tmp_path / "x.yaml", toy.DISTILLED, teacher={"run": str(toy_teacher)})
    trainer = made.trainer()
    trainer.watch.at_once = False  # as on an accelerator
    parts = next(trainer.batches.after(0))
    with Asked() as asked:
        loss = trainer.train_step(parts)
    assert asked.places <= {"transformer.py"}  # which asks on a CPU alone
    assert isinstance(loss, Tensor)
    with Asked() as asked:
        trainer.watch.look()
    assert asked.places == {"watch.py"}
