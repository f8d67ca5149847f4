"""The base of shipped weightings; a plugin may as well be any module with the same `forward`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from msdkit.types import WeightingInput


class Weighting(nn.Module):
    """How much each view counts, for each example."""

    def teacher_views(self, modalities: Sequence[str]) -> list[str]:
        """Views of the teacher that are needed beyond the distilled ones."""
        return []

    def validate(self, views: Sequence[str]) -> None:
        """Raise ConfigError when the parameters do not fit the distilled views."""

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V], detached, >= 0; column 0 is the multimodal view"""
        raise NotImplementedError
