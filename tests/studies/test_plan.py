"""What a study compares with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy

from msdkit.errors import ConfigError
from msdkit.studies.plan import Study, baseline_of

WHOLE: dict[str, Any] = {"name": "kd", "views": ["multimodal"]}
METHODS: dict[str, dict[str, Any]] = {
    "alone": {"distill": []},
    "hints": {"distill": [WHOLE, {"name": "sp", "views": ["multimodal"]}]},
    "other": {"distill": [{**WHOLE, "name": "reverse_kl"}]},
    "long": {"distill": [WHOLE], "train": {"lengthen": 2.0}},
    "mine": {"distill": [WHOLE]},
    "views": {"distill": [{"name": "kd"}]},
    "weighed": {"distill": [WHOLE], "weighting": {"name": "population"}},
}


def study(tmp_path: Path, *methods: str) -> Study:
    teacher = {"teacher": toy.MODEL}
    configs = {
        name: [toy.configured(tmp_path / f"{name}.yaml", toy.PLAIN, teacher, METHODS[name])]
        for name in methods
    }
    return Study("toy", tmp_path, {}, configs)


@pytest.mark.parametrize(
    ("methods", "baseline"),
    [
        (list(METHODS), "mine"),  # whatever its file is called
        (["views", "long", "alone"], "long"),
        (["alone", "views", "weighed"], "views"),  # plain, if not of whole examples alone
        (["alone", "hints", "other", "weighed"], "alone"),  # none is plain: the first
    ],
)
def test_plain_distillation_is_the_baseline(
    tmp_path: Path, methods: list[str], baseline: str
) -> None:
    assert baseline_of(study(tmp_path, *methods), None) == baseline
    assert baseline_of(study(tmp_path, *methods), methods[-1]) == methods[-1]


def test_a_baseline_that_is_no_method_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--baseline: no method 'kd'; there are: mine"):
        baseline_of(study(tmp_path, "mine"), "kd")
