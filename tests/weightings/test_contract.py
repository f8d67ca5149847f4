"""What the contract check says of task kinds and intervals."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from msdkit.registry import WEIGHTINGS
from msdkit.testing.weightings import check_weighting
from msdkit.types import TASKS, WeightingInput


class Plain(nn.Module):
    def forward(self, inputs: WeightingInput) -> Tensor:
        return inputs.losses * 0 + 1


def plain(**attributes: Any) -> nn.Module:
    weighting = Plain()
    for name, value in attributes.items():
        setattr(weighting, name, value)
    return weighting


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", list(WEIGHTINGS))
def test_shipped_weightings_keep_it(name, task):
    node: dict[str, Any] = {"name": name}
    if name in ("control", "schedule"):
        node |= {"of": "learned", **({"steps": 3} if name == "schedule" else {})}
    weighting = WEIGHTINGS.build(node)
    if task in getattr(weighting, "task_kinds", TASKS):
        check_weighting(weighting, task=task)


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        (plain(task_kinds={"multi_label"}), "is not for single_label; its task_kinds: multi_label"),
        (plain(task_kinds={"ranking"}), "names task_kinds ranking; known: multi_label"),
        (plain(interval=0), "must have a whole number of steps as interval, has 0"),
        (plain(interval=0.5), "must have a whole number of steps as interval, has 0.5"),
    ],
)
def test_broken_promises(weighting, message):
    with pytest.raises(AssertionError, match=message):
        check_weighting(weighting)
