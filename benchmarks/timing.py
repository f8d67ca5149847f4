"""Medians of actions that take turns, and the machine's peak at matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

Action = Callable[[], Any]
Shape = tuple[int, int, int]  # m, k, n of [m, k] x [k, n]


class Seconds(float):
    """What an action says that it took, where part of it does not count."""


def wait() -> None:
    """Until an accelerator has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_each(actions: Mapping[str, Action], repeats: int, warm: int = 2) -> dict[str, float]:
    """Median seconds of each action; they take turns, so that drift of the machine hits all."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + warm):
        for name, action in actions.items():
            wait()
            start = time.perf_counter()
            said = action()
            wait()
            took = said if isinstance(said, Seconds) else time.perf_counter() - start
            if turn >= warm:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def matmul(shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Action:
    """One matrix product of this shape."""
    m, k, n = shape
    left = torch.randn(m, k, device=device, dtype=dtype)
    right = torch.randn(k, n, device=device, dtype=dtype)
    out = torch.empty(m, n, device=device, dtype=dtype)

    def run() -> None:
        torch.mm(left, right, out=out)

    return run


def matmul_rates(
    shapes: Sequence[Shape], device: str = "cpu", dtype: torch.dtype = torch.float32
) -> dict[Shape, float]:
    """{shape: FLOP/s}, two for each multiply-add."""
    actions = {str(shape): matmul(shape, device, dtype) for shape in shapes}
    seconds = seconds_each(actions, 9)
    return {s: 2 * s[0] * s[1] * s[2] / seconds[str(s)] for s in shapes}
