"""What the peer suite finds: one row for each of our numbers that another package computes too."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from msdkit.types import ModelOutput

LEAST = 1e-3  # numbers below are compared in units of this


@dataclass
class Agreement:
    """A row: ours, theirs, and how the definitions differ, "undone" where that is undone first."""

    ours: str
    theirs: str
    known: str = "–"
    cases: int = 0
    largest: float = 0.0

    def __call__(
        self, ours: Any, theirs: Any, tolerance: float = 1e-12, unit: float | None = None
    ) -> None:
        """One case: no number is further from theirs than `tolerance` of the largest, or units."""
        ours, theirs = (torch.as_tensor(x, dtype=torch.float64).detach() for x in (ours, theirs))
        assert ours.shape == theirs.shape
        assert torch.equal(ours.isnan(), theirs.isnan())
        largest = float(theirs.nan_to_num().abs().max())
        difference = float((ours - theirs).nan_to_num().abs().max()) / (unit or max(LEAST, largest))
        assert difference <= tolerance, f"{self.ours}: {ours} is not {theirs}"
        self.cases, self.largest = self.cases + 1, max(self.largest, difference)

    def losses(
        self, ours: Callable[..., Tensor], theirs: Callable[..., Tensor], given: Tensor, **of: Any
    ) -> None:
        """One case each for a loss and its gradient: both are functions of the student's part."""
        for which in (_value, _gradient):
            self(which(ours, given), which(theirs, given), **of)

    def row(self) -> tuple[str, ...]:
        return f"`{self.ours}`", self.theirs, str(self.cases), upwards(self.largest), self.known


def upwards(number: float) -> str:
    """A number with one digit, rounded up: 1.2e-15 -> "2e-15"."""
    if not number:
        return "0"
    power = math.floor(math.log10(number))
    digit = math.ceil(number / 10.0**power)
    return f"{digit}e{power}" if digit < 10 else f"1e{power + 1}"


def _value(loss: Callable[..., Tensor], given: Tensor) -> Tensor:
    return loss(given).mean()


def _gradient(loss: Callable[..., Tensor], given: Tensor) -> Tensor:
    given = given.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(given).mean(), given)
    return gradient


@cache
def peer(module: str) -> ModuleType:
    """A module that others wrote; the test is skipped where it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(module)


def named(package: str, what: str) -> str:
    """How the table names a thing of a package; the test is skipped where it is not installed."""
    try:
        return f"{package} {version(package)}: `{what}`"
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


SHAPES = [(1, 2), (2, 2), (7, 3), (32, 10), (5, 1000)]


def logits(
    scales: tuple[float, ...] = (1.0, 5.0, 40.0), shapes: Any = SHAPES
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Student [B, C], teacher [B, C] and labels [B], from undecided to sure and at odds."""
    for seed, shape in enumerate(shapes):
        labels = torch.arange(shape[0]) * 7 % shape[1]
        for scale in scales:
            student = drawn(*shape, seed=2 * seed, scale=scale)
            yield student, drawn(*shape, seed=2 * seed + 1, scale=scale), labels


def answers(logits: Tensor, **features: Any) -> ModelOutput:
    return ModelOutput(logits, features)
