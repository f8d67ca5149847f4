"""The contract of losses."""

from __future__ import annotations

import inspect
import warnings
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit import traits
from msdkit.errors import listing
from msdkit.testing.independence import check_gradients, check_independence, taken, unchanged
from msdkit.testing.promises import EXTREME, WIDTH, labels_of, normal, promise
from msdkit.types import MULTIMODAL, ModelOutput, Task

BATCH, LENGTH, LAYERS = 3, 5, 2
VIEWS = (MULTIMODAL, "text", "image")
FEATURES = {
    "pooled": (WIDTH,),
    "hidden": (LENGTH, WIDTH),
    "attention": (2, LENGTH, LENGTH),
    "value": (2, LENGTH, WIDTH // 2),
}
LAYERED = ("hidden", "attention", "value")  # [B, ..., L, *] of every layer


def check_loss(loss: Any, *, task: Task = "single_label", num_classes: int = 4) -> None:
    """A distill loss `(student, teacher, labels)` or a task loss `(logits, labels)`.

    It gives [B], for a batch of one too (where it may warn), and changes nothing that it is given;
    an example's value and gradient are its own, whatever the others of the batch are, unless it
    says `batch_coupled`; its gradient reaches the student alone, and no position that is padding;
    values and gradients are finite at logits and features
    around ±100 in float32 and bfloat16, and for an example of padding alone; where it says
    `divergence`, its mean is not negative, and zero at the teacher. A loss on features is built
    for `WIDTH` and gets two pairs of layers; one with the scope "views" gets text and image too.
    """
    kinds = traits.task_kinds(loss)
    promise(task in kinds, loss, f"is not for {task}; its task_kinds: {listing(kinds)}")
    labels = labels_of(task, BATCH, num_classes)
    near, other = (normal(BATCH, num_classes, seed=seed) for seed in range(2))
    _check_in_place(loss, _given(loss, near, other, labels))
    values, gradient = _evaluate(loss, near, other, labels)
    promise(gradient > 0, loss, "sends no gradient to the student")
    _check_independence(loss, _given(loss, near, other, labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _evaluate(loss, near[:1], other[:1], labels[:1])
    _evaluate(loss, near, other, labels, empty=1)
    for dtype in (torch.float32, torch.bfloat16):
        far = (EXTREME * near.sign()).to(dtype)
        _evaluate(loss, far, -far, labels)
        _evaluate(loss, far, far, labels, same=True)
    if traits.divergence(loss):
        mean = values.mean()
        promise(mean >= -1e-6, loss, f"says `divergence`, but has a mean of {mean:.3g} < 0")
        zero = _evaluate(loss, near, near, labels, same=True)[0].abs().max()
        promise(zero < 1e-5, loss, f"says `divergence`, but is {zero:.3g} at the teacher, not 0")


def _given(
    loss: Any, student: Tensor, teacher: Tensor, labels: Tensor, seed: int = 0
) -> dict[str, Any]:
    mine, theirs = _outputs(loss, student, seed, 0), _outputs(loss, teacher, seed + 1, 0)
    return {"student": mine, "teacher": theirs, "labels": labels}


def _check_in_place(loss: Any, given: dict[str, Any]) -> None:
    """Of tensors that need no gradient, which autograd would not let a loss change."""
    free = taken(given, list(range(BATCH)))
    with torch.no_grad(), unchanged(loss, free):
        _value(loss, free)


def _check_independence(loss: Any, given: dict[str, Any]) -> None:
    """Other examples have other answers, features and labels."""
    shape = given["student"][MULTIMODAL].logits.shape
    mine, theirs = (normal(*shape, seed=seed) for seed in (20, 21))
    others = _given(loss, mine, theirs, given["labels"].roll(1, 0), seed=20)
    check_independence(loss, partial(_value, loss), given, others)
    values = _value(loss, given)
    check_gradients(loss, values, _leaves(given["student"]))


def _value(loss: Any, given: dict[str, Any]) -> Tensor:
    """[B], by a copy: memories and running means go on at each call"""
    return _call(deepcopy(loss), given["student"], given["teacher"], given["labels"])


def _evaluate(
    loss: Any, student: Tensor, teacher: Tensor, labels: Tensor, same: bool = False, empty: int = 0
) -> tuple[Tensor, float]:
    """(values [B], the size of the student's gradient), after checking both.

    same: both have the same features; empty: so many examples are padding alone.
    """
    where = f"at {student.dtype} logits up to {student.abs().max():.0f}"
    where += ", one example all padding" if empty else ""
    mine = _outputs(loss, student, 0, empty)
    theirs = _outputs(loss, teacher, 0 if same else 1, empty)
    values = _call(loss, mine, theirs, labels)
    shape, wanted = list(values.shape), [len(student)]
    promise(shape == wanted, loss, f"must give [B] = {wanted}, one value per example; gave {shape}")
    promise(values.isfinite().all(), loss, f"is not finite {where}: {values.tolist()}")
    if not values.requires_grad:
        return values, 0.0
    own, alien = _leaves(mine), _leaves(theirs)
    found = torch.autograd.grad(values.sum(), [*own, *alien], allow_unused=True)
    sizes = [0.0 if g is None else float(g.float().abs().sum()) for g in found]
    promise(np.isfinite(sizes).all(), loss, f"has a gradient that is not finite {where}")
    promise(not any(sizes[len(own) :]), loss, "sends a gradient to the teacher; detach its outputs")
    for output in mine.values():
        _check_padding(loss, output, dict(zip(own, found[: len(own)], strict=True)))
    return values.detach(), sum(sizes)


def _check_padding(loss: Any, output: ModelOutput, gradients: dict[Tensor, Tensor | None]) -> None:
    assert output.mask is not None
    for name, feature in output.features.items():
        gradient = gradients[feature]
        if gradient is not None and name.partition(".")[0] in LAYERED:
            padding = gradient.movedim(-2, 1)[~output.mask]
            promise(
                not padding.any(), loss, f"reads '{name}' at padding; leave out what mask hides"
            )


def _call(
    loss: Any, student: dict[str, ModelOutput], teacher: dict[str, ModelOutput], labels: Tensor
) -> Tensor:
    if len(inspect.signature(loss.forward).parameters) == 2:
        return loss(student[MULTIMODAL].logits, labels)
    if traits.scope(loss) == "views":
        return loss(student, teacher, labels)
    return loss(student[MULTIMODAL], teacher[MULTIMODAL], labels)


def _leaves(outputs: dict[str, ModelOutput]) -> list[Tensor]:
    return [x for output in outputs.values() for x in (output.logits, *output.features.values())]


def _outputs(loss: Any, logits: Tensor, seed: int, empty: int) -> dict[str, ModelOutput]:
    """{view: an output with the features that the loss needs}, all of them leaves of the graph."""
    names = _feature_names(traits.needs(loss))
    count, scale = len(logits), EXTREME if logits.abs().max() >= EXTREME else 1.0
    lengths = LENGTH - torch.arange(count)[:, None]
    mask = torch.arange(LENGTH) < lengths
    mask[:empty] = False
    ids = [f"id{i}" for i in range(count)]
    outputs = {}
    for i, view in enumerate(VIEWS):
        features = {
            name: (scale * _random(name, count, seed + 2 * i)).to(logits.dtype).requires_grad_()
            for name in names
        }
        rolled = logits.roll(i, dims=-1).detach().requires_grad_()
        outputs[view] = ModelOutput(rolled, features, mask, ids)
    return outputs


def _feature_names(needs: Any) -> list[str]:
    """What the needs ask for: two layers where they name a kind of features that layers have."""
    names = []
    for need in needs:
        names += [f"{need}.{k}" for k in range(1, LAYERS + 1)] if need in LAYERED else [need]
    return names


def _random(name: str, count: int, seed: int) -> Tensor:
    kind, _, layer = name.partition(".")
    return normal(count, *FEATURES[kind], seed=seed + 10 * int(layer or 0))
