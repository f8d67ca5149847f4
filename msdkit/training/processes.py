"""What training by several processes asks of a distiller, its engine and its state."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from msdkit import parallel, traits
from msdkit.config.schema import TrainConfig
from msdkit.distillation.distiller import Distiller
from msdkit.errors import ConfigError, listing
from msdkit.types import Batch, StepOutput


class Step(nn.Module):
    """A distiller with its loss apart from all else, which has no graph.

    The engines of several processes follow the graph of each tensor that a model returns, and wait
    for the gradients of all that they meet.
    """

    def __init__(self, distiller: Distiller) -> None:
        super().__init__()
        self.distiller = distiller

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, StepOutput]:
        """Batch of B -> the loss, and everything else"""
        output: StepOutput = self.distiller(batch, step)
        about = StepOutput(
            total=output.total.detach(),
            task=output.task.detach(),
            distill=output.distill.detach(),
            weights=output.weights,
            terms={name: values.detach() for name, values in output.terms.items()},
            logits={view: values.detach() for view, values in output.logits.items()},
            given=output.given,
        )
        return output.total, about


class FullState:
    """The state of a model whose tensors may lie in pieces: whole in files, cut when loaded."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        return parallel.whole(self.model.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        mine = self.model.state_dict()
        self.model.load_state_dict({k: parallel.like(v, mine.get(k)) for k, v in state.items()})


class FullOptimizerState:
    """The same of an optimizer, whose tensors lie as its parameters do."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        return parallel.whole(self.optimizer.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        held = {
            i: {k: parallel.like(v, parameters[i]) for k, v in values.items()}
            for i, values in state["state"].items()
        }
        self.optimizer.load_state_dict({**state, "state": held})


@contextmanager
def gathered(model: Any) -> Iterator[None]:
    """Inside, parameters that FSDP keeps in pieces are whole, so that parts can be called alone."""
    if not hasattr(model, "unshard"):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def shared_out(config: TrainConfig, batches: int | None) -> TrainConfig:
    """The config for as many processes as there are now, whose steps are those of the run's start.

    batches: of how many batches of `batch_size` a step was made then; None for a new run.
    """
    world = parallel.world()
    if batches is None:
        return config
    if batches % world:
        fit = [str(n) for n in range(1, batches + 1) if batches % n == 0]
        raise ConfigError(
            f"a step of this run is made of {batches} batches of train.batch_size "
            f"{config.batch_size} (accumulate × processes at its start), which {world} processes "
            f"cannot share evenly; accepted: {', '.join(fit)} processes"
        )
    return replace(config, accumulate=batches // world)


def check_processes(accelerator: Any, distiller: Distiller, held_out: Sized | None) -> None:
    """ConfigError for what several processes cannot do as one would."""
    world, learns = parallel.world(), traits.learns(distiller.weighting)
    sharded = accelerator.distributed_type == "FSDP"
    if sharded and accelerator.state.fsdp_plugin.auto_wrap_policy is not None:
        raise ConfigError(
            "accelerate's FSDP is set to wrap layers one by one, which wants equally many calls of "
            "the student in all processes; accepted: fsdp_auto_wrap_policy NO_WRAP"
        )
    if sharded and learns:
        raise ConfigError(
            f"weighting {type(distiller.weighting).__name__} learns from whole gradients, and "
            "FSDP keeps them in pieces; accepted: train.parallel: ddp"
        )
    masking = traits.masking(distiller.student)
    if world > 1 and any(distiller.modality_dropout.values()) and traits.observes(masking):
        raise ConfigError(
            f"masking {type(masking).__name__} with train.modality_dropout learns from another "
            f"number of calls in each of {world} processes; accepted: one process, another "
            "masking, or no dropout"
        )
    if held_out is not None and len(held_out) < world:
        raise ConfigError(
            f"train.held_out leaves {len(held_out)} examples for {world} processes; accepted: "
            "one for each or more"
        )


def start_line(config: TrainConfig, step: int, steps: int) -> str:
    """By how many processes a run goes on, and from where."""
    world = parallel.world()
    return (
        f"{world} process{'es' if world > 1 else ''} with {config.accumulate} x "
        f"{config.batch_size} examples each, from step {step} of {steps}"
    )


def tell_engine(accelerator: Any, distiller: Distiller, total: Tensor) -> None:
    """Tell DDP whether a step may leave parameters without a gradient: it costs it a search.

    total: the loss of a step that may well leave out none.
    """
    parameters = [p for p in distiller.parameters() if p.requires_grad]
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    varies = any(distiller.modality_dropout.values()) or distiller.samples
    accelerator.ddp_handler.find_unused_parameters = parallel.anywhere(varies or None in found)


def settle(student: nn.Module) -> None:
    """Make the running statistics of BatchNorms, which each process gathers from its own batches,
    the mean over all: what is scored and saved is then one model."""
    for module in student.modules():
        if parallel.world() > 1 and isinstance(module, _BatchNorm):
            for held in (module.running_mean, module.running_var):
                if held is not None:
                    held.copy_(parallel.total(held) / parallel.world())


def coupled_line(distiller: Distiller) -> str:
    """What sees less than it would in one process with all the examples of a step."""
    return (
        f"note: the examples of a batch are compared by {listing(coupled(distiller))}; each of "
        f"the {parallel.world()} processes compares its own"
    )


def coupled(distiller: Distiller) -> list[str]:
    """What compares the examples of a batch: losses, the weighting, the masking, the student."""
    named: dict[str, Any] = {term.name: term.loss for term in distiller.terms}
    for part in (distiller.weighting, traits.masking(distiller.student)):
        named[type(part).__name__.lower()] = part  # as their plugins are called
    found = [name for name, part in named.items() if traits.batch_coupled(part)]
    norms = any(isinstance(module, _BatchNorm) for module in distiller.student.modules())
    return [*found, *(["the student's BatchNorm"] if norms else [])]
