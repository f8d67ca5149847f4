"""What the contract checks share: how a broken promise is told, and seeded inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from msdkit.types import Task

WIDTH = 8  # of the features that losses are checked with: student_dim and teacher_dim
EXAMPLES = 1000  # of a split are looked at
EXTREME = 100.0  # logits that everything must survive


def promise(kept: Any, plugin: Any, sentence: str) -> None:
    """AssertionError "<class> <sentence>" unless the promise is kept."""
    if not kept:
        cls = plugin if isinstance(plugin, type) else type(plugin)
        raise AssertionError(f"{cls.__name__} {sentence}")


def answer(method: Callable[..., Any] | None, *arguments: Any) -> Any:
    """The answer of an optional method, None where there is no such method."""
    return None if method is None else method(*arguments)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers that leave torch's global generator alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels_of(task: Task, count: int, num_classes: int) -> Tensor:
    """int [B], or float [B, C] in {0, 1}, [0, 1] or anywhere; every class occurs if B >= C"""
    if task == "regression":
        return normal(count, num_classes, seed=2)
    index = torch.arange(count) % num_classes
    if task == "single_label":
        return index
    hot = torch.nn.functional.one_hot(index, num_classes).float()
    return hot if task == "multi_label" else 0.7 * hot + 0.3 / num_classes
