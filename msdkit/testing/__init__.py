"""Contract checks for plugin authors: an AssertionError says which promise broke.

A check takes an instance and is a whole test: `check_loss(MyLoss(temperature=2.0))`.
"""

from __future__ import annotations

from msdkit.testing.data import check_dataset, check_processor
from msdkit.testing.losses import check_loss
from msdkit.testing.metrics import check_metric
from msdkit.testing.models import check_masking, check_model
from msdkit.testing.promises import WIDTH
from msdkit.testing.weightings import check_weighting

__all__ = [
    "WIDTH",
    "check_dataset",
    "check_loss",
    "check_masking",
    "check_metric",
    "check_model",
    "check_processor",
    "check_weighting",
]
