"""Whether the parts of a config fit one another, told from what plugins declare of themselves."""

from __future__ import annotations

from collections.abc import Callable

from msdkit.config.checks.evaluate import check_evaluate
from msdkit.config.checks.given import Given, given
from msdkit.config.checks.losses import check_features, check_losses
from msdkit.config.checks.masking import check_masking
from msdkit.config.checks.missing import note_missing
from msdkit.config.checks.models import check_models, check_several
from msdkit.config.checks.train import check_train
from msdkit.config.checks.weighting import check_weighting
from msdkit.config.report import Report
from msdkit.config.schema import Node

CHECKS: tuple[Callable[[Report, Given], None], ...] = (  # in the order in which they speak
    check_several,
    check_losses,
    check_features,
    check_models,
    check_weighting,
    check_evaluate,
    check_masking,
    check_train,
    note_missing,
)


def check_fit(report: Report, values: Node) -> None:
    """Add to the report what does not fit, as far as the parts themselves are right."""
    parts = given(report, values)
    if parts is not None:
        for check in CHECKS:
            check(report, parts)
