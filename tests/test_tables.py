"""Figures in tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from report_subject import finished

from msdkit.studies.summary import summarise
from msdkit.tables import figure, signed, spread, study_tables


def test_numbers_correlate_with_the_teachers(tmp_path: Path) -> None:
    study = summarise({"kd": [finished(tmp_path / "kd", np.ones(4))]}, "kd", "made up")
    assert "agrees w/ teacher" in study_tables(study)[0][1]
    assert "correlates w/ teacher" in study_tables({**study, "task": "regression"})[0][1]


def test_figures_show_what_three_decimals_hide() -> None:
    assert [figure(x) for x in (0.0, 0.5, 12.3456, 0.00012345)] == [
        *("0.000", "0.500", "12.346", "0.000123"),
    ]


def test_spread() -> None:
    assert spread([0.5]) == "0.500"
    assert spread([0.4, 0.6]) == f"0.500 ± {2**0.5 / 10:.3f}"  # n - 1


def test_what_is_undefined_is_said_in_a_word() -> None:
    assert figure(math.nan) == spread([math.nan]) == spread([0.5, math.nan]) == "undefined"
    assert signed(0.25, math.nan) == ["+0.250", "undefined"]
