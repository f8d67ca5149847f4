"""torch.compile for a student, and what it takes."""

from __future__ import annotations

from torch import nn


class Compilation:
    """Compiles a model in place, for inputs of any size; the names in its state stay.

    torch compiles at the first call, and anew for views and modes that it has not met.
    """

    def __init__(self, model: nn.Module) -> None:
        model.compile(dynamic=True)
        self._told = seconds_so_far()

    def seconds(self) -> float:
        """What compiling has taken since this was last asked."""
        before, self._told = self._told, seconds_so_far()
        return self._told - before


def seconds_so_far() -> float:
    """What torch.compile has taken in this process."""
    from torch._dynamo.utils import calculate_time_spent

    return calculate_time_spent().get("total_wall_time", 0.0)
