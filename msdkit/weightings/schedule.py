"""A schedule: another weighting's weights, ramped over the steps of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from torch import Tensor, nn

from msdkit import traits
from msdkit.errors import ConfigError, listing, suggest
from msdkit.registry import WEIGHTINGS
from msdkit.types import NonNegativeFloat, PositiveInt, WeightingInput
from msdkit.weightings.base import Wrapper


@WEIGHTINGS.register("schedule")
class Schedule(Wrapper):
    """Another weighting's weights, times a factor that moves from one number to another.

    Formula: w_iv(k) = f(k) · u_iv, f(k) = start + (end − start) · r(min(1, k / steps))
    linear: r(x) = x
    cosine: r(x) = (1 − cos πx) / 2

    u are the weights of `of`, any weighting, at step k, counted from 0. The factor goes from
    `start` to `end` in `steps` and stays there; `shape` chooses r. Views beside `views` (None: all)
    keep u_iv.

    When: To let the student learn the task before single views count, or to fade them out at the
    end. One more thing to tune: compare with the weighting alone first.

    Source: msdkit's own; fading distillation out linearly is the teacher annealing of Clark et al.,
    BAM! Born-Again Multi-Task Networks, ACL 2019 (arXiv 1907.04829), section 3.
    """

    per_step = True

    def __init__(
        self,
        *,
        of: Annotated[nn.Module, WEIGHTINGS],
        steps: PositiveInt,
        start: NonNegativeFloat = 0.0,
        end: NonNegativeFloat = 1.0,
        shape: Literal["linear", "cosine"] = "linear",
        views: list[str] | None = None,
    ) -> None:
        super().__init__(of)
        self.steps, self.start, self.end = steps, start, end
        self.shape, self.views = shape, views

    def validate(self, views: Sequence[str]) -> None:
        """Every scheduled view is distilled, and the inner weighting agrees."""
        for i, name in enumerate(self.views or []):
            if name not in views:
                raise ConfigError(
                    f"views.{i}: '{name}' is not a distilled view. "
                    f"{suggest(name, views)}Distilled: {listing(views)}"
                )
        if validate := traits.validate(self.of):
            validate(views)

    def factor(self, step: int) -> float:
        """f(step)"""
        done = min(1.0, step / self.steps)
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        factor = self.factor(inputs.step)
        row = [factor if self.views is None or v in self.views else 1.0 for v in inputs.views]
        weights = self.inner(inputs)
        return weights * weights.new_tensor(row)
