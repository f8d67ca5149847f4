"""What the training loop is made of: optimizer, schedule and engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from msdkit import parallel
from msdkit.config import TrainConfig
from msdkit.distiller import Distiller
from msdkit.errors import ConfigError
from msdkit.trackers import engine_options


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
