"""Losses and gradients that are not finite: found, and named with their step and examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from msdkit.errors import TrainingError
from msdkit.parallel import anywhere, world
from msdkit.types import StepOutput

SHOWN = 10  # examples that a message names


class FiniteCheck:
    """Raises TrainingError for what is not finite, at once on a CPU.

    On an accelerator a question waits for the device, and of several processes each waits for all:
    there what came since the last `look` is asked about together, so `look` must be called before
    anything is saved.
    """

    def __init__(self, device: torch.device) -> None:
        self.at_once = device.type == "cpu" and world() == 1
        self._seen: list[tuple[Tensor, Callable[[], str]]] = []  # scalars, what to say of each

    def loss(self, step: int, output: StepOutput, task_weight: float, ids: Sequence[str]) -> None:
        """The loss of a batch in step number `step`, counted from 1."""
        self._add(output.total.detach(), partial(_of_loss, step, output, task_weight, ids))

    def gradient(self, step: int, norm: Tensor, ids: Sequence[str]) -> None:
        """The norm of a step's gradient, which may be infinite where the loss is not."""
        self._add(norm.detach(), partial(_of_gradient, step, norm, ids))

    def _add(self, value: Tensor, message: Callable[[], str]) -> None:
        if not self.at_once:
            self._seen.append((value, message))
        elif not value.isfinite():
            raise TrainingError(message())

    def look(self) -> None:
        """TrainingError about the first that is not finite; waits for an accelerator.

        All processes ask together, as gradients carry it from one to all.
        """
        seen, self._seen = self._seen, []
        bad = bool(seen) and not torch.stack([v.float() for v, _ in seen]).isfinite().all()
        if not anywhere(bad):
            return
        mine = (tell() for value, tell in seen if not value.isfinite())
        raise TrainingError(next(mine, "another process has a loss that is not finite"))


def _of_loss(step: int, output: StepOutput, task_weight: float, ids: Sequence[str]) -> str:
    total, task, weighed = output.total, output.task, output.weights * output.distill
    means = {name: values.mean().item() for name, values in output.terms.items()}
    bad = ~torch.isfinite(task_weight * task) | ~torch.isfinite(weighed).all(1)
    named = [ids[i] for i in bad.nonzero().flatten().tolist()]
    return (
        f"step {step}: the loss is {total.item()} (task {task.mean():.4g}, terms {means}); "
        f"examples: {', '.join(named[:SHOWN]) or 'none alone'}"
        + (f" and {len(named) - SHOWN} more" if len(named) > SHOWN else "")
    )


def _of_gradient(step: int, norm: Tensor, ids: Sequence[str]) -> str:
    return (
        f"step {step}: the gradient is {norm.item()} at a finite loss; "
        f"among the examples: {', '.join(ids[:SHOWN])}"
    )
