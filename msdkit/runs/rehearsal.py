"""What does not fit is told before anything is written: widths of features, a step as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Literal, cast

import torch
from torch import nn

from msdkit import traits
from msdkit.data.inputs import ModelInputs
from msdkit.data.longest import try_longest
from msdkit.data.split import Split
from msdkit.distillation.distiller import Distiller
from msdkit.errors import ConfigError
from msdkit.failures import memory
from msdkit.parallel import world
from msdkit.signatures import context_parameters
from msdkit.training.processes import tell_engine
from msdkit.types import View

WIDE = {"pooled", "hidden"}  # features whose last dimension is the model's width


@torch.no_grad()
def check_widths(
    distiller: Distiller,
    who: Literal["student", "teacher"],
    model: nn.Module,
    inputs: Callable[[], ModelInputs],
) -> None:
    """ConfigError where features are not as wide as the losses were told, which is `width`.

    Asked of two examples, before the teacher answers all of them for a cache.
    """
    told = {
        need.partition(".")[0]
        for term in distiller.terms
        if f"{who}_dim" in context_parameters(cast(Any, type(term.loss)))
        for need in term.needs
    }
    asked = distiller.student_features if who == "student" else distiller.teacher_features
    names = [name for name in asked if name.partition(".")[0] in told & WIDE]
    if not names:
        return
    training, device, split = model.training, next(model.parameters()).device, Split(inputs())
    batch = split.__getitems__(list(range(min(2, len(split))))).to(device)
    with torch.random.fork_rng():
        (output,) = model.eval()(batch.inputs, distiller.views[:1], names).values()
    model.train(training)
    for name in names:
        wide, width = output.features[name].shape[-1], traits.width(model)
        if wide != width:
            raise ConfigError(
                f"{who}: {type(model).__name__} says width = {width} and gives '{name}' {wide} "
                f"wide; losses on features are told its `width`, which must be theirs"
            )


def rehearse(
    distiller: Distiller,
    split: Split,
    accelerator: Any,
    others: Sequence[Split] = (),
    views: Sequence[View] = (),
) -> None:
    """One step forward on the longest examples of the training data, and the student's answers to
    the longest of each other split, so that no text turns out too long after training.

    Nothing stays of it, neither in running means and memories nor in the random state.
    """
    before = deepcopy(distiller.state_dict())  # running means and memories will change
    distiller.to(accelerator.device).train()
    several = world() > 1
    with (
        torch.random.fork_rng(),
        torch.set_grad_enabled(several),
        warnings.catch_warnings(),
        memory("a first step on two examples", "choose a smaller student"),
    ):
        warnings.simplefilter("ignore")  # the run itself will warn
        read = [x for x in (split.inputs, split.teacher_inputs) if x is not None]
        output = try_longest(
            lambda rows: distiller(split.__getitems__(rows).to(accelerator.device)),
            read,
            split.rows.numpy(),
        )
        for other in others:  # after the step, which leaves means to a masking that asks for them
            answer_longest(distiller.student, other, views, accelerator.device)
    if several:
        tell_engine(accelerator, distiller, output.total)
    distiller.load_state_dict(before, strict=False)  # a part that was just made stays


def answer_longest(model: Any, split: Split, views: Sequence[View], device: Any) -> None:
    """DataError unless the model can answer the longest examples of a split."""
    training = model.training
    model.eval()

    def answers(rows: list[int]) -> Any:
        batch = split.__getitems__(rows).to(device)
        return model(batch.inputs, list(views))

    with torch.random.fork_rng(), torch.no_grad():
        try_longest(answers, [split.inputs], split.rows.numpy())
    model.train(training)
