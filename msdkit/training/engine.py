"""What the training loop runs on: optimizer, schedule, engine, compilation, trackers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from msdkit import parallel
from msdkit.config.schema import TrainConfig
from msdkit.distillation.distiller import Distiller
from msdkit.errors import ConfigError
from msdkit.training.stopping import Stopped

PLAIN = ("NO", "MULTI_CPU", "MULTI_GPU")  # ways of accelerate that leave a step as torch has it


def trained(distiller: Distiller) -> list[nn.Parameter]:
    """The parameters that the optimizer moves: not those of the weighting."""
    modules = filter(None, (distiller.student, distiller.losses, distiller.task_loss))
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def optimizer_for(config: TrainConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.AdamW:
    """AdamW; biases and norms do not decay."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2]},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def schedule_for(config: TrainConfig, optimizer: Any, steps: int) -> Any:
    """The learning-rate schedule, from transformers."""
    from transformers import get_scheduler

    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    warmup = round(config.warmup * steps)
    return get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps)


def accelerator_for(config: TrainConfig, folder: Path) -> Any:
    """accelerate's engine: the device, mixed precision, trackers, and several processes as one.

    folder: the run's, where trackers keep files. With `parallel: fsdp` parameters, gradients and
    the optimizer lie in pieces on the processes; what `accelerate launch` was told of it comes
    first.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)  # several runs in one process may differ in it
    parallel.join()
    several, precision = parallel.world() > 1, config.precision
    # Memories hold equal numbers everywhere
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
    try:
        accelerator = Accelerator(
            mixed_precision="no" if precision == "fp32" else precision,
            cpu=several and not torch.cuda.is_available(),
            kwargs_handlers=[ddp],
            **engine_options(config.tracker, folder),
        )
    except ValueError as error:
        raise ConfigError(f"train.precision: {precision} cannot run here: {error}") from error
    if precision == "fp16" and accelerator.device.type == "cpu":  # accelerate would ignore it
        raise ConfigError("train.precision: fp16 needs a GPU; a CPU runs fp32 or bf16")
    launched = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if (
        several
        and (config.parallel == "fsdp" or launched)
        and accelerator.distributed_type != "FSDP"
    ):
        _choose_fsdp(accelerator.state)
    if accelerator.distributed_type == "FSDP" and not accelerator.is_fsdp2:
        raise ConfigError("accelerate is set to FSDP 1; accepted: fsdp_version 2, or DDP")
    return accelerator


def _choose_fsdp(state: Any) -> None:
    """FSDP2 with parameters in full precision, as DDP has them; also on CPUs."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    state.distributed_type = DistributedType.FSDP


class Calls(NamedTuple):
    """What each step calls of the engine: torch's own functions where accelerate adds nothing."""

    optimizer: Any
    autocast: Callable[[], AbstractContextManager[Any]]
    backward: Callable[[Tensor], None]
    clip: Callable[[Sequence[nn.Parameter], float], Tensor]  # gives the norm before


def calls_of(accelerator: Any, optimizer: Any) -> Calls:
    """The calls for an optimizer that `accelerator` has prepared.

    accelerate's own look for packages on the disk and read signatures at each step, which takes
    longer than what a small step computes on the way.
    """
    casts = accelerator.mixed_precision != "no"
    autocast = accelerator.autocast if casts else nullcontext
    held = [p for group in optimizer.param_groups for p in group["params"]]
    whole = not any(hasattr(p, "full_tensor") for p in held)  # preparing may forget that it is FSDP
    if whole and accelerator.scaler is None and accelerator.distributed_type in PLAIN:
        clip = nn.utils.clip_grad_norm_
        return Calls(optimizer.optimizer, autocast, Tensor.backward, clip)

    def whole_norm(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
        return parallel.whole(accelerator.clip_grad_norm_(parameters, most))

    return Calls(optimizer, autocast, accelerator.backward, whole_norm)


class Compilation:
    """Compiles a model in place, for inputs of any size; the names in its state stay.

    torch compiles at the first call, and anew for views and modes that it has not met.
    """

    def __init__(self, model: nn.Module) -> None:
        model.compile(dynamic=True)
        self._told = seconds_so_far()

    def seconds(self) -> float:
        """What compiling has taken since this was last asked."""
        before, self._told = self._told, seconds_so_far()
        return self._told - before


def seconds_so_far() -> float:
    """What torch.compile has taken in this process."""
    from torch._dynamo.utils import calculate_time_spent

    return calculate_time_spent().get("total_wall_time", 0.0)


PROJECT, FOLDER = "msdkit", "tracker"


def engine_options(tracker: str | None, folder: Path) -> dict[str, Any]:
    """What accelerate's engine must know of a tracker; ConfigError when it is not installed."""
    if tracker is None:
        return {}
    from accelerate.tracking import get_available_trackers

    if tracker not in map(str, get_available_trackers()):
        message = f"train.tracker: {tracker} is not installed; `pip install {tracker}`"
        raise ConfigError(message)
    return {"log_with": tracker, "project_dir": folder / FOLDER}


@contextmanager
def tracked(engine: Any, about: Mapping[str, Any], folder: Path, step: int) -> Iterator[None]:
    """Inside, what is told to `engine.log` reaches its trackers; without any, nothing happens.

    about: flat values of the config; folder: the run's, which it is named after. What goes on after
    `step` steps is the same run in TensorBoard, which drops the steps that are done anew, in
    trackio, which keeps both, and by Weights & Biases' `resume`; MLflow begins another run.
    """
    if engine.log_with and parallel.is_main():
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        values = {
            k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in about.items()
        }
        engine.init_trackers(PROJECT, values, _options(folder, step))
    try:
        yield
    except Stopped:  # it goes on later, so it does not end here
        raise
    except BaseException:
        _finish(engine)
        raise
    _finish(engine)


def _options(folder: Path, step: int) -> dict[str, dict[str, Any]]:
    """Where and under which name each tracker keeps the run."""
    name = "/".join(folder.parts[-3:])
    return {
        "tensorboard": {"purge_step": step + 1} if step else {},
        "wandb": {"name": name, "dir": str(folder / FOLDER), "resume": "auto"},
        "mlflow": {"run_name": name},
        "trackio": {"name": name, "resume": "allow" if step else "never"},
    }


def _finish(engine: Any) -> None:
    """`end_training` would part the processes too, which have yet to evaluate."""
    for tracker in engine.trackers:
        tracker.finish()
    engine.trackers.clear()
