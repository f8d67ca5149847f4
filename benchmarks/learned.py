"""What learned weights cost: training steps with them against steps with constant weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import torch
from timing import seconds_each
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from workload import step

from msdkit.types import Batch
from msdkit.weightings.learned import Learned

TURNS = 7  # medians of as many
STEPS = Learned().interval  # one update at the default interval


class DoubleBackward(Learned):
    """The same update as it is usually written: the virtual step stays in the graph."""

    def _update(self, distiller: Any, batch: Batch, held_out: Batch) -> None:
        student, view = dict(distiller.student.named_parameters()), distiller.views[0]
        with sdpa_kernel(SDPBackend.MATH):  # fused attention is not differentiated twice
            output = distiller(batch)
            weighed = (self(output.given) * output.distill).sum(1)
            total = (distiller.task_weight * output.task + weighed).mean()
            gradient = torch.autograd.grad(
                total, list(student.values()), create_graph=True, materialize_grads=True
            )
            ahead = {
                name: p - self.virtual_lr * g
                for (name, p), g in zip(student.items(), gradient, strict=True)
            }
            distiller.student.eval()
            outputs = functional_call(distiller.student, ahead, (held_out.inputs, [view]))
            distiller.student.train()
            meta = distiller.task_loss(outputs[view].logits, held_out.labels).mean()
            parameters = list(self.net.parameters())  # type: ignore[union-attr]
            for p, g in zip(parameters, torch.autograd.grad(meta, parameters), strict=True):
                p.grad = g
        self.adam.step()  # type: ignore[union-attr]


def training(trainer: Any, batch: Batch, held_out: Batch, length: int) -> Callable[[], None]:
    """`length` training steps, with updates where the trainer's weighting learns."""
    weighting, steps = trainer.distiller.weighting, count()
    trainer.model.train()

    def run() -> None:
        for _, number in zip(range(length), steps, strict=False):
            if hasattr(weighting, "update") and number % weighting.interval == 0:
                weighting.update(trainer.distiller, batch, held_out)
            step(trainer, batch)

    return run


def ratios(
    trainer: Callable[[Any], Any], batch: Batch, held_out: Batch
) -> Mapping[str, tuple[float, float]]:
    """{what: (seconds of a step, seconds of a step with constants)}; `trainer(weighting)` makes a
    trainer of the same student."""
    weightings: dict[str, tuple[Any, int]] = {  # with the steps that are timed together
        "population": ("population", STEPS),
        "learned": (Learned(), STEPS),
        "learned, interval 1": (Learned(interval=1), 3),
        "double backward, interval 1": (DoubleBackward(interval=1), 3),
    }
    actions = {n: training(trainer(w), batch, held_out, k) for n, (w, k) in weightings.items()}
    seconds = {n: s / weightings[n][1] for n, s in seconds_each(actions, TURNS).items()}
    plain = seconds.pop("population")
    return {f"{name} / population": (s, plain) for name, s in seconds.items()}
