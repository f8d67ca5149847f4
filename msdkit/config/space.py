"""Search spaces: the values that a sweep tries for the keys of a config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msdkit.signatures import Problem, config_parameters, parameter_problems
from msdkit.types import PositiveFloat, PositiveInt

FORMS = "{low: …, high: …} (with log: true or step: …) or {choices: […]}"


@dataclass(kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where all that is given is whole.

    log: spread evenly over orders of magnitude; step: only low, low + step, low + 2 step, ….
    """

    low: int | float
    high: int | float
    log: bool = False
    step: PositiveInt | PositiveFloat | None = None

    def problems(self) -> Iterator[Problem]:
        """What keeps the numbers from being a range."""
        if self.low >= self.high:
            yield "", f"expected low < high, got {self.low} and {self.high}"
        elif self.log and self.low <= 0:
            yield "low", f"a logarithmic range begins above 0, got {self.low}"
        elif self.log and self.step is not None:
            yield "step", "a logarithmic range has no steps; accepted: one of log and step"
        elif self.step is not None and _rest(self.low, self.high, self.step):
            yield "step", f"steps of {self.step} from {self.low} do not meet high: {self.high}"

    def ends(self) -> list[Any]:
        """The values that a static check tries."""
        return [self.low, self.high]

    def distribution(self) -> Any:
        """The same in optuna's words."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if all(isinstance(x, int) for x in (self.low, self.high, self.step or 1)):
            step = int(self.step or 1)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(kw_only=True)
class Choices:
    """One of several values of any kind: numbers, names, lists, nodes."""

    choices: list[Any]

    def problems(self) -> Iterator[Problem]:
        """What keeps the list from being a choice."""
        if len({json.dumps(c, sort_keys=True) for c in self.choices}) < max(2, len(self.choices)):
            yield "choices", f"expected two or more different values, got {self.choices}"

    def ends(self) -> list[Any]:
        """The values that a static check tries."""
        return self.choices

    def distribution(self) -> Any:
        """The same in optuna's words, which knows but scalars: values are written as JSON."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([json.dumps(c, ensure_ascii=False) for c in self.choices])


class Space:
    """Marks an entry of `sweep` in the config's schema."""

    kind = "search range"

    def validate(self, node: Any) -> list[Problem]:
        if not isinstance(node, Mapping) or not {"low", "high", "choices"} & set(node):
            return [("", f"expected {FORMS}; got {node!r}")]
        form = Choices if "choices" in node else Range
        found = list(parameter_problems("this range", config_parameters(form), node, "key"))
        return found or list(entry(node).problems())


SPACE = Space()


def entry(node: Mapping[str, Any]) -> Range | Choices:
    """The typed form of a valid entry."""
    return Choices(**node) if "choices" in node else Range(**node)


def _rest(low: float, high: float, step: float) -> Decimal:
    """What is left of the range after its last whole step, without binary rounding."""
    lowest, highest, each = (Decimal(str(x)) for x in (low, high, step))
    return (highest - lowest) % each
