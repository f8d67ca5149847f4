"""Losses and gradients that are not finite: found, and named with their step and examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
        total, task = output.total.detach(), output.task.detach()
        distill = (output.weights * output.distill).detach()
        terms = {name: values.detach() for name, values in output.terms.items()}

        def message() -> str:
            means = {name: values.mean().item() for name, values in terms.items()}
            bad = ~torch.isfinite(task_weight * task) | ~torch.isfinite(distill).all(1)
            found = [ids[i] for i in bad.nonzero().flatten().tolist()]
            return (
                f"step {step}: the loss is {total.item()} (task {task.mean():.4g}, terms {means}); "
                f"examples: {', '.join(found[:SHOWN]) or 'none alone'}"
                + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
            )

        self._add(total, message)

    def gradient(self, step: int, norm: Tensor, ids: Sequence[str]) -> None:
        """The norm of a step's gradient, which may be infinite where the loss is not."""
        norm = norm.detach()

        def message() -> str:
            return (
                f"step {step}: the gradient is {norm.item()} at a finite loss; "
                f"among the examples: {', '.join(ids[:SHOWN])}"
            )

        self._add(norm, message)

    def _add(self, value: Tensor, message: Callable[[], str]) -> None:
        self._seen.append((value, message))
        if self.at_once:
            self.look()

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
