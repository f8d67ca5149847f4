"""Population weights: constants per view for the whole data set."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from msdkit.errors import ConfigError, listing, suggest
from msdkit.registry import WEIGHTINGS
from msdkit.types import NonNegativeFloat, WeightingInput
from msdkit.weightings.base import Weighting


@WEIGHTINGS.register("population")
class Population(Weighting):
    """One constant per view: `weights: 0.5` for all, or `{multimodal: 1, text: 0.5, image: 0.2}`.

    With a mapping, every distilled view needs its own number. The population weights of Jin et al.,
    Findings of EMNLP 2021 (arXiv 2101.01881).
    """

    def __init__(self, *, weights: NonNegativeFloat | dict[str, NonNegativeFloat] = 1.0) -> None:
        super().__init__()
        self.weights = weights

    def validate(self, views: Sequence[str]) -> None:
        if not isinstance(self.weights, dict):
            return
        for name in self.weights:
            if name not in views:
                raise ConfigError(
                    f"weights.{name}: '{name}' is not a distilled view. "
                    f"{suggest(name, views)}Distilled: {listing(views)}"
                )
        missing = [v for v in views if v not in self.weights]
        if missing:
            raise ConfigError(f"weights: no weight for the distilled view(s) {listing(missing)}")

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        names = list(inputs.views)
        self.validate(names)
        row = [self.weights[v] if isinstance(self.weights, dict) else self.weights for v in names]
        return inputs.losses.new_tensor(row).expand(inputs.losses.shape[0], len(names))
