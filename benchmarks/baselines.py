"""The same steps as people write them by hand, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from msdkit.types import Batch

TEMPERATURE = 2.0


def plain_msd_step(
    student: nn.Module, optimizer: Any, schedule: Any, views: list[Any]
) -> Callable[[Batch], float]:
    """Modality-specific distillation with saliency weights, in one function."""

    def step(batch: Batch) -> float:
        outputs = student(batch.inputs, views)
        teacher = batch.teacher_logits
        log_probs = {v: F.log_softmax(t, -1) for v, t in teacher.items()}
        full = log_probs["multimodal"]
        loss = F.cross_entropy(outputs["multimodal"].logits, batch.labels)
        for view in views:
            log_t = F.log_softmax(teacher[view] / TEMPERATURE, -1)
            log_s = F.log_softmax(outputs[view].logits / TEMPERATURE, -1)
            kl = TEMPERATURE**2 * (log_t.exp() * (log_t - log_s)).sum(-1)
            weight = 1.0
            if view != "multimodal":
                other = "image" if view == "text" else "text"
                removed = (full.exp() * (full - log_probs[other])).sum(-1)
                weight = removed.clamp_min(0).tanh()
            loss = loss + (weight * kl).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def copy_bytes(source: np.ndarray, target: np.ndarray) -> None:
    """As many bytes by memcpy."""
    np.copyto(target, source)


def seconds_each(actions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each action; they take turns, so that drift of the machine hits all."""
    import statistics
    import time

    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 2):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if turn >= 2:  # the first two warm up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def linear_schedule(optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """A linear decay, as in the framework's run."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(0.0, 1 - s / steps))
