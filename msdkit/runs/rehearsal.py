"""A step before the first one: what does not fit is told before anything is written."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import torch

from msdkit.data.split import Split
from msdkit.distillation.distiller import Distiller
from msdkit.parallel import world
from msdkit.training.processes import tell_engine


def rehearse(distiller: Distiller, split: Split, accelerator: Any) -> None:
    """One step forward on two examples of the training data.

    Nothing stays of it, neither in running means and memories nor in the random state.
    """
    device = accelerator.device
    before = deepcopy(distiller.state_dict())  # running means and memories will change
    batch = split.__getitems__(list(range(min(2, len(split)))))
    distiller.to(device).train()
    several = world() > 1
    with (
        torch.random.fork_rng(),
        torch.set_grad_enabled(several),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the run itself will warn
        output = distiller(batch.to(device))
    if several:
        tell_engine(accelerator, distiller, output.total)
    distiller.load_state_dict(before, strict=False)  # a part that was just made stays
