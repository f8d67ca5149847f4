"""The contract of losses."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.errors import listing
from msdkit.testing.promises import EXTREME, WIDTH, labels_of, normal, promise
from msdkit.types import MULTIMODAL, TASKS, ModelOutput, Task

BATCH, LENGTH = 3, 5
FEATURES = {
    "pooled": (WIDTH,),
    "hidden": (LENGTH, WIDTH),
    "attention": (2, LENGTH, LENGTH),
    "value": (2, LENGTH, WIDTH // 2),
}


def check_loss(loss: Any, *, task: Task = "single_label", num_classes: int = 4) -> None:
    """A distill loss `(student, teacher, labels)` or a task loss `(logits, labels)`.

    It gives [B], for a batch of one too; its gradient reaches the student alone; values and
    gradients are finite at logits of ±100 in float32 and bfloat16; where it says `divergence`, its
    mean is not negative, and zero at the teacher. A loss on features is built for `WIDTH`.
    """
    kinds = getattr(loss, "task_kinds", TASKS)
    promise(task in kinds, loss, f"is not for {task}; its task_kinds: {listing(kinds)}")
    labels = labels_of(task, BATCH, num_classes)
    near, other = (normal(BATCH, num_classes, seed=seed) for seed in range(2))
    values, gradient = _evaluate(loss, near, other, labels)
    promise(gradient > 0, loss, "sends no gradient to the student")
    _evaluate(loss, near[:1], other[:1], labels[:1])
    for dtype in (torch.float32, torch.bfloat16):
        far = (EXTREME * near.sign()).to(dtype)
        _evaluate(loss, far, -far, labels)
        _evaluate(loss, far, far, labels)
    if getattr(loss, "divergence", False):
        mean = values.mean()
        promise(mean >= -1e-6, loss, f"says `divergence`, but has a mean of {mean:.3g} < 0")
        same = _evaluate(loss, near, near, labels, features=0)[0].abs().max()
        promise(same < 1e-5, loss, f"says `divergence`, but is {same:.3g} at the teacher, not 0")


def _evaluate(
    loss: Any, student: Tensor, teacher: Tensor, labels: Tensor, features: int = 1
) -> tuple[Tensor, float]:
    """(values [B], the size of the student's gradient), after checking both."""
    where = f"at {student.dtype} logits up to {student.abs().max():.0f}"
    mine, theirs = _output(loss, student, 0), _output(loss, teacher, features)
    values = _call(loss, mine, theirs, labels)
    shape, wanted = list(values.shape), [len(student)]
    promise(shape == wanted, loss, f"must give [B] = {wanted}, one value per example; gave {shape}")
    promise(values.isfinite().all(), loss, f"is not finite {where}: {values.tolist()}")
    if not values.requires_grad:
        return values, 0.0
    own, alien = ([o.logits, *o.features.values()] for o in (mine, theirs))
    found = torch.autograd.grad(values.sum(), own + alien, allow_unused=True)
    sizes = [0.0 if g is None else float(g.float().abs().sum()) for g in found]
    promise(np.isfinite(sizes).all(), loss, f"has a gradient that is not finite {where}")
    promise(not any(sizes[len(own) :]), loss, "sends a gradient to the teacher; detach its outputs")
    return values.detach(), sum(sizes)


def _call(loss: Any, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
    if len(inspect.signature(loss.forward).parameters) == 2:
        return loss(student.logits, labels)
    if getattr(loss, "scope", "view") == "views":
        return loss({MULTIMODAL: student}, {MULTIMODAL: teacher}, labels)
    return loss(student, teacher, labels)


def _output(loss: Any, logits: Tensor, seed: int) -> ModelOutput:
    """An output with the features that the loss needs, all of them leaves of the graph."""
    count, needs = len(logits), getattr(loss, "needs", ())
    features = {
        name: normal(count, *FEATURES[name.partition(".")[0]], seed=seed).requires_grad_()
        for name in needs
    }
    mask = torch.ones(count, LENGTH, dtype=torch.bool)
    ids = [f"id{i}" for i in range(count)]
    return ModelOutput(logits.clone().requires_grad_(), features, mask, ids)
