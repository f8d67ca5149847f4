"""The base of shipped weightings; a plugin may as well be any module with the same `forward`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from msdkit.errors import ConfigError
from msdkit.traits import of_kind
from msdkit.types import WeightingInput

# What a wrapper answers as the weighting inside does, where it has no answer of its own: all but
# what a weighting says of its own parameters and purpose
HANDED_ON = of_kind("weighting") - {"candidates", "control"}


class Weighting(nn.Module):
    """How much each view counts, for each example.

    Optional beside these methods: `fit(teacher_logits, labels, ids)`, called once over the training
    set; `update(distiller, batch, held_out)`, called before every `interval`-th step with examples
    set aside from training, and `learning`, true inside of it; `task_kinds`, where not all are
    served. per_step: the weights change with the step: its number, its losses or its student;
    batch_coupled: an example's weights depend on the others of its batch.
    """

    per_step: ClassVar[bool] = False
    batch_coupled: ClassVar[bool] = False

    def teacher_views(self, modalities: Sequence[str]) -> list[str]:
        """Views of the teacher that are needed beyond the distilled ones."""
        return []

    def validate(self, views: Sequence[str]) -> None:
        """Raise ConfigError when the parameters do not fit the distilled views."""

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V], detached, >= 0; column 0 is the multimodal view"""
        raise NotImplementedError


class Wrapper(nn.Module):
    """A weighting around another, `of`; it has the optional hooks that the inner one has."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self.of = of

    def inner(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]: the weights of `of`; ConfigError on another shape"""
        weights = self.of(inputs)
        if weights.shape != inputs.losses.shape:
            raise ConfigError(
                f"weighting {type(self.of).__name__} gave weights of shape {list(weights.shape)}, "
                f"expected [B, V] = {list(inputs.losses.shape)}"
            )
        return weights

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name) if name in HANDED_ON else super().__getattr__(name)
