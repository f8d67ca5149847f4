"""Population weights: constants per view for the whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from msdkit.errors import ConfigError, listing, suggest
from msdkit.registry import WEIGHTINGS
from msdkit.types import NonNegativeFloat, WeightingInput
from msdkit.weightings.base import Weighting

Constants = NonNegativeFloat | dict[str, NonNegativeFloat]


@WEIGHTINGS.register("population")
class Population(Weighting):
    """One constant per view for the whole data set.

    Formula: w_iv = c_v for every example i

    `weights`: one number for all views (1 if nothing is said), or a number for each distilled view:
    `{multimodal: 1, text: 0.5, image: 0.2}`. `search`: several such weights instead, of which a run
    keeps the best on validation data.

    When: The first thing to try, and the yardstick of all weights per example. Right where one
    modality matters alike in all examples.

    Source: Jin et al., Modality-specific Distillation, Findings of EMNLP 2021 (arXiv 2101.01881),
    population-based weighting; the abstract says that constants are used, the search is msdkit's.
    """

    def __init__(
        self, *, weights: Constants | None = None, search: list[Constants] | None = None
    ) -> None:
        super().__init__()
        if weights is not None and search is not None:
            raise ConfigError(
                "population: weights and search are both given; accepted: one of them"
            )
        if search == []:
            raise ConfigError("search: the list is empty; accepted: at least one entry")
        self.weights: Constants = 1.0 if weights is None else weights
        self.search = search

    def candidates(self) -> list[dict[str, Any]]:
        """The `weights` of `search`, each to be tried in a run."""
        return [{"weights": weights} for weights in self.search or []]

    def validate(self, views: Sequence[str]) -> None:
        """Every mapping holds exactly the distilled views."""
        if self.search is None:
            _check("weights", self.weights, views)
        for i, weights in enumerate(self.search or []):
            _check(f"search.{i}", weights, views)

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        if self.search is not None:
            raise ConfigError("population: search is resolved by msdkit run")
        names = list(inputs.views)
        self.validate(names)
        row = [self.weights[v] if isinstance(self.weights, dict) else self.weights for v in names]
        return inputs.losses.new_tensor(row).expand(inputs.losses.shape[0], len(names))


def _check(where: str, weights: Constants, views: Sequence[str]) -> None:
    if not isinstance(weights, dict):
        return
    for name in weights:
        if name not in views:
            raise ConfigError(
                f"{where}.{name}: '{name}' is not a distilled view. "
                f"{suggest(name, views)}Distilled: {listing(views)}"
            )
    missing = [v for v in views if v not in weights]
    if missing:
        raise ConfigError(f"{where}: no weight for the distilled view(s) {listing(missing)}")
