"""What the training loop is made of: the order of examples, optimizer, schedule and engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from msdkit.config import TrainConfig
from msdkit.errors import ConfigError


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of examples: a function of (seed, epoch) and nothing else."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator)


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


def accelerator_for(precision: str) -> Any:
    """accelerate's engine: the device, mixed precision and gradient scaling."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # several runs in one process may differ in precision
    try:
        accelerator = Accelerator(mixed_precision="no" if precision == "fp32" else precision)
    except ValueError as error:
        raise ConfigError(f"train.precision: {precision} cannot run here: {error}") from error
    if precision == "fp16" and accelerator.device.type == "cpu":  # accelerate would ignore it
        raise ConfigError("train.precision: fp16 needs a GPU; a CPU runs fp32 or bf16")
    if accelerator.num_processes > 1:
        raise ConfigError(f"got {accelerator.num_processes} processes; msdkit trains in one so far")
    return accelerator
