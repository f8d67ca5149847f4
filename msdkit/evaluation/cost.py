"""What a model costs to run: parameters, FLOPs and speed, its processors' encoders counted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from msdkit.types import MULTIMODAL

FLOP_EXAMPLES, SPEED_EXAMPLES, REPEATS = 16, 64, 3


def cost(saved: Any, examples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Parameters, FLOPs per example and examples a second, from raw values to logits.

    FLOPs count two for each multiply-add of matrix products, convolutions and attention, on single
    examples (no padding), averaged. Speed is the median of three batches of up to 64 examples.
    """
    parameters = sum(p.numel() for p in saved.model.parameters())
    encoders = sum(p.num_parameters for p in saved.processors.values())
    return {
        "parameters": parameters + encoders,
        "parameters_encoders": encoders,
        "flops_per_example": _flops(saved, examples[:FLOP_EXAMPLES]),
        "examples_per_second": _speed(saved, examples[:SPEED_EXAMPLES]),
    }


def together(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What several models cost that all answer each example, one after the other."""
    found = {key: sum(c[key] for c in costs) for key in costs[0]}
    speeds = [1 / c["examples_per_second"] for c in costs]
    return {**found, "examples_per_second": 1 / sum(speeds)}


def _flops(saved: Any, examples: Sequence[Mapping[str, Any]]) -> float:
    saved.logits(examples[:1])  # what is loaded on the first call does not count
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter, torch.no_grad():
        for example in examples:
            saved.logits([example])
    return counter.get_total_flops() / len(examples)


def _speed(saved: Any, examples: Sequence[Mapping[str, Any]]) -> float:
    saved.logits(examples, [MULTIMODAL])
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        saved.logits(examples, [MULTIMODAL])[MULTIMODAL].cpu()  # waits for an accelerator
        times.append(time.perf_counter() - start)
    return len(examples) / statistics.median(times)
